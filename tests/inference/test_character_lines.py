from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import penstroke
from composing import (
    Box,
    Composed,
    LineStyle,
    Pool,
    compose_line,
    compose_page,
    drawn_pool,
    overlap,
    photo_pool,
)
from helpers import SMALL_CNN, drawn_digit, random_images
from penstroke.config.settings import DataConfig, RunConfig, TrainConfig
from penstroke.data.dataset import DataSplits
from penstroke.errors import ImageError, ImageTooComplexError
from penstroke.inference.character_lines import read_page
from penstroke.inference.readings import PageReading
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.decoding import ImageLike

APART = LineStyle(touching=0)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    """A small network that knows the digits of scikit-learn (two seconds)."""
    config = RunConfig(
        data=DataConfig(dataset="digits"),
        model=SMALL_CNN,
        train=TrainConfig.parse(
            {"epochs": 10, "precision": "float32", "threads": 1, "learning_rate": 1e-2}
        ),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTROKE_RUNS", str(tmp_path_factory.mktemp("runs")))
        return Recognizer.load(penstroke.train(config, report=False).path)


@pytest.fixture(scope="module")
def pool(digits: DataSplits) -> Pool:
    train = digits.train
    return drawn_pool(train.images, [train.classes[label] for label in train.labels])


def boxes_of(page: PageReading) -> list[Box]:
    return [character.box for line in page.lines for character in line.characters]


def assert_boxes(page: PageReading, composed: Composed, least: float = 0.7) -> None:
    right = [box for boxes in composed.boxes for box in boxes]
    read = boxes_of(page)
    assert len(read) == len(right)
    assert all(overlap(a, b) > least for a, b in zip(read, right, strict=True))


def test_lines_of_digits(recognizer: Recognizer, pool: Pool) -> None:
    """Numbers of characters, boxes, spaces; and most labels, of a network of two seconds."""
    counted = right = characters = 0
    for seed in range(30):
        composed = compose_line(pool, seed, APART)
        page = read_page(recognizer, composed.image)
        assert len(page.lines) == 1
        text = composed.text[0]
        if len(page.text) == len(text):
            assert_boxes(page, composed, least=0.6)
            assert [c == " " for c in page.text] == [c == " " for c in text]
            right += sum(a == b for a, b in zip(page.text, text, strict=True))
            characters += len(text)
            counted += 1
    assert counted >= 28
    assert right / characters > 0.8


def test_pen_on_paper(recognizer: Recognizer) -> None:
    """Real digits, photographed, are counted rightly, whatever a small network makes of them."""
    archive = Path(os.environ.get("PENSTROKE_DATA", "")) / "pen-photos.zip"
    if not archive.exists():
        pytest.skip("pen-photos.zip is not under PENSTROKE_DATA")
    pool = photo_pool(archive, each=30)
    counted = boxes = characters = 0
    for seed in range(40):
        composed = compose_line(pool, seed, APART)
        read = boxes_of(read_page(recognizer, composed.image))
        counted += len(read) == len(composed.boxes[0])
        boxes += sum(any(overlap(a, b) > 0.7 for a in read) for b in composed.boxes[0])
        characters += len(composed.boxes[0])
    assert counted >= 34
    assert boxes / characters > 0.95


def test_a_page_is_read_from_top_to_bottom(recognizer: Recognizer, pool: Pool) -> None:
    composed = compose_page(pool, 3, lines=6)
    page = read_page(recognizer, composed.image)
    assert len(page.lines) == 6
    assert [line.box.top for line in page.lines] == sorted(line.box.top for line in page.lines)
    lengths = [len(line.characters) for line in page.lines]
    right = [len(text.replace(" ", "")) for text in composed.text]
    assert sum(a == b for a, b in zip(lengths, right, strict=True)) >= 5
    assert (page.height, page.width) == composed.image.shape


def test_touching_neighbours_are_parted(recognizer: Recognizer, pool: Pool) -> None:
    always = LineStyle(touching=1, specks=(0, 0), shear_degrees=(0, 0))
    touching = parted = 0
    for seed in range(30):
        composed = compose_line(pool, seed, always, length=2)
        if composed.touching[0][1]:
            touching += 1
            page = read_page(recognizer, composed.image)
            read = boxes_of(page)
            if len(read) == 2 and all(
                overlap(a, b) > 0.6 for a, b in zip(read, composed.boxes[0], strict=True)
            ):
                parted += 1
                assert any(c.split for line in page.lines for c in line.characters)
    assert touching >= 10
    assert parted / touching >= 0.6


def test_a_split_character_is_less_certain_than_its_class(
    recognizer: Recognizer, pool: Pool
) -> None:
    composed = compose_line(pool, 1, LineStyle(touching=1), length=6)
    for line in read_page(recognizer, composed.image).lines:
        for character in line.characters:
            assert character.probability <= max(character.probabilities.values()) + 1e-6
            assert sum(character.probabilities.values()) == pytest.approx(1, abs=1e-5)
            assert character.status == ("ok" if character.probability >= 0.8 else "rejected")


def test_light_on_dark_reads_the_same(recognizer: Recognizer, pool: Pool) -> None:
    composed = compose_line(pool, 5, APART)
    dark = read_page(recognizer, composed.image)
    light = read_page(recognizer, 255 - composed.image)
    assert len(light.text) == len(dark.text) == len(composed.text[0])
    assert_boxes(light, composed)


def test_a_large_image_has_its_boxes_in_its_own_pixels(recognizer: Recognizer, pool: Pool) -> None:
    composed = compose_line(pool, 7, APART)
    large = np.asarray(
        Image.fromarray(composed.image).resize(
            (composed.image.shape[1] * 9, composed.image.shape[0] * 9), Image.Resampling.BICUBIC
        )
    )
    page = read_page(recognizer, large)
    nine = [tuple(9 * side for side in box) for box in composed.boxes[0]]
    assert (page.height, page.width) == large.shape
    assert len(boxes_of(page)) == len(nine)
    assert all(overlap(a, b) > 0.7 for a, b in zip(boxes_of(page), nine, strict=True))  # type: ignore[arg-type]


def test_small_writing_on_a_large_sheet_is_looked_at_closely(
    recognizer: Recognizer, pool: Pool
) -> None:
    composed = compose_line(pool, 7, APART)
    height, width = composed.image.shape
    sheet = np.full((3000, 3400), int(np.median(composed.image)), np.uint8)
    sheet[1000 : 1000 + height, 1200 : 1200 + width] = composed.image
    read = boxes_of(read_page(recognizer, sheet))
    right = [(b[0] + 1200, b[1] + 1000, b[2] + 1200, b[3] + 1000) for b in composed.boxes[0]]
    hits = [max(overlap(box, other) for other in read) > 0.6 for box in right]
    assert np.mean(hits) > 0.8


def test_a_turned_photograph_is_read_upright(
    recognizer: Recognizer, pool: Pool, tmp_path: Path
) -> None:
    composed = compose_line(pool, 5, APART)
    upright = Image.fromarray(composed.image)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    path = tmp_path / "turned.png"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    page = read_page(recognizer, path)
    assert (page.height, page.width) == composed.image.shape
    assert page.to_dict() == read_page(recognizer, composed.image).to_dict()


def test_enormous_characters_are_read_as_if_they_were_smaller(
    recognizer: Recognizer, pool: Pool
) -> None:
    small = Image.fromarray(compose_line(pool, 5, APART, length=3).image)
    large = small.resize((8 * small.width, 8 * small.height), Image.Resampling.BICUBIC)
    expected, found = read_page(recognizer, small), read_page(recognizer, large)
    assert found.text == expected.text
    assert np.allclose(found.lines[0].box, np.multiply(expected.lines[0].box, 8), atol=24)


def test_more_shapes_than_are_read_at_once(recognizer: Recognizer, pool: Pool) -> None:
    image = compose_line(pool, 2, APART, length=12).image
    for most, message in ((24, "24 are read at once: cut it into 2"), (8, "12 shapes .* 4 are")):
        with pytest.raises(ImageTooComplexError, match=message):
            read_page(recognizer, image, max_shapes=most)


def test_one_character_is_a_line_of_one(recognizer: Recognizer) -> None:
    page = read_page(recognizer, drawn_digit())
    assert [len(line.characters) for line in page.lines] == [1]
    assert overlap(page.lines[0].box, (55, 43, 146, 167)) > 0.8


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_even_image_has_no_lines(recognizer: Recognizer, value: int) -> None:
    page = read_page(recognizer, np.full((60, 200), value, np.uint8))
    assert (page.lines, page.text, page.width, page.height) == ((), "", 200, 60)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (5, 3)])
def test_odd_shapes_are_read_or_found_empty(recognizer: Recognizer, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    page = read_page(recognizer, random.integers(0, 256, shape, np.uint8))
    assert (page.height, page.width) == shape
    for box in boxes_of(page):
        assert 0 <= box[0] < box[2] <= shape[1]
        assert 0 <= box[1] < box[3] <= shape[0]


def test_noise_alone_breaks_nothing(recognizer: Recognizer) -> None:
    for image in random_images(3):
        page = read_page(recognizer, np.kron(image, np.ones((9, 9), np.uint8)))
        assert (page.width, page.height) == (252, 252)
        assert all(0 <= left < right <= 252 for left, _, right, _ in boxes_of(page))


def test_what_is_no_image_is_refused(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="empty: zero bytes"):
        read_page(recognizer, b"")
    with pytest.raises(ImageError, match=r"nothing\.png"):
        read_page(recognizer, tmp_path / "nothing.png")


def test_as_plain_values(recognizer: Recognizer, pool: Pool) -> None:
    page = read_page(recognizer, compose_line(pool, 2, APART).image)
    again = json.loads(json.dumps(page.to_dict()))
    assert again["text"] == page.text
    assert again["lines"][0]["characters"][0]["box"] == list(page.lines[0].characters[0].box)
    assert set(again["lines"][0]["characters"][0]) == {
        "label", "probability", "probabilities", "box", "status", "split", "space_before",
    }  # fmt: skip


def test_path_bytes_image_and_array(recognizer: Recognizer, pool: Pool, tmp_path: Path) -> None:
    image = compose_line(pool, 2, APART).image
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    path = tmp_path / "line.png"
    path.write_bytes(stream.getvalue())
    sources: list[ImageLike] = [path, str(path), stream.getvalue(), Image.open(path), image]
    assert len({json.dumps(read_page(recognizer, source).to_dict()) for source in sources}) == 1
