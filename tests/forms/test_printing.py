"""The PDF of a form: what is printed where."""

from pathlib import Path

import numpy as np
import pypdfium2
import pytest
import zxingcpp
from typer.testing import CliRunner

from penstroke.cli.main import app
from penstroke.errors import ConfigError
from penstroke.forms.description import read_form
from penstroke.forms.layout import qr_text
from penstroke.forms.printing import print_form

MM = 8
"""Pixels."""


def rendered(path: Path) -> list[np.ndarray]:
    scale = MM * 25.4 / 72
    return [
        np.asarray(page.render(scale=scale).to_pil().convert("L"))
        for page in pypdfium2.PdfDocument(path)
    ]


def test_an_example_is_described_and_printed_for_each_person(tmp_path: Path) -> None:
    run = CliRunner().invoke
    description, pdf, people = (tmp_path / name for name in ("exam.toml", "exam.pdf", "people.csv"))
    assert run(app, ["form", "new", str(description)]).exit_code == 0
    assert run(app, ["form", "new", str(description)]).exit_code != 0  # is there
    people.write_text("name,id\nAda Lovelace,7\nMária Ñandú,8\n")
    answer = run(app, ["form", "print", str(description), "-o", str(pdf), "--for", str(people)])
    assert answer.exit_code == 0, answer.output
    form, pages = read_form(description), rendered(pdf)
    assert len(pages) == 2
    for page, person in zip(pages, ("Ada Lovelace", "Mária Ñandú"), strict=True):
        assert page.shape[1] == 210 * MM
        assert [one.text for one in zxingcpp.read_barcodes(page)] == [qr_text(form, 1, person)]
        for x, y in ((10, 10), (200, 10), (10, 287), (200, 287)):  # the hole is in the first
            assert (page[y * MM, x * MM] > 128) == (x + y == 20)
            assert page[y * MM - 16, x * MM] == 0
        for field in form.fields:
            for box in field.boxes:
                top, left, middle = (
                    round(box.top * MM),
                    round(box.left * MM),
                    int(MM * box.height / 2),
                )
                edge = page[top + middle, left - 2 : left + 3].min()
                assert 150 < edge < 240  # drops out, but is seen
                inside = page[top + 4 : top + int(box.height * MM) - 4, left + 4 : left + 20]
                assert inside.min() == 255


def test_people_that_are_told_apart_by_nothing_are_named(tmp_path: Path) -> None:
    description, people = tmp_path / "exam.toml", tmp_path / "people.csv"
    CliRunner().invoke(app, ["form", "new", str(description)])
    people.write_text("name\nAda\nAda\n")
    answer = CliRunner().invoke(
        app,
        ["form", "print", str(description), "-o", str(tmp_path / "x.pdf"), "--for", str(people)],
    )
    assert "line 3: 'Ada' again" in str(answer.exception)
    assert not (tmp_path / "x.pdf").exists()


def test_a_long_title_in_other_alphabets_is_printed_whole(tmp_path: Path) -> None:
    description, pdf = tmp_path / "form.toml", tmp_path / "form.pdf"
    title = "Анкета пациента · Ποιότητα ζωής · Životní podmínky w Łodzi, all on one sheet of paper"
    description.write_text(
        f'name = "form"\npaper = "Letter"\ntitle = "{title}"\ninstructions = "{"Čti! " * 80}"\n'
        f'[[fields]]\nname = "id"\ntitle = "{"A number, " * 20}"\ncount = 5\n'
    )
    assert print_form(read_form(description), pdf) == 1
    page = pypdfium2.PdfDocument(pdf)[0]
    assert page.get_size() == pytest.approx((612, 792))
    words = page.get_textpage().get_text_range().split()
    assert {*title.split()} <= {*words}
    assert words.count("Čti!") == 80
    assert words.count("number,") == 20
    [field] = read_form(description).fields
    image = rendered(pdf)[0]
    top = round(field.boxes[0].top * MM)
    assert image[top + 4 : top + 8 * MM, 20 * MM + 4 : 26 * MM].min() == 255  # no text in the box


@pytest.mark.parametrize(
    ("title", "person", "words"),
    [("試験", "Ada", "no '試'"), ("Exam", "Ж" * 40, "too long for a QR code")],
)
def test_what_cannot_be_printed_is_named(
    tmp_path: Path, title: str, person: str, words: str
) -> None:
    description = tmp_path / "form.toml"
    description.write_text(
        f'name = "exam"\ntitle = "{title}"\n[[fields]]\nname = "id"\ncount = 5\n'
    )
    with pytest.raises(ConfigError, match=words):
        print_form(read_form(description), tmp_path / "form.pdf", [person])
    assert not (tmp_path / "form.pdf").exists()


def test_a_form_of_somebody_else_is_not_printed_again(tmp_path: Path) -> None:
    description = tmp_path / "form.toml"
    description.write_text(
        'name = "exam"\nblank = "blank.pdf"\n[[fields]]\nname = "id"\ncount = 5\n'
    )
    with pytest.raises(ConfigError, match=r"printed already: .*blank\.pdf"):
        print_form(read_form(description), tmp_path / "form.pdf")
