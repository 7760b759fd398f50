from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from composing import compose_page, drawn_pool, overlap
from helpers import random_images
from line_models import ALPHABET, line_model
from penstroke.data.dataset import DataSplits
from penstroke.errors import ConfigError, ImageError, ImageTooComplexError, ModelFileError
from penstroke.inference import line_reader
from penstroke.inference.line_decoding import decode
from penstroke.inference.line_reader import LineReader
from penstroke.inference.page_lines import cut_out, find_page_lines
from penstroke.inference.recognizer import Recognizer
from penstroke.inference.segments import Box
from penstroke.preprocessing.decoding import read_grey
from penstroke.preprocessing.ink import DEFAULT_INK
from penstroke.preprocessing.strips import line_strip, stretched

BLANK, SURE, DOUBT = 0, 0.98, 0.49


@pytest.fixture(scope="module")
def model() -> bytes:
    return line_model()


@pytest.fixture(scope="module")
def reader(model: bytes) -> LineReader:
    """A small network that has learned nothing."""
    return LineReader.from_bytes(model, threads=1)


class Told:
    """A session that reads what each strip shows by the number of dark bars in it.

    A bar of 2 is `2`, one of 5 columns `5`, and so on; of bars over nine columns it is not sure.
    """

    def run(self, _: Sequence[str], inputs: dict[str, Any]) -> list[npt.NDArray[np.float32]]:
        strips = inputs["strips"]
        columns = (strips.max(axis=1) > 128).reshape(len(strips), -1, 4).any(axis=2)
        shares = np.full((*columns.shape, 1 + len(ALPHABET)), 1e-6)
        shares[..., BLANK] = 1
        for row, inked in zip(shares, columns, strict=True):
            edges = np.flatnonzero(np.diff(np.pad(inked.astype(int), 1)))
            for start, end in edges.reshape(-1, 2):
                share = SURE if end - start <= 9 else DOUBT
                row[(start + end) // 2, [BLANK, 1 + min(9, end - start)]] = 1 - share, share
        return [np.log(shares / shares.sum(axis=-1, keepdims=True)).astype(np.float32)]


@pytest.fixture(scope="module")
def told(reader: LineReader) -> LineReader:
    return LineReader(Told(), reader.metadata)


def bars(*columns: int, height: int = 32, gap: int = 24) -> npt.NDArray[np.uint8]:
    """Return an image of dark bars that are so many columns of a strip wide."""
    image = np.full((32, gap + sum(4 * c + gap for c in columns)), 230, np.uint8)
    left = gap
    for column in columns:
        image[6:26, left : left + 4 * column - 1] = 20
        left += 4 * column + gap
    times = height // 32
    return np.repeat(np.repeat(image, times, axis=0), times, axis=1)


def test_a_line_with_its_characters(told: LineReader) -> None:
    line = told.read(bars(2, 5, 1, 3, height=96))
    assert (line.text, line.status) == ("2513", "ok")
    assert 0.85 < line.probability < 1
    assert (line.box, line.characters[0].label) == (Box(0, 0, 492, 96), "2")
    expected = [Box(72, 18, 93, 78), Box(168, 18, 225, 78)]
    assert [c.box for c in line.characters[:2]] == expected
    assert line.characters[1].top(1)[0][0] == "5"
    assert sum(line.characters[1].probabilities.values()) == pytest.approx(1)
    assert not any(c.space_before or c.split for c in line.characters)


def test_a_doubtful_character_has_its_line_rejected(
    told: LineReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_reader, "_WIDTHS", ())  # narrower bars say something else
    line = told.read(bars(2, 12, 3), count=3)
    assert (line.status, line.text) == ("rejected", "23")
    assert line.alternatives[0].text == "293"
    assert line.probability > line.alternatives[0].probability > line.alternatives[1].probability
    strict = LineReader(told._session, told.metadata)
    strict.set_threshold(0.3)
    assert strict.read(bars(2, 12, 3)).status == "ok"


def test_a_doubtful_line_is_read_narrower_and_wider_too(told: LineReader) -> None:
    image = bars(2, 12, 3)
    (line,) = told.read([image])
    strips = [stretched(line_strip(image), by) for by in (1, 0.8, 1.2)]
    outputs = told.log_probabilities(strips)
    shares: dict[str, float] = {}
    for output in outputs:
        for one in decode(output, told.alphabet, None, 4):
            shares[one.text] = shares.get(one.text, 0.0) + one.probability / 3
    best = max(shares, key=lambda text: shares[text])
    assert best != decode(outputs[0], told.alphabet)[0].text
    assert line.text == best
    assert line.probability == pytest.approx(shares[best])


def test_nothing_on_paper_is_empty(told: LineReader, reader: LineReader) -> None:
    blank = np.full((40, 200), 250, np.uint8)
    line = told.read(blank)
    assert (line.status, line.text, line.characters) == ("empty", "", ())
    assert line.box == Box(0, 0, 200, 40)
    page = told.read_page(blank)
    assert (page.lines, page.text, page.width, page.height) == ((), "", 200, 40)


def test_what_may_say_nothing_has_no_boxes(told: LineReader) -> None:
    """As where most readings of a doubtful line find nothing."""
    assert line_reader._boxes(line_strip(bars(2)), []) == []


def test_several_images_are_read_as_one_by_one(reader: LineReader) -> None:
    """To the bit, whatever else is in the batch."""
    random = np.random.default_rng(1)
    images = [random.integers(0, 256, (32, w), np.uint8) for w in (50, 130, 51, 400, 61, 64)]
    together = reader.read(images)
    assert [line.to_dict() for line in together] == [reader.read(i).to_dict() for i in images]


@pytest.mark.parametrize("width", [2048, 2049, 3840, 3841, 9000])
def test_a_long_strip_reads_in_windows_as_it_would_whole(reader: LineReader, width: int) -> None:
    strip = np.random.default_rng(2).integers(0, 256, (32, width), np.uint8)
    padded = np.pad(strip, ((0, 0), (0, -width % 32)), constant_values=64)
    whole = reader._run(padded[None])[0][: -(-width // 4)]
    (found,) = reader.log_probabilities([strip])
    assert found.shape == (-(-width // 4), 1 + len(ALPHABET))
    np.testing.assert_allclose(found, whole, atol=1e-5)


def sheet(rows: Sequence[Sequence[int]], height: int = 1000, width: int = 800) -> Any:
    """Return a page with a line of bars for each of `rows`."""
    page = np.full((height, width), 230, np.uint8)
    for number, row in enumerate(rows):
        line = bars(*row, height=64)
        top = 60 + number * 140
        page[top : top + 64, 100 : 100 + line.shape[1]] = line
    return page


def test_a_page_line_by_line(told: LineReader) -> None:
    page = told.read_page(sheet([(2, 5, 3, 2), (3, 2, 3), (4, 2)]))
    assert len(page.lines) == 3
    assert [len(line.characters) for line in page.lines] == [4, 3, 2]
    assert (page.width, page.height) == (800, 1000)
    tops = [line.box.top for line in page.lines]
    assert np.allclose(tops, [72, 212, 352], atol=20)
    first = page.lines[0].characters[0].box
    assert overlap(first, (148, 72, 162, 112)) > 0.6


def test_a_line_that_slopes_is_turned_level(told: LineReader) -> None:
    rows = [(2, 2, 1, 2, 3, 2, 1), (1, 2, 3, 1, 2, 2, 1)]
    level = sheet(rows)
    turned = Image.fromarray(level).rotate(6, Image.Resampling.BICUBIC, fillcolor=230)
    grey = read_grey(turned, working_side=10**6)
    lines = cut_out(grey, *find_page_lines(grey, DEFAULT_INK))
    assert [round(float(np.degrees(line.angle))) for line in lines] == [-6, -6]
    for line in lines:
        assert line.grey.shape[0] < 80
        left, top, right, bottom = line.original(0, 0, *line.grey.shape[::-1])
        assert -40 < left < right < 800
        assert bottom - top > line.grey.shape[0] + 20
    boxes = [c.box for line in told.read_page(turned).lines for c in line.characters]
    dark = np.asarray(turned) < 100
    inside = sum(int(dark[b.top : b.bottom, b.left : b.right].sum()) for b in boxes)
    assert len(boxes) == 14
    assert inside > 0.9 * dark.sum()


def test_an_image_of_one_line_is_read_whole(told: LineReader) -> None:
    """Its frame is no line of its own; and a line alone on a sheet is cut out of it."""
    cell = np.pad(bars(2, 3, height=64), ((30, 30), (20, 20)), constant_values=230)
    assert told.read_page(cell).lines[0].box == Box(0, 0, cell.shape[1], cell.shape[0])
    alone = told.read_page(sheet([(2, 3, 1)]))
    assert len(alone.lines) == 1
    assert alone.lines[0].box.height < 100


def test_wide_gaps_of_a_page_are_spaces(told: LineReader) -> None:
    row = np.hstack([bars(1, 2, height=64), np.full((64, 250), 230, np.uint8), bars(3, height=64)])
    page = sheet([(2, 2), (2, 2)])
    page[700:764, 60 : 60 + row.shape[1]] = row
    assert [line.text.count(" ") for line in told.read_page(page).lines] == [0, 0, 1]
    assert " " not in told.read(row).text


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (20_000, 1), (5, 3)])
def test_odd_shapes(reader: LineReader, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    page = reader.read_page(image)
    assert (page.height, page.width) == shape
    for line in page.lines:
        for character in line.characters:
            left, top, right, bottom = character.box
            assert 0 <= left <= right <= shape[1]
            assert 0 <= top <= bottom <= shape[0]


def test_what_takes_too_much_work_is_refused(
    reader: LineReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="900×1: too long and low for a line"):
        reader.read(np.zeros((1, 900), np.uint8))
    monkeypatch.setattr("penstroke.inference.line_reader._MOST_WIDTH", 100)
    with pytest.raises(ImageTooComplexError, match="cut it into 3 parts"):
        reader.read(np.zeros((32, 300), np.uint8))


def test_noise_breaks_nothing(reader: LineReader) -> None:
    for image in random_images(3):
        page = reader.read_page(np.kron(image, np.ones((9, 9), np.uint8)))
        assert (page.width, page.height) == (252, 252)


def test_no_image(reader: LineReader, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="empty: zero bytes"):
        reader.read_page(b"")
    with pytest.raises(ImageError, match=r"nothing\.png"):
        reader.read(tmp_path / "nothing.png")


def test_as_plain_values(told: LineReader) -> None:
    page = told.read_page(bars(1, 2), count=2)
    again = json.loads(json.dumps(page.to_dict()))
    assert again["text"] == "12"
    line = again["lines"][0]
    assert set(line) == {"text", "box", "probability", "status", "alternatives", "characters"}
    assert line["alternatives"][0].keys() == {"text", "probability"}


def test_each_kind_of_model_names_the_other(model: bytes, digits_model: Path) -> None:
    with pytest.raises(ModelFileError, match="reads whole lines: give it to `penstroke read`"):
        Recognizer.from_bytes(model)
    with pytest.raises(ModelFileError, match="one character at a time: .* `penstroke predict`"):
        LineReader.load(digits_model)
    with pytest.raises(ModelFileError, match="reader of lines$"):  # and nothing to reinstall
        LineReader.load("digits")


@pytest.fixture(scope="module")
def digits_model() -> Path:
    from penstroke.inference.bundled import BUNDLED

    return BUNDLED / "digits"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"alphabet": "01"}, "damaged: it names 3 classes for 14 log_probs"),
        ({"alphabet": ""}, "damaged: alphabet"),
        ({"temperature": -1.0}, "damaged: temperature"),
        ({"kind": "pages"}, r"newer Penstroke \(kind pages"),
        ({"kind": ["lines"]}, "metadata of the model is damaged"),
        ({"penstroke_format": 2}, r"newer Penstroke \(format 2"),
    ],
)
def test_a_file_that_cannot_be_used(facts: dict[str, Any], message: str) -> None:
    import onnx

    from penstroke.inference.onnx_session import CHECKSUM

    changed = onnx.load_model_from_string(line_model())
    properties = {one.key: one.value for one in changed.metadata_props if one.key != CHECKSUM}
    properties |= {key: json.dumps(value) for key, value in facts.items()}
    onnx.helper.set_model_props(changed, properties)
    with pytest.raises(ModelFileError, match=message):
        LineReader.from_bytes(changed.SerializeToString())


def test_damage_is_told(model: bytes) -> None:
    damaged = bytearray(model)
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(ModelFileError, match=r"damaged|cannot be read"):
        LineReader.from_bytes(bytes(damaged))


def test_precision_sets_the_threshold() -> None:
    points = [{"precision": 0.99, "confidence_threshold": 0.93, "answered": 0.8}]
    reader = LineReader.from_bytes(line_model(operating_points=points))
    reader.set_threshold(precision=0.99)
    assert reader.confidence_threshold == 0.93
    with pytest.raises(ConfigError, match=r"precision 0\.999 was not shown"):
        reader.set_threshold(precision=0.999)


def test_composed_pages_fall_into_their_lines(told: LineReader, digits: DataSplits) -> None:
    train = digits.train
    pool = drawn_pool(train.images, [train.classes[label] for label in train.labels])
    composed = compose_page(pool, 3, lines=6)
    page = told.read_page(composed.image)
    assert len(page.lines) == 6
    for line, boxes in zip(page.lines, composed.boxes, strict=True):
        corners = np.array(boxes)
        whole = (*corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0))
        assert overlap(line.box, whole) > 0.45
