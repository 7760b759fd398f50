"""Characters on the paper that people have: each comes out as on plain paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from helpers import likeness
from papers import read
from penstroke.data.loading import load_dataset
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.ink import preprocess
from penstroke.preprocessing.segmentation import segment
from stroke_forms import draw

Floats = npt.NDArray[np.float64]

SIDE = 240


def lines(positions: npt.NDArray[np.int_], width: int, dark: float, *, across: bool) -> Floats:
    """Return straight lines, as ink in 0..1."""
    image = np.zeros((SIDE, SIDE))
    for start in positions:
        image[start : start + width] = dark
    return image if across else image.T


def frame(width: int, dark: float) -> Floats:
    image = Image.new("F", (SIDE, SIDE))
    ImageDraw.Draw(image).rectangle((24, 18, SIDE - 30, SIDE - 20), outline=dark, width=width)
    return np.asarray(image, np.float64)


def waves(period: float, depth: float) -> Floats:
    down, across = np.mgrid[:SIDE, :SIDE]
    bent = down + 4 * np.sin(across / 40) + 0.3 * across
    return np.asarray(depth * (0.5 + 0.5 * np.sin(2 * np.pi * bent / period)))


def neighbours(ink: Floats) -> Floats:
    """Return the right end of the same character at the left border, as of one cut through."""
    inked = np.flatnonzero((ink > 0.5).any(axis=0))
    part = ink[:, inked[-1] - 14 : inked[-1] + 1]
    return np.pad(part, ((0, 0), (0, SIDE - part.shape[1])))


EVERY = np.arange(12, SIDE, 40)
PAPERS: dict[str, Callable[[Floats], Floats]] = {
    "ruled lines": lambda _: lines(EVERY, 2, 0.6, across=True),
    "faint ruled lines": lambda _: lines(EVERY, 2, 0.3, across=True),
    "a grid": lambda _: np.maximum(
        lines(EVERY, 2, 0.5, across=True), lines(EVERY, 2, 0.5, across=False)
    ),
    "a frame": lambda _: frame(4, 1.0),
    "a thin frame": lambda _: frame(2, 0.6),
    "patterned paper": lambda _: waves(9, 0.45),
    "a neighbour": neighbours,
    "a table edge": lambda _: lines(np.array([0]), 22, 1.0, across=True),
}
LIGHTS: dict[str, Floats] = {
    "even": np.ones((SIDE, SIDE)),
    "from one side": np.linspace(1, 0.5, SIDE) * np.ones((SIDE, 1)),
}


@pytest.fixture(scope="module")
def characters() -> list[Floats]:
    """Three digits of each class as ink in 0..1, (240, 240), six-tenths as high."""
    random = np.random.default_rng(2)
    large = [
        Image.fromarray(draw(str(label), random)).resize((200, 200), Image.Resampling.BICUBIC)
        for label in [*range(10)] * 3
    ]
    return [np.pad(np.asarray(image) / 255.0, 20) for image in large]


def photo(
    dark: Floats, *, light: Floats, contrast: float, level: float = 0.9
) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(0, 0.004, dark.shape)
    return np.asarray(((level * light * (1 - contrast * dark) + noise).clip(0, 1) * 255), np.uint8)


def is_found(images: list[npt.NDArray[np.uint8]], characters: list[Floats]) -> bool:
    """Return whether nearly all come out as on plain paper."""
    values = [
        likeness(preprocess(image).pixels, preprocess(1 - ink).pixels)
        for image, ink in zip(images, characters, strict=True)
    ]
    return bool(np.median(values) > 0.85 and (np.array(values) > 0.75).mean() >= 0.9)


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("paper", PAPERS)
def test_the_paper_is_left_out(characters: list[Floats], paper: str, light: str) -> None:
    images = [
        photo(np.maximum(ink, PAPERS[paper](ink)), light=LIGHTS[light], contrast=0.6)
        for ink in characters
    ]
    assert is_found(images, characters)


@pytest.mark.parametrize("level", [0.9, 0.3])
def test_faint_ink_is_found(characters: list[Floats], level: float) -> None:
    """Twenty of 255 levels, on clean paper."""
    images = [
        photo(ink, light=LIGHTS["even"], contrast=20 / 255 / level, level=level)
        for ink in characters
    ]
    assert is_found(images, characters)


def test_a_negative_is_the_same(characters: list[Floats]) -> None:
    images = [
        255 - photo(np.maximum(ink, waves(9, 0.45)), light=LIGHTS["from one side"], contrast=0.6)
        for ink in characters
    ]
    assert is_found(images, characters)


def test_a_character_cropped_to_its_ink_keeps_its_polarity(characters: list[Floats]) -> None:
    images = []
    for ink in characters:
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        image = photo(np.maximum(ink, waves(9, 0.3)), light=LIGHTS["even"], contrast=0.6)
        images.append(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    assert is_found(images, characters)


@pytest.mark.parametrize("paper", ["ruled lines", "faint ruled lines", "a grid", "a frame",
                                   "patterned paper", "a table edge"])  # fmt: skip
def test_paper_alone_is_blank(paper: str) -> None:
    nothing = np.zeros((SIDE, SIDE))
    for light in LIGHTS.values():
        assert preprocess(photo(PAPERS[paper](nothing), light=light, contrast=0.6)).is_blank


def test_a_small_character_is_looked_at_from_closer(characters: list[Floats]) -> None:
    page = np.full((800, 1000), 0.9, np.float32)
    small = np.asarray(Image.fromarray(characters[3].astype(np.float32)).resize((120, 120)))
    page[300:420, 500:620] -= 0.6 * small
    page[::50] -= 0.2
    # Of 64 rows; it has ten of the whole page.
    assert (segment(page).ink > 0.5).any(axis=1).sum() > 30
    assert is_found([np.asarray(page.clip(0, 1) * 255, np.uint8)], [characters[3]])


@pytest.mark.mnist
@pytest.mark.parametrize("paper", ["ruled", "faintly ruled", "grid", "faint grid", "frame"])
def test_digits_on_lines_are_read_and_never_wrong_with_confidence(paper: str) -> None:
    test = load_dataset("mnist").test.unseal().subset(np.arange(40))
    labels = [test.classes[label] for label in test.labels]
    right, wrong, _ = read(Recognizer.load("digits"), test.images, labels, paper).sum(axis=0)
    assert right >= 37
    assert wrong == 0


def test_small_images_scaled_to_their_digit_are_read_by_the_threshold() -> None:
    """16 pixels and less, ink to the border, as scanned mail is often stored: nothing to doubt."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels = (bunch.images[:200] * 255 / 16).astype(np.uint8)
    answers = Recognizer.load("digits").recognize(list(levels))
    right = sum(a.top(1)[0][0] == str(y) for a, y in zip(answers, bunch.target, strict=False))
    assert right >= 185  # 180 by segmentation
