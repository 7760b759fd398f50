from __future__ import annotations

import numpy as np
import pytest
import torch

from auditing import drawn_strokes
from penstroke.data.dataset import Images
from penstroke.quality.data_audit import blank
from penstroke.quality.duplicates import (
    COUNT,
    NEAR,
    Neighbours,
    Pair,
    descriptors,
    groups_of,
    near,
    nearest,
    pairs_across,
    pairs_within,
)


def found_within(images: Images) -> list[Pair]:
    placed = descriptors(images)
    neighbours = nearest(placed, placed, lambda what, share: None, is_same=True)
    return pairs_within(images, neighbours, blank(images))


def found_across(query: Images, gallery: Images) -> list[Pair]:
    return pairs_across(query, gallery, lambda *_: None)


def rows(pairs: list[Pair]) -> set[tuple[int, int]]:
    return {(pair.first, pair.second) for pair in pairs}


def altered(image: Images, how: str) -> Images:
    """Return a copy that is nearly the same."""
    changed = image.copy()
    match how:
        case "fainter":
            changed = (changed * 0.6).astype(np.uint8)
        case "one pixel":
            y, x = np.argwhere(image == 0)[np.abs(np.argwhere(image == 0) - 14).sum(1).argmin()]
            changed[y, x] = 255
        case "moved":
            changed = np.roll(changed, (2, -1), axis=(0, 1))
        case "noisy":
            noise = np.random.default_rng(0).integers(-12, 13, image.shape)
            changed = np.where(image > 0, np.clip(image + noise, 1, 255), 0).astype(np.uint8)
    return changed


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_distinct_strokes_are_no_copies(seed: int) -> None:
    images = drawn_strokes(1000, seed)
    assert found_within(images) == []
    assert found_across(drawn_strokes(300, seed + 1), images) == []


def test_exact_copies_are_paired_with_the_first() -> None:
    images = drawn_strokes(40)
    images[[11, 30]] = images[5]
    pairs = found_within(images)
    assert rows(pairs) == {(5, 11), (5, 30)}
    assert all(pair.is_exact for pair in pairs)


@pytest.mark.parametrize("how", ["fainter", "one pixel", "moved", "noisy"])
def test_near_copies(how: str) -> None:
    images = drawn_strokes(300)
    planted = {(k, k + 100) for k in range(0, 20)}
    for first, second in planted:
        images[second] = altered(images[first], how)
    pairs = found_within(images)
    assert rows(pairs) == planted
    assert not any(pair.is_exact for pair in pairs)
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)


def test_copies_in_another_data_set() -> None:
    query, gallery = drawn_strokes(50, seed=1), drawn_strokes(400, seed=2)
    gallery[7], gallery[8], gallery[9] = (
        query[3],
        altered(query[4], "moved"),
        altered(query[5], "fainter"),
    )
    pairs = found_across(query, gallery)
    assert rows(pairs) == {(3, 7), (4, 8), (5, 9)}
    assert [pair.is_exact for pair in pairs].count(True) == 1


def test_more_copies_than_neighbours_are_all_found() -> None:
    images = drawn_strokes(60)
    for copy in range(1, 2 * COUNT):
        images[20 + copy] = altered(images[20], "fainter")
    assert groups_of(found_within(images)) == [list(range(20, 20 + 2 * COUNT))]


def test_copies_of_copies_are_one_group() -> None:
    pairs = [Pair(4, 9, 0.0), Pair(2, 9, 0.1), Pair(5, 6, 0.0)]
    assert groups_of(pairs) == [[2, 4, 9], [5, 6]]


def test_blank_images_are_no_copies_of_each_other() -> None:
    images = drawn_strokes(30)
    images[[3, 4]] = 0
    assert found_within(images) == []
    assert found_across(images, images[3:5]) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_next_to_nothing_to_compare(count: int) -> None:
    images = drawn_strokes(2)[:count]
    assert found_within(images) == []
    assert found_across(images, images[:0]) == []


def test_crowded_images_are_no_copies() -> None:
    distances = np.array([[0.1, 0.15, 0.2, 0.2, 0.2], [0.1, 0.3, 0.3, 0.3, 0.3]], np.float32)
    neighbours = Neighbours(distances, np.arange(10).reshape(2, 5))
    assert [found[:2] for found in near(neighbours, 0.4)] == [(1, 5)]
    far = Neighbours(np.full((1, 5), NEAR + 0.01, np.float32), np.arange(5).reshape(1, 5))
    assert near(far, 5.0) == []


def test_neighbours_are_the_true_ones() -> None:
    placed = descriptors(drawn_strokes(700))
    found = nearest(placed, placed, lambda what, share: None, is_same=True)
    apart = torch.cdist(placed.double(), placed.double()).fill_diagonal_(9.0)
    expected = apart.topk(COUNT, largest=False)
    assert np.allclose(found.distances, expected.values, atol=1e-5)
    assert (found.rows == expected.indices.numpy()).mean() > 0.99


def test_forms_forget_place_and_strength_alone() -> None:
    images = drawn_strokes(20)
    placed = descriptors(images)
    for how in ("moved", "fainter"):
        again = descriptors(np.stack([altered(image, how) for image in images]))
        assert float((placed - again).norm(dim=1).max()) < 0.02
    turned = descriptors(np.ascontiguousarray(np.rot90(images, axes=(1, 2))))
    assert float((placed - turned).norm(dim=1).median()) > 0.4
