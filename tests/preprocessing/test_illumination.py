from __future__ import annotations

import numpy as np
import pytest

from helpers import drawn_digit
from penstroke.preprocessing.decoding import Intensities
from penstroke.preprocessing.ink import MARGIN, correct_illumination, find_ink


def written(height: int = 120, width: int = 480) -> Intensities:
    """Sevens all along, dark on white, as float."""
    seven = drawn_digit(height, ink=0, paper=255).astype(np.float32) / 255
    return np.tile(seven, (1, width // height))


def light(shape: tuple[int, ...], angle: float, fall: float) -> Intensities:
    down, across = np.meshgrid(*(np.linspace(-0.5, 0.5, n) for n in shape), indexing="ij")
    along = np.cos(angle) * across + np.sin(angle) * down
    return np.asarray(1 - fall * (along - along.min()) / np.ptp(along), np.float32)


@pytest.mark.parametrize("angle", np.arange(0, 2 * np.pi, np.pi / 4))
@pytest.mark.parametrize("turned_round", [False, True])
def test_a_gradient_of_light_leaves_the_ink_as_it_is(angle: float, turned_round: bool) -> None:
    page = written()
    lit = np.float32(0.9) * page.clip(0.4) * light(page.shape, angle, 0.5)
    seen = correct_illumination(np.float32(1) - lit if turned_round else lit)
    inner = find_ink(seen, alone=False)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    dark = page < 0.5
    assert (inner[dark] > 0.3).mean() > 0.97
    assert (inner[~dark] > 0.3).mean() < 0.01


def test_the_edge_of_a_shadow_is_no_ink() -> None:
    page = np.ones((400, 600), np.float32)
    across = np.linspace(-1, 1, 600, dtype=np.float32)
    page *= 0.9 - 0.3 / (1 + np.exp(-across / 0.05))
    assert find_ink(correct_illumination(page), alone=False).max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (3, 7)])
def test_any_shape(shape: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).random(shape, np.float32)
    flat = correct_illumination(grey)
    assert flat.shape == (shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN)
    assert np.isfinite(flat).all()
    assert flat.max() <= 1
