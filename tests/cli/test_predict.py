from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import SMALL_CNN, Outcome, drawn_digit
from line_models import write_line_model
from penstroke.inference.recognizer import model_metadata
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_onnx
from penstroke.preprocessing.ink import DEFAULT_INK

Cli = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build_network(SMALL_CNN, num_classes=3, mean=0.1, std=0.3, seed=4)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(export_onnx(network, model_metadata("abc", DEFAULT_INK)))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for name in ("one.png", "two.jpg", "deep/three.PNG"):
        Image.fromarray(drawn_digit()).save(folder / name)
    Image.fromarray(np.full((40, 40), 250, np.uint8)).save(folder / "blank.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_table(penstroke: Cli, model: Path, images: Path) -> None:
    done = penstroke("predict", images, "--model", model)
    assert done.exit_code == 0, done.err
    rows = {Path(line.split()[0]).name: line for line in done.out.splitlines()[1:]}
    assert set(rows) == {"one.png", "two.jpg", "three.PNG", "blank.png"}
    assert "no ink found" in rows["blank.png"]
    assert "%" in rows["one.png"]


def test_json_files_folders_globs_and_stdin(
    penstroke: Cli, model: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO((images / "one.png").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    done = penstroke(
        "predict", images / "deep", images / "*.jpg", "-", "--json", "--top", 2, "--model", model
    )
    answers = json.loads(done.out)["answers"]
    assert [Path(answer["image"]).name for answer in answers] == ["three.PNG", "two.jpg", "-"]
    assert all(len(answer["top"]) == 2 for answer in answers)
    assert answers[0]["label"] in (None, answers[0]["top"][0]["label"])


def test_why_an_image_is_rejected(penstroke: Cli, model: Path, tmp_path: Path) -> None:
    seven = drawn_digit()
    pictures = {
        "pair": np.concatenate([seven[:, :150], seven[:, 50:]], axis=1),
        "faint": 235 - (235 - seven) // 20,
        "unsure": seven,
    }
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    pair, faint, unsure = [
        penstroke("predict", tmp_path / f"{name}.png", "--model", model) for name in pictures
    ]
    assert "several characters: use penstroke read" in pair.out
    assert "too faint to be read" in faint.out
    assert re.search(r"\? +\d\d\.\d % +ambiguous: [abc] \d\d\.\d % or [abc] \d\d\.\d %", unsure.out)
    done = penstroke("predict", *tmp_path.glob("*.png"), "--json", "--model", model)
    reasons = {
        Path(one["image"]).stem: one["rejection_reason"] for one in json.loads(done.out)["answers"]
    }
    assert reasons == {"pair": "several_characters", "faint": "too_faint", "unsure": "ambiguous"}


def test_precision_and_threshold(penstroke: Cli, model: Path, images: Path) -> None:
    one = images / "one.png"
    answers = {
        threshold: json.loads(
            penstroke(
                "predict", one, "--model", model, "--confidence-threshold", threshold, "--json"
            ).out
        )["answers"][0]
        for threshold in (0, 1)
    }
    assert [answer["status"] for answer in answers.values()] == ["ok", "rejected"]
    both = penstroke(
        "predict", one, "--model", model, "--confidence-threshold", 0.9, "--precision", 0.9
    )
    assert (both.exit_code, "--confidence-threshold" in both.err) == (2, True)
    unknown = penstroke("predict", one, "--model", model, "--precision", 0.9)
    assert (unknown.exit_code, "precision 0.9 was not shown" in unknown.err) == (2, True)


def test_one_bad_image_does_not_stop_the_others(penstroke: Cli, model: Path, images: Path) -> None:
    (images / "bad.png").write_bytes(b"")
    done = penstroke("predict", images / "bad.png", images / "one.png", "--json", "--model", model)
    assert done.exit_code == 1
    assert "bad.png is empty: zero bytes" in done.err
    assert [answer["status"] for answer in json.loads(done.out)["answers"]] == ["error", "rejected"]


def test_a_photo_of_a_phone(penstroke: Cli, tmp_path: Path) -> None:
    """Large, and stored on its side."""
    exif = Image.Exif()
    exif[0x112] = 6
    photo = Image.fromarray(drawn_digit(3000)).transpose(Image.Transpose.ROTATE_90)
    photo.save(tmp_path / "IMG_2041.JPG", exif=exif)
    done = json.loads(penstroke("predict", tmp_path / "IMG_2041.JPG", "--json").out)
    assert done["answers"][0]["label"] == "7"
    misspelled = penstroke("predict", tmp_path / "IMG_2014.JPG").err
    assert 'IMG_2014.JPG: No such file or directory (did you mean "IMG_2041.JPG"?)' in misspelled
    (tmp_path / "IMG_2042.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    unread = penstroke("predict", tmp_path / "IMG_2042.HEIC")
    assert "it is HEIC; save it as PNG or JPEG" in unread.err


def test_what_cannot_be_read(penstroke: Cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no images" in penstroke("predict", tmp_path / "empty", "--model", model).err
    missing = penstroke("predict", tmp_path / "nothing.png", "--model", model)
    assert (missing.exit_code, "No such file" in missing.err) == (1, True)
    no_model = penstroke("predict", tmp_path, "--model", tmp_path / "nothing.onnx")
    assert (no_model.exit_code, "cannot read the model" in no_model.err) == (1, True)
    assert "no run" in penstroke("predict", tmp_path, "--model", "nothing").err
    assert penstroke("predict", "--model", model).exit_code == 2


def test_predicting_never_imports_torch(model: Path, images: Path) -> None:
    script = (
        "import sys; sys.argv[0] = 'penstroke'\n"
        "from penstroke.cli.main import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "predict", str(images / "one.png"), "--model", str(model)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def sevens(tmp_path: Path) -> Path:
    """Two lines: three sevens with a wide gap, and two."""
    seven = drawn_digit(100)[20:84, 20:80]
    page = np.full((260, 460), 235, np.uint8)
    for top, lefts in ((40, (20, 100, 320)), (150, (20, 100))):
        for left in lefts:
            page[top : top + 64, left : left + 60] = seven
    path = tmp_path / "sevens.png"
    Image.fromarray(page).save(path)
    return path


def test_lines_as_a_table(penstroke: Cli, model: Path, sevens: Path) -> None:
    done = penstroke("read", sevens, "--model", model)
    assert done.exit_code == 0, done.err
    headings, *rows = done.out.splitlines()
    assert headings.split() == ["image", "line", "text", "confidence", "alternatives"]
    assert [row.split()[1] for row in rows] == ["1", "2"]
    assert re.match(r"\S+ +1 +([abc])\1 \1  ", rows[0])
    assert "1: " in rows[0]  # an untrained network is never sure


def test_lines_as_json_with_overlays(
    penstroke: Cli, model: Path, sevens: Path, images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "overlays"
    done = penstroke("read", sevens, images / "blank.png", sevens, "--model", model, "--json",
        "--overlay", folder,
    )  # fmt: skip
    first, blank, again = json.loads(done.out)["answers"]
    assert [len(line["characters"]) for line in first["lines"]] == [3, 2]
    assert first["lines"][0]["characters"][2]["space_before"]
    assert (blank["status"], blank["lines"], blank["text"]) == ("empty", [], "")
    paths = [Path(answer["overlay"]) for answer in (first, blank, again)]
    assert [path.name for path in paths] == ["sevens.png.svg", "blank.png.svg", "sevens.png-2.svg"]
    assert [path.read_text("utf-8").count("<rect") for path in paths] == [5, 0, 5]


def test_an_overlay_that_cannot_be_written(
    penstroke: Cli, model: Path, sevens: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    done = penstroke("read", sevens, "--model", model, "--overlay", tmp_path / "file")
    assert done.exit_code == 1
    assert f"cannot write {tmp_path / 'file'}" in done.err


def test_one_overlay_as_a_file(
    penstroke: Cli, model: Path, sevens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answer.svg"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sevens.read_bytes())))
    done = penstroke("read", "-", "--model", model, "--overlay", path)
    assert f"overlay  {path}" in done.out
    assert path.read_text("utf-8").count("<text") == 5


def test_lines_asked_for_wrongly(penstroke: Cli, model: Path, sevens: Path, tmp_path: Path) -> None:
    two = penstroke("read", sevens, sevens, "--model", model, "--overlay", tmp_path / "a.svg")
    assert (two.exit_code, "name a folder" in two.err) == (2, True)
    alone = penstroke("predict", sevens, "--model", model, "--overlay", tmp_path)
    assert (alone.exit_code, "--overlay" in alone.err) == (2, True)
    (tmp_path / "bad.png").write_bytes(b"no image")
    bad = penstroke("read", tmp_path / "bad.png", sevens, "--model", model, "--json")
    assert (bad.exit_code, "not an image" in bad.err) == (1, True)
    assert [answer["status"] for answer in json.loads(bad.out)["answers"]] == ["error", "ok"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_line_model(tmp_path_factory.mktemp("reader") / "numbers.onnx")


def test_whole_lines_with_a_table(
    penstroke: Cli, reader: Path, sevens: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    table = tmp_path / "out.csv"
    done = penstroke(
        "read", sevens, tmp_path / "bad.png", "--model", reader, "--csv", table, "--top", 2,
        "--one-line", "--json",
    )  # fmt: skip
    assert done.exit_code == 1
    (line,) = json.loads(done.out)["answers"][0]["lines"]
    assert line["status"] == "rejected"  # an untrained network is never sure
    assert len(line["alternatives"]) == 1
    headings, first, second = csv.reader(table.read_text().splitlines())
    assert headings == ["file", "line", "text", "probability", "status", "box"]
    assert first[1:3] == ["1", line["text"]]
    assert first[4:] == ["rejected", "0 0 460 260"]
    assert second[2:5] == ["", "", "error"]
    shown = penstroke("read", sevens, "--model", reader, "--one-line", "--csv", table)
    assert "not sure: or " in shown.out
    assert f"table  {table}" in shown.out


def test_what_a_line_may_say(penstroke: Cli, reader: Path, sevens: Path, tmp_path: Path) -> None:
    def read(*options: object) -> Outcome:
        return penstroke("read", sevens, "--one-line", "--model", reader, "--json", *options)

    def text(*options: object) -> str:
        return str(json.loads(read(*options).out)["answers"][0]["text"])

    assert re.fullmatch(r"\d{3},\d", text("--format", r"\d{3},\d"))
    choices = tmp_path / "ids.txt"
    choices.write_text("12\n7\n777\n7\n")
    assert text("--choices", choices) in ("12", "7", "777")
    assert "given several times: 7" in read("--choices", choices).err
    luhn = text("--check-digit", "luhn", "--format", r"\d{4}")
    digits = [int(digit) for digit in luhn]
    assert (sum(digits[1::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[0::2])) % 10 == 0
    for options, message in (
        (("--format", "("), "format"),
        (("--format", "[a-z]+"), "admits no text that this model can write"),
        (("--choices", tmp_path / "none.txt"), "does not exist"),
        (("--check-digit", "sum"), "--check-digit"),
    ):
        wrong = read(*options)
        assert (wrong.exit_code, message in wrong.err) == (2, True), wrong.err


def test_a_model_of_the_other_kind(penstroke: Cli, reader: Path, model: Path, sevens: Path) -> None:
    lines = penstroke("predict", sevens, "--model", reader)
    assert (lines.exit_code, "give it to `penstroke read`" in lines.err) == (1, True)
    characters = penstroke("read", sevens, "--model", model, "--format", "1")
    assert (characters.exit_code, "reads one character at a time" in characters.err) == (2, True)
