"""Random affine warps of a whole batch at once, on the device."""

import functools
import math

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from penstroke.config.settings import IMAGE_SIZE, AugmentConfig


def warp(images: Tensor, config: AugmentConfig) -> Tensor:
    """Return (B, 1, 28, 28) with each image warped at random, in one sampling.

    Draws come from the device's global generator, which `fit` seeds anew for each epoch.
    """
    if not config.is_active:
        return images
    matrices = _draw_affine(len(images), config, images.device)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    warped = F.grid_sample(images, grid, align_corners=False)
    if config.stroke_width:
        # Grey dilation and erosion over 3×3 pixels (Serra 1982) move an outline by a pixel; a
        # mixture with the image as it was, by less.
        share = _uniform(len(images), images.device, config.stroke_width).reshape(-1, 1, 1, 1)
        grown = F.max_pool2d(warped, 3, stride=1, padding=1)
        shrunk = -F.max_pool2d(-warped, 3, stride=1, padding=1)
        warped = warped.lerp(torch.where(share > 0, grown, shrunk), share.abs())
    return warped.contiguous(memory_format=torch.channels_last)


def _draw_affine(count: int, config: AugmentConfig, device: torch.device) -> Tensor:
    """Return (count, 2, 3) matrices from output to input, as `affine_grid` wants them."""
    uniform = functools.partial(_uniform, count, device)
    angle = uniform(math.radians(config.rotation_degrees))
    slant = torch.tan(uniform(math.radians(config.shear_degrees)))
    scale = 1 / (1 + uniform(config.scale))
    stretch = torch.exp(uniform(math.log1p(config.aspect_ratio)) / 2)
    # affine_grid's image runs from -1 to 1: half the side is one unit.
    right, down = (uniform(config.translate_pixels) / (IMAGE_SIZE / 2) for _ in range(2))
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = [
        cosine * stretch, (cosine * slant - sine) * stretch, right,
        sine / stretch, (sine * slant + cosine) / stretch, down,
    ]  # fmt: skip
    return torch.stack(matrix, dim=1).reshape(count, 2, 3)


def _uniform(count: int, device: torch.device, limit: float) -> Tensor:
    return (torch.rand(count, device=device) * 2 - 1) * limit
