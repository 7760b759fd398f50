"""What lies behind transparent pixels: more of the opaque paper, or the opposite of the ink."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageFilter

Intensities = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as in Pillow's own conversion to grey."""
_SURVEY_SIDE = 20
"""Pixels a side, or less than twice as many, that suffice to tell paper from strokes."""
_SOLID = 0.35
"""Of its longer side: what holds an opaque square as large as this is paper, not strokes."""
_SOLID_PLAIN = 0.45
"""The same, where it is all of one colour: broad pens draw so, and blank paper holds more."""
_FULL = 0.8
"""Of its box: what fills more, and shows something, is paper, as a strip with a line of writing."""
_STEP = 0.25
"""Of the full range: levels that differ less are of one kind."""


def flatten(rgba: Intensities) -> Intensities:
    """Return grey levels (H, W) of `rgba` (H, W, 4) in 0..1, its colours weighted by alpha.

    Opaque paper goes on where it is transparent, so that a crop or a shadow around it has no edge;
    partly opaque paper shows its own colour. Strokes alone, on nothing, lie on the opposite of what
    they are, black or white.
    """
    grey, alpha = rgba[..., :3] @ LUMA, np.ascontiguousarray(rgba[..., 3])
    most = float(alpha.max())
    if not most:
        return np.ones_like(alpha)
    if float(alpha.min()) == 1:
        return grey
    levels = np.asarray(grey / np.maximum(alpha, np.float32(1e-6)), np.float32)
    is_opaque = alpha > most / 2
    paper, spread = _survey(grey, alpha, is_opaque)
    if paper is None:
        is_dark = float(grey.sum()) <= 0.5 * float(alpha.sum())
        return np.asarray(grey + np.float32(is_dark) * (1 - alpha), np.float32)
    away = np.abs(levels - np.float32(paper))
    # A frame, and what resampling mixed in, is along the edge of all but the smallest holes.
    clear = Image.fromarray(~is_opaque).convert("L").filter(ImageFilter.MinFilter(3))
    is_edge = np.asarray(clear.filter(ImageFilter.MaxFilter(7))) > 0
    is_opaque &= ~is_edge | (away <= _STEP / 2)
    is_paper = is_opaque & (away <= max(spread, _STEP) / 2)
    return np.where(is_opaque, levels, _continued(levels, is_paper.astype(np.float32)))


def _survey(grey: Intensities, alpha: Intensities, is_opaque: Mask) -> tuple[float | None, float]:
    """Return the level of the paper, None if there are strokes alone, and how far levels depart."""
    rows, columns = np.flatnonzero(is_opaque.any(axis=1)), np.flatnonzero(is_opaque.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = max(1, max(is_opaque[box].shape) // _SURVEY_SIDE)
    small_grey, small_alpha = _reduced(grey[box], factor), _reduced(alpha[box], factor)
    mask = small_alpha > float(alpha.max()) / 2
    if not mask.any():  # specks, far apart
        return None, 0.0
    levels = small_grey / np.maximum(small_alpha, np.float32(1e-6))
    inside = sliding_window_view(np.pad(mask, 1), (3, 3)).all(axis=(2, 3))
    rim = levels[mask & ~inside]
    paper = float(np.median(rim))
    away = np.abs(levels[mask] - np.float32(paper))
    spread = float(away.max())
    is_plain = spread < _STEP / 2
    side = int(np.ceil((_SOLID_PLAIN if is_plain else _SOLID) * max(mask.shape)))
    is_solid = min(mask.shape) >= side and bool(
        sliding_window_view(mask, (side, side)).all(axis=(2, 3)).any()
    )
    if is_solid:
        is_dot = 2 * max(is_opaque[box].shape) < max(is_opaque.shape)
        is_drawn = is_plain and (is_dot or _is_framed(is_opaque))
        return (None if is_drawn else paper), spread
    is_strip = mask.mean() > _FULL and spread > _STEP
    # The outline of a filled character, in a colour of its own, is around all of it.
    other = away[away > _STEP]
    is_outlined = (
        len(other) > 0.1 * len(away)
        and float(np.median(other)) > 2 * _STEP
        and float((np.abs(rim - np.float32(paper)) > _STEP).mean()) < 0.1
    )
    return (paper if is_strip or is_outlined else None), spread


def _is_framed(is_opaque: Mask) -> bool:
    """Return whether the border is opaque throughout, and something within is not."""
    ends = (is_opaque[0], is_opaque[-1], is_opaque[:, 0], is_opaque[:, -1])
    return all(end.all() for end in ends) and not is_opaque.all()


def _continued(levels: Intensities, weight: Intensities) -> Intensities:
    """Return `levels` (H, W) with those of no `weight` (H, W) averaged from the nearest others.

    Means of ever larger blocks fill what smaller ones leave open (pull-push: Gortler et al. 1996).
    """
    if levels.size == 1 or bool(weight.all()):
        return levels
    shares = _reduced(weight, 2)
    means = np.asarray(_reduced(levels * weight, 2) / np.maximum(shares, 1e-6), np.float32)
    filled: Any = Image.fromarray(_continued(means, (shares > 0).astype(np.float32)))
    filled = filled.resize(levels.shape[::-1], Image.Resampling.BILINEAR)
    return np.where(weight > 0, levels, np.asarray(filled, np.float32))


def _reduced(values: Intensities, factor: int) -> Intensities:
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    reduced = image.reduce((min(factor, image.width), min(factor, image.height)))
    return np.asarray(reduced, np.float32)
