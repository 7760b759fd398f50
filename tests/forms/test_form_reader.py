"""Piles of scans read into a table by the command line: resumed, with copies and odd files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image

import penstroke.forms
from filled_forms import SCALE, Hand, scanned
from helpers import Outcome
from penstroke.errors import ConfigError
from penstroke.forms import form_reader, read_form
from penstroke.forms.answers_folder import AnswersFolder
from penstroke.forms.page_images import page_image
from penstroke.forms.precision import (
    Promise,
    ShownPrecision,
    clopper_pearson_low,
    expected_errors,
    field_kinds,
)
from penstroke.forms.printing import print_form

FORM = """
name = "exam"
[[fields]]
name = "number"
count = 4
values = ["1234", "5670", "8899"]
[[fields]]
name = "group"
type = "choice"
options = ["A", "B"]
"""
PEOPLE = {"Ada": ("1234", "A"), "Bo": ("5670", "B"), "Cy": ("8899", "")}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, glyphs: dict[str, np.ndarray]) -> Path:
    """A folder with the form, and three people's pages: two in a PDF, one as an image."""
    folder = tmp_path_factory.mktemp("pile")
    (folder / "exam.toml").write_text(FORM)
    form = read_form(folder / "exam.toml")
    print_form(form, folder / "exam.pdf", [*PEOPLE])
    pages = []
    for number, ((student, group), page) in enumerate(
        zip(PEOPLE.values(), pypdfium2.PdfDocument(folder / "exam.pdf"), strict=True)
    ):
        paper = np.asarray(page.render(scale=SCALE * 25.4 / 72).to_pil().convert("L")).copy()
        rng = np.random.default_rng(number)
        hand = Hand({name: some[:3] for name, some in glyphs.items()}, rng)
        for character, box in zip(student, form.fields[0].boxes, strict=True):
            hand.write_in(paper, box, character)
        if group:
            hand.mark(paper, form.fields[1].boxes["AB".index(group)])
        pages.append(Image.fromarray(scanned(paper, rng)))
    (folder / "scans").mkdir()
    pages[0].save(folder / "scans/two.pdf", save_all=True, append_images=pages[1:2])
    pages[2].save(folder / "scans/photo.jpg")
    return folder


def copied(scans: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scans, tmp_path / "here"))


def rows(path: Path) -> list[list[str]]:
    return [[row["person"], row["number"], row["group"]]
            for row in csv.DictReader(path.read_text().splitlines())]  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pile_becomes_a_table_with_a_row_for_each_person(
    penstroke: object, scans: Path, tmp_path: Path, workers: int
) -> None:
    here = copied(scans, tmp_path)
    Image.new("L", (1700, 2200), 255).save(here / "scans/blank.png")
    (here / "scans/broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (here / "scans/cut.jpg").write_bytes((here / "scans/photo.jpg").read_bytes()[:3000])
    shutil.copy(here / "scans/photo.jpg", here / "scans/again.jpg")
    other = Image.fromarray(page_image(here / "scans/photo.jpg", 1))
    other.save(here / "scans/zz.png")  # other content, the same page
    outcome: Outcome = penstroke(  # type: ignore[operator]
        "form", "read", here / "exam.toml", here / "scans", "-o", here / "out.csv",
        "--workers", workers, "--json",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.err
    answer = json.loads(outcome.out)
    assert answer["read"] == 3
    problems = {Path(one["source"]).name: one["problem"] for one in answer["problems"]}
    assert problems.pop("cut.jpg") in ("damaged", "blank_page", "not_this_form", "not_registered")
    assert problems == {"blank.png": "blank_page", "broken.pdf": "damaged", "zz.png": "repeated"}
    assert [Path(copy).name for copy in answer["copies"]] == ["photo.jpg"]
    assert sum(answer["fields"].values()) == 6
    assert sorted(rows(here / "out.csv")) == [[k, *v] for k, v in PEOPLE.items()]
    pages = json.loads((here / "out.json").read_text())["pages"]
    images = [page["image"] for page in pages if page["fields"]]
    assert len(images) == 3
    assert all(page_image(here / "out" / name, 1).shape == (2376, 1680) for name in images)


def test_reading_goes_on_where_it_was_stopped(
    penstroke: object, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copied(scans, tmp_path)
    arguments = ("form", "read", here / "exam.toml", here / "scans", "-o", here / "out.csv",
                 "--workers", 1)  # fmt: skip
    numbers: list[tuple[str, int]] = []

    def stopped(path: Path, number: int) -> object:
        numbers.append((path.name, number))
        if len(numbers) == 2:
            raise KeyboardInterrupt
        return page_image(path, number)

    monkeypatch.setattr(form_reader, "page_image", stopped)
    outcome: Outcome = penstroke(*arguments)  # type: ignore[operator]
    assert outcome.exit_code == 130
    assert "the same command continues" in outcome.err
    assert not (here / "out.csv").exists()
    (here / "scans/two.pdf").rename(here / "scans/renamed.pdf")
    assert penstroke(*arguments).exit_code == 0  # type: ignore[operator]
    assert sorted(rows(here / "out.csv")) == [[k, *v] for k, v in PEOPLE.items()]
    assert numbers == [("photo.jpg", 1), ("two.pdf", 1), ("renamed.pdf", 1), ("renamed.pdf", 2)]
    again: Outcome = penstroke(*arguments)  # type: ignore[operator]
    assert again.exit_code == 0, again.err
    assert len(numbers) == 4
    assert len(AnswersFolder(here / "out").pages()) == 3


def test_what_cannot_be_done_is_said_before_anything_is_written(
    penstroke: object, scans: Path, tmp_path: Path
) -> None:
    here = copied(scans, tmp_path)
    (here / "empty").mkdir()
    for arguments, what in (
        ([here / "exam.toml", here / "nowhere"], "does not exist"),
        ([here / "exam.toml", here / "empty"], "has no pages"),
        ([here / "exam.toml", here / "scans", "-o", "out.xlsx"], "the table is a .csv"),
    ):
        outcome: Outcome = penstroke("form", "read", *arguments)  # type: ignore[operator]
        assert outcome.exit_code == 2
        assert what in outcome.err
    assert not Path("answers").exists()
    (here / "mine.csv").write_text("1,2")
    outcome = penstroke(  # type: ignore[operator]
        "form", "read", here / "exam.toml", here / "scans", "-o", here / "mine.csv"
    )
    assert outcome.exit_code == 1
    assert "is there already" in outcome.err
    outcome = penstroke(  # type: ignore[operator]
        "form", "read", here / "exam.toml", here / "scans", "-o", here / "scans.csv"
    )
    assert outcome.exit_code == 1
    assert "does not hold answers" in outcome.err
    assert not (here / "scans/form.toml").exists()


def test_a_page_is_read_in_python(scans: Path) -> None:
    reader = penstroke.forms.FormReader(scans / "exam.toml")
    page = reader.read(scans / "scans/two.pdf", 2)
    assert (page.person, page.form_page, page.problem) == ("Bo", 1, None)
    assert page.fields is not None
    assert page.fields["number"].value == "5670"
    assert reader.read(np.full((2000, 1500), 255, np.uint8)).problem == "blank_page"
    assert reader.read(scans / "exam.toml").problem == "damaged"


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson() -> None:
    assert clopper_pearson_low(3000, 3000) == pytest.approx(0.05 ** (1 / 3000), abs=1e-9)
    assert clopper_pearson_low(95, 100) == pytest.approx(0.8977, abs=1e-4)  # binomtest of scipy
    assert clopper_pearson_low(0, 10) == 0.0


def test_expected_errors_are_those_of_what_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    promise = Promise(0.99)
    point = ShownPrecision(precision=0.995, threshold=0.9, accepted=1000, errors=1, answered=0.9)
    monkeypatch.setattr(promise, "shown", lambda kind: point)
    errors = expected_errors(promise, {"digits": 2000, "date": 0})
    assert errors.mean == pytest.approx(2000 * 1.5 / 1001, rel=1e-3)
    assert (errors.low, errors.high) == (0, 11)


def test_what_is_promised_was_shown() -> None:
    kinds = field_kinds()
    assert {"digits", "listed", "marks"} <= {*kinds}
    for kind in kinds.values():
        for point in kind.points:
            low = clopper_pearson_low(point.accepted - point.errors, point.accepted)
            assert low >= point.precision
    promise = Promise()
    assert promise.accepts("digits", 0.9999)
    assert not promise.accepts("digits", 0.9)
    assert not Promise(0.9).accepts("text", 1.0)  # for which nothing was shown
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Promise(1.0)
