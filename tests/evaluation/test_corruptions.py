from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from helpers import random_images
from penstroke.data.dataset import DataSplits, Images
from penstroke.evaluation.corruptions import CORRUPTIONS, corrupt
from penstroke.evaluation.ood import blank_paper, noise, scribbles, synthetic_ood_images

DRAWS_NOTHING = {"blur", "scale", "brightness", "stripe", "edges", "thick_strokes", "thin_strokes"}

names = pytest.mark.parametrize("name", CORRUPTIONS)


@pytest.fixture(scope="module")
def characters(digits: DataSplits) -> Images:
    return digits.train.images[:200]


@names
@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 4),
    level=st.sampled_from([None, 0, 1, 255]),
)
def test_any_images_keep_shape_and_type_and_themselves(
    name: str, seed: int, count: int, level: int | None
) -> None:
    images = random_images(count, seed) if level is None else np.full((count, 28, 28), level, "u1")
    before = images.copy()
    corrupted = corrupt(images, name, seed)
    assert corrupted.shape == images.shape
    assert corrupted.dtype == np.uint8
    assert np.array_equal(corrupted, corrupt(images, name, seed))
    assert np.array_equal(images, before)


@names
def test_every_image_is_corrupted_by_the_seed(name: str, characters: Images) -> None:
    corrupted = corrupt(characters, name, seed=0)
    assert (corrupted != characters).any(axis=(1, 2)).all()
    assert np.array_equal(corrupted, corrupt(characters, name, seed=1)) == (name in DRAWS_NOTHING)


@names
def test_a_image_is_corrupted_without_regard_to_its_neighbours(
    name: str, characters: Images
) -> None:
    others = np.concatenate([characters[:1], 255 - characters[1:]])
    assert np.array_equal(corrupt(characters, name)[0], corrupt(others, name)[0])


@names
def test_more_images_than_are_taken_at_once(name: str, characters: Images) -> None:
    many = np.tile(characters, (6, 1, 1))
    corrupted = corrupt(many, name)
    assert np.array_equal(corrupted[:1000], corrupt(many[:1000], name))
    repeats = np.array_equal(corrupted[:200], corrupted[1000:])
    assert repeats == (name in DRAWS_NOTHING)


@names
def test_what_a_character_is_can_still_be_told(name: str, digits: DataSplits) -> None:
    """The nearest of ten means reads 84.7 % of clean images; chance is 10 %."""
    train, validation = digits.train, digits.validation
    learned = corrupt(train.images, name, seed=1).reshape(len(train), -1) / 255
    shown = corrupt(validation.images, name, seed=2).reshape(len(validation), -1) / 255
    means = np.stack([learned[train.labels == label].mean(axis=0) for label in range(10)])
    distances = ((shown[:, None] - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == validation.labels).mean() > 0.4


def ink(images: Images) -> np.ndarray:
    return np.asarray(images.mean(axis=(1, 2), dtype=float))


def center(image: Images) -> np.ndarray:
    return np.array(ndimage.center_of_mass(image))


def spread(image: Images, axis: int) -> float:
    """The standard deviation of the ink along an axis."""
    profile = image.sum(axis=1 - axis, dtype=float)
    places = np.arange(28)
    mean = (profile * places).sum() / profile.sum()
    return float(np.sqrt((profile * (places - mean) ** 2).sum() / profile.sum()))


def test_strokes_become_thicker_and_thinner(characters: Images) -> None:
    thick, thin = corrupt(characters, "thick_strokes"), corrupt(characters, "thin_strokes")
    assert (thick >= characters).all()
    assert (thin <= characters).all()
    assert (ink(thick) > 1.2 * ink(characters)).all()
    assert (ink(thin) < 0.8 * ink(characters)).all()


def test_a_fine_stroke_is_not_broken_by_a_finer_pen() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 5:23, 13] = 255
    assert np.array_equal(corrupt(image, "thin_strokes"), image)


def test_brightness_raises_every_level_and_keeps_their_order(characters: Images) -> None:
    bright = corrupt(characters, "brightness")
    assert (bright >= 127).all()
    assert (bright >= characters).all()


def test_translation_moves_the_center_of_mass_three_pixels() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 10:18, 12:17] = 200
    moves = [center(corrupt(image, "translation", s)[0]) - center(image[0]) for s in range(20)]
    assert np.allclose(np.abs(moves), 3)
    assert len({tuple(np.sign(move)) for move in moves}) == 4


def test_scale_makes_smaller_about_the_middle() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:24, 4:24] = 255
    small = corrupt(image, "scale")[0]
    assert spread(small, 0) / spread(image[0], 0) == pytest.approx(0.7, abs=0.02)
    assert np.allclose(center(small), 13.5)


@pytest.mark.parametrize("name", ["shear", "rotation"])
def test_what_leans_keeps_its_middle_and_goes_either_way(name: str) -> None:
    image = np.zeros((40, 28, 28), np.uint8)
    image[:, 6:22, 12:16] = 255
    corrupted = corrupt(image, name)
    upper = [center(one[:14])[1] - 13.5 for one in corrupted]
    assert all(np.allclose(center(one), 13.5, atol=0.05) for one in corrupted)
    assert {round(float(lean), 1) for lean in upper} in ({-1.6, 1.6}, {-1.7, 1.7}, {-1.5, 1.5})


def test_rotation_turns_by_its_angle() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 13:15, 2:26] = 255
    rows, columns = np.nonzero(corrupt(image, "rotation")[0] > 100)
    slope = np.polyfit(columns, rows, 1)[0]
    assert abs(np.arctan(slope)) == pytest.approx(0.4, abs=0.02)


def test_noise_has_the_strength_it_names(characters: Images) -> None:
    grey = np.full((200, 28, 28), 128, np.uint8)
    hit = corrupt(grey, "impulse_noise")
    assert (hit == 0).mean() == pytest.approx(0.085, abs=0.005)
    assert (hit == 255).mean() == pytest.approx(0.085, abs=0.005)
    shot = corrupt(grey, "shot_noise")
    assert set(np.unique(shot)) == {0, 85, 170, 255}
    assert (shot == 0).mean() == pytest.approx(np.exp(-3 * 128 / 255), abs=0.01)
    assert (corrupt(characters, "shot_noise")[characters == 0] == 0).all()


def test_stripes_are_the_outer_quarters(characters: Images) -> None:
    striped = corrupt(characters, "stripe")
    assert np.array_equal(striped[:, :, 7:21], characters[:, :, 7:21])
    assert np.array_equal(striped[:, :, :7], 255 - characters[:, :, :7])
    assert np.array_equal(striped[:, :, 21:], 255 - characters[:, :, 21:])


def test_blur_keeps_the_ink_and_lowers_the_peaks(characters: Images) -> None:
    blurred = corrupt(characters, "blur")
    assert np.allclose(ink(blurred), ink(characters), atol=1)
    assert (blurred.max(axis=(1, 2)) < characters.max(axis=(1, 2))).all()


def test_edges_are_outlines() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 8:20, 8:20] = 255
    outline = corrupt(image, "edges")[0] > 0
    assert not outline[10:18, 10:18].any()
    _, parts = ndimage.label(~outline)
    assert parts == 2, "inside and outside are no longer apart"
    assert not corrupt(np.full((1, 28, 28), 255, np.uint8), "edges").any()


@pytest.mark.parametrize("name", ["dotted_line", "zigzag"])
def test_a_line_only_adds_and_crosses_the_image(name: str) -> None:
    blank = np.zeros((100, 28, 28), np.uint8)
    drawn = corrupt(blank, name)
    full = (drawn > 200).any(axis=1)
    assert full.mean() > (0.4 if name == "dotted_line" else 0.7)
    on_ink = np.full_like(blank, 77)
    assert (corrupt(on_ink, name) >= 77).all()


def test_fog_and_spatter_cover_but_do_not_bury(characters: Images) -> None:
    fog = corrupt(np.zeros_like(characters), "fog")
    assert fog.max() == pytest.approx(170, abs=1)
    assert ink(fog).std() > 5, "every cloud is the same"
    spatter = corrupt(np.zeros_like(characters), "spatter")
    assert 0.05 < (spatter > 0).mean() < 0.4
    assert spatter.max() <= 63


@pytest.mark.parametrize("make", [noise, scribbles, blank_paper])
def test_strangers_are_images_of_their_seed(
    make: Callable[[int, np.random.Generator], Images],
) -> None:
    first, again, other = (make(5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.shape == (5, 28, 28)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first.reshape(5, -1), axis=0)) == 5


def test_paper_without_ink_is_drawn_again() -> None:
    """Of this seed the 138th piece is found blank at first."""
    paper = blank_paper(140, np.random.default_rng(3))
    assert paper.any(axis=(1, 2)).all()


def test_each_kind_of_strangers_is_what_it_says() -> None:
    kinds = synthetic_ood_images(count=60, seed=3)
    assert list(kinds) == ["noise", "scribbles", "blank paper"]
    assert kinds["noise"].std() > 60
    paper, scribbled = ink(kinds["blank paper"]), ink(kinds["scribbles"])
    assert (paper > 0).all(), "a network is never asked of what has no ink"
    assert np.median(paper) < 10 < 20 < np.median(scribbled)
    assert all(np.allclose(center(one), 14, atol=1.5) for one in kinds["scribbles"])
