from __future__ import annotations

import pytest
import torch

from penstroke.config.settings import AugmentConfig
from penstroke.training.augmentation import _draw_affine, warp


def dot(x: int, y: int) -> torch.Tensor:
    """Images with a bright spot of 3×3 around (x, y)."""
    images = torch.zeros(200, 1, 28, 28)
    images[:, :, y - 1 : y + 2, x - 1 : x + 2] = 1
    return images


def centers(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    places = torch.arange(28.0)
    mass = images.sum((1, 2, 3))
    x = (images.sum(2).squeeze(1) @ places) / mass
    y = (images.sum(3).squeeze(1) @ places) / mass
    return x, y


def test_nothing_asked_nothing_done() -> None:
    images = torch.rand(4, 1, 28, 28)
    assert warp(images, AugmentConfig()) is images


def test_every_image_is_warped_by_its_own_draw_and_the_seed_decides() -> None:
    config = AugmentConfig(rotation_degrees=10, scale=0.1, shear_degrees=5, translate_pixels=2)
    images = torch.rand(1, 1, 28, 28).repeat(6, 1, 1, 1)
    torch.manual_seed(1)
    first = warp(images, config)
    torch.manual_seed(1)
    assert torch.equal(warp(images, config), first)
    assert len(torch.unique(first.flatten(1), dim=0)) == 6


def test_translation_is_in_pixels() -> None:
    x, y = centers(warp(dot(14, 14), AugmentConfig(translate_pixels=3)))
    for moved in (x - 14, y - 14):
        assert 2.7 < moved.abs().max() <= 3.001
        assert abs(float(moved.mean())) < 0.5


def test_rotation_is_in_degrees_about_the_middle() -> None:
    x, y = centers(warp(dot(23, 14), AugmentConfig(rotation_degrees=20)))
    angle = torch.rad2deg(torch.atan2(y - 13.5, x - 13.5)) - 3.0
    assert 18 < angle.abs().max() < 21.5
    radius = torch.hypot(x - 13.5, y - 13.5)
    torch.testing.assert_close(radius, torch.full_like(radius, 9.513), atol=0.3, rtol=0)


def test_scale_and_shear() -> None:
    x, _ = centers(warp(dot(23, 14), AugmentConfig(scale=0.2)))
    ratio = (x - 13.5) / 9.5
    assert 1.15 < ratio.max() < 1.21
    assert 0.79 < ratio.min() < 0.85
    x, y = centers(warp(dot(14, 23), AugmentConfig(shear_degrees=15)))
    assert (y - 23).abs().max() < 0.2  # a slant moves along the row only
    assert 2.2 < (x - 14).abs().max() < 2.7  # 9.5 · tan 15° = 2.55


@pytest.mark.parametrize("count", [1, 5])
def test_shape(count: int) -> None:
    config = AugmentConfig(scale=0.5)
    assert _draw_affine(count, config, torch.device("cpu")).shape == (count, 2, 3)
    assert warp(torch.rand(count, 1, 28, 28), config).shape == (count, 1, 28, 28)


def test_stretch_is_of_width_against_height() -> None:
    torch.manual_seed(0)
    x, _ = centers(warp(dot(23, 14), AugmentConfig(aspect_ratio=0.44)))
    _, y = centers(warp(dot(14, 23), AugmentConfig(aspect_ratio=0.44)))
    for ratio in ((x - 13.5) / 9.5, (y - 13.5) / 9.5):
        # 1.44 of one against the other: 1.2 of each, either way.
        assert 1.15 < ratio.max() < 1.22
        assert 0.81 < ratio.min() < 0.87


def test_strokes_grow_and_shrink_by_up_to_a_pixel() -> None:
    torch.manual_seed(0)
    bars = torch.zeros(400, 1, 28, 28)
    bars[:, :, 4:24, 12:16] = 1
    widths = warp(bars, AugmentConfig(stroke_width=1.0))[:, 0, 14].sum(dim=1)
    assert 5.9 < widths.max() <= 6
    assert 2 <= widths.min() < 2.1
    assert abs(float(widths.mean()) - 4) < 0.2
