"""The paper of synthetic lines: light, texture, printed lines, and what a camera makes of it."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from penstroke.config.settings import SynthesisConfig

Grey = npt.NDArray[np.floating[Any]]
"""Intensities or coverage (H, W) in 0..1."""
Generator = np.random.Generator
_LEAST_DETAIL = 8
"""Pixels of a character's height that a camera leaves."""


def photograph(ink: Grey, detail: float, config: SynthesisConfig, rng: Generator) -> Grey:
    """Return grey values (H, W) of `ink` (H, W), its coverage in 0..1, on paper.

    `detail` is the height of a character in pixels, of which the camera leaves some.
    """
    height, width = ink.shape
    down, across = np.mgrid[:height, :width].astype(np.float32) / height
    contrast = rng.uniform(config.least_contrast, 1.0)
    grey = np.full((height, width), 1.0, np.float32)
    if rng.random() < 0.8:  # uneven light, and the edge of a shadow
        slope = rng.uniform(-0.25, 0.25, 2) * contrast
        grey += slope[0] * (down - 0.5) + slope[1] * (across * height / width - 0.5)
        if rng.random() < 0.1:
            grey *= _shadow(down, across, rng)
    marks = np.zeros_like(ink)
    if rng.random() < config.patterned_paper:
        marks += _pattern(down, across, rng)
    if rng.random() < config.texture:
        marks += rng.uniform(0.05, 0.25) * _clouds(ink.shape, rng)
    if rng.random() < config.ruled_lines:
        marks = np.maximum(marks, _lines(down, across, rng))
    if rng.random() < config.frames:
        marks = np.maximum(marks, _frame(down, across, width / height, rng))
    if rng.random() < config.stamps:
        marks = np.maximum(marks, _stamp(down, across, rng))
    if rng.random() < 0.4:  # a pen or pencil that presses here and there
        ink = ink * (1 - rng.uniform(0.1, 0.7) * _grains(ink.shape, rng))
    dark = np.maximum(ink, marks)
    if rng.random() < 0.3:
        dark = 1 - (1 - ink) * (1 - marks.clip(0, 1))
    return _camera(grey * (1 - 0.9 * contrast * dark), detail, contrast, config, rng)


def _shadow(down: Grey, across: Grey, rng: Generator) -> Grey:
    angle = rng.uniform(0, 2 * np.pi)
    place = np.cos(angle) * (across - rng.uniform(0, across.max())) + np.sin(angle) * (down - 0.5)
    darkening: Grey = rng.uniform(0.1, 0.5) / (1 + np.exp(-place * rng.uniform(3, 30)))
    return 1 - darkening


def _pattern(down: Grey, across: Grey, rng: Generator) -> Grey:
    """Return fine waving lines, as on cheques, in one to three families; or printed dots."""
    total = np.zeros_like(down)
    strength = rng.uniform(0.05, 0.55)
    for _ in range(int(rng.integers(1, 4))):
        angle = rng.uniform(0, np.pi) if rng.random() < 0.5 else rng.normal(np.pi / 2, 0.15)
        along = np.cos(angle) * down - np.sin(angle) * across
        place = np.sin(angle) * down + np.cos(angle) * across
        if rng.random() < 0.7:
            bend = rng.uniform(0.02, 0.25) * np.sin(
                2 * np.pi * rng.uniform(0.2, 1.5) * along + rng.uniform(0, 6)
            )
            place = place + bend.astype(np.float32)
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(4, 15) * place + rng.uniform(0, 6))
        if rng.random() < 0.15:
            wave *= 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(4, 15) * along)
        total = np.maximum(total, wave ** rng.uniform(0.7, 4))
    return strength * total.astype(np.float32)


def _lines(down: Grey, across: Grey, rng: Generator) -> Grey:
    """Return ruled lines above, below or through the writing, sometimes a grid."""
    marks = np.zeros_like(down)
    slope, count = rng.normal(0, 0.01), int(rng.integers(1, 4))
    for _ in range(count):
        y = rng.choice([rng.uniform(-0.02, 0.15), rng.uniform(0.75, 1.02), rng.uniform(0, 1)],
                       p=(0.3, 0.5, 0.2))  # fmt: skip
        marks = np.maximum(marks, _line(down + slope * across - y, rng))
    if rng.random() < 0.15:
        step, start = rng.uniform(0.2, 1.2), rng.random()
        distance = (across - slope * down - start + step / 2) % step - step / 2
        marks = np.maximum(marks, _line(distance, rng))
    return marks


def _frame(down: Grey, across: Grey, wide: float, rng: Generator) -> Grey:
    """Return the frame of a cell, or parts of it: each side may be there, whole or in part."""
    marks = np.zeros_like(down)
    inset, tilt = rng.uniform(-0.02, 0.14, 4), rng.normal(0, 0.015)
    strength = rng.uniform(0.2, 1.2)
    sides = (
        (down + tilt * across - inset[0], across / wide),
        (down + tilt * across - 1 + inset[1], across / wide),
        (across - tilt * down - inset[2], down),
        (across - tilt * down - wide + inset[3], down),
    )
    for distance, along in sides:
        if rng.random() < 0.7:
            side = _line(distance, rng)
            if rng.random() < 0.3:
                start = rng.uniform(-0.5, 1)
                side = side * ((along > start) & (along < start + rng.uniform(0.2, 1)))
            marks = np.maximum(marks, side)
    return (strength * marks).clip(0, 1)


def _stamp(down: Grey, across: Grey, rng: Generator) -> Grey:
    """Return the rings, or the double frame, of a rubber stamp, of which a part is seen."""
    size = rng.uniform(0.5, 2.0)
    y, x = down - rng.uniform(-0.5, 1.5), across - rng.uniform(0, across.max())
    tilt = rng.normal(0, 0.2)
    y, x = y + tilt * x, x - tilt * y
    is_round = rng.random() < 0.5
    distance = np.hypot(x, y) if is_round else np.maximum(np.abs(x) / rng.uniform(1, 3), np.abs(y))
    marks = np.maximum(_line(distance - size, rng), _line(distance - 0.8 * size, rng))
    inked = _grains(marks.shape, rng)
    return np.asarray(marks * (1 - rng.uniform(0.1, 0.9) * inked), np.float32)


def _line(distance: Grey, rng: Generator) -> Grey:
    """Return a printed line, or several, where `distance` is zero, in heights."""
    thickness, softness = rng.uniform(0.008, 0.045), rng.uniform(0.015, 0.05)
    strength = rng.uniform(0.15, 1.0)
    line = strength * ((thickness + softness - np.abs(distance)) / softness).clip(0, 1)
    if rng.random() < 0.1:
        line = line * (rng.random(line.shape) < rng.uniform(0.4, 0.9))
    return np.asarray(line, np.float32)


def _clouds(shape: tuple[int, int], rng: Generator) -> Grey:
    """Return smooth noise in -1..1 of a random grain."""
    grain = rng.uniform(1, 8)
    small = rng.normal(0, 0.5, (int(shape[0] / grain) + 2, int(shape[1] / grain) + 2))
    image = Image.fromarray(small.astype(np.float32))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BICUBIC)).clip(-1, 1)


def _grains(shape: tuple[int, int], rng: Generator) -> Grey:
    """Return where a pen or pencil leaves the paper blank, in 0..1."""
    return np.asarray(0.5 + 0.5 * np.tanh(3 * _clouds(shape, rng)), np.float32)


def _camera(
    grey: Grey, detail: float, contrast: float, config: SynthesisConfig, rng: Generator
) -> Grey:
    """Return `grey` as a camera or scanner hands it on: less sharp, noisy, compressed."""
    height, width = grey.shape
    image = Image.fromarray(grey.astype(np.float32))
    if rng.random() < config.low_resolution:
        factor = rng.uniform(1, max(1.1, min(2.6, detail / _LEAST_DETAIL)))
        small = (max(8, round(width / factor)), max(8, round(height / factor)))
        how = rng.choice([Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
        image = image.resize(small, Image.Resampling.BOX).resize((width, height), how)
    grey = np.asarray(image)
    if rng.random() < config.blur:
        grey = gaussian_filter(grey, rng.uniform(0.3, 1.0))
    if rng.random() < 0.25:  # sharpened by a phone
        grey = grey + rng.uniform(0.2, 1.0) * (grey - gaussian_filter(grey, rng.uniform(0.6, 1.5)))
    noise = config.noise * rng.random() ** 2 * contrast
    grey = grey + noise * rng.standard_normal(grey.shape).astype(np.float32)
    if rng.random() < config.compression:
        exposed = (255 * (0.1 + 0.8 * grey)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(exposed).save(file, "JPEG", quality=int(rng.integers(25, 90)))
        grey = np.asarray(Image.open(file), np.float32) / 255
    return np.asarray(grey, np.float32)
