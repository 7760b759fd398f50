"""Transparent paper is like its opaque border; strokes alone lie on their opposite."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from helpers import likeness
from penstroke.data.dataset import DataSplits
from penstroke.preprocessing.ink import preprocess
from transparent import SIDE, drawings, ink_of, keyed, opaque, sheets, with_alpha


def seen_as(image: Image.Image, wanted: npt.NDArray[np.generic]) -> float:
    return likeness(preprocess(image).pixels, preprocess(wanted).pixels)


@pytest.mark.parametrize("dark", [True, False])
def test_a_digit_stays_what_it_is(digits: DataSplits, *, dark: bool) -> None:
    wrong = {}
    for number in range(0, 200, 20):
        ink = ink_of(digits.train.images[number])
        wanted = opaque(ink, dark=dark)
        for kind, image in (sheets(ink, dark=dark) | drawings(ink, dark=dark)).items():
            if (value := seen_as(image, wanted)) < 0.8:
                wrong[kind, number] = round(value, 2)
    assert wrong == {}


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.1, 0.5])
def test_specks_on_nothing_are_no_paper(share: float) -> None:
    alpha = np.random.default_rng(0).random((SIDE, SIDE)) < share
    assert preprocess(with_alpha(np.zeros_like(alpha), alpha)).pixels.shape == (28, 28)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_level_that_is_declared_clear(digits: DataSplits, kind: type[np.unsignedinteger]) -> None:
    ink = ink_of(digits.train.images[0])
    assert seen_as(keyed(ink, kind), 1 - ink) > 0.85


@pytest.mark.parametrize("kind", [np.uint16, np.float64])
def test_arrays_with_alpha(digits: DataSplits, kind: type[np.generic]) -> None:
    ink = ink_of(digits.train.images[0])
    image = np.asarray(sheets(ink, dark=True)["circle"])
    array = image.astype(kind) * 257 if kind is np.uint16 else image / 255
    wanted = preprocess(opaque(ink, dark=True)).pixels
    assert likeness(preprocess(array).pixels, wanted) > 0.85


def test_light_on_paper_goes_on_behind_what_is_clear(digits: DataSplits) -> None:
    ink = ink_of(digits.train.images[0])
    lit = opaque(ink, dark=True) * np.linspace(1, 0.5, SIDE, dtype=np.float32)
    down, across = np.mgrid[0:SIDE, 0:SIDE] - SIDE / 2
    assert seen_as(with_alpha(lit, np.hypot(down, across) < SIDE / 2), lit) > 0.85


@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_blank_paper_is_blank_whatever_its_shape(level: float) -> None:
    kinds = sheets(np.zeros((SIDE, SIDE)), dark=True)
    del kinds["palette"], kinds["window with a frame"]
    for kind, image in kinds.items():
        alpha = np.asarray(image.convert("RGBA"))[..., 3] / 255
        assert preprocess(with_alpha(np.full(alpha.shape, level), alpha)).is_blank, kind
    nothing = np.zeros((SIDE, SIDE))
    assert preprocess(with_alpha(nothing + level, nothing)).is_blank
