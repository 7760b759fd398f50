"""Synthetic photos of characters on paper, and the ink of each: the ink segmenter's training data.

A batch is drawn at once: characters of a data set, and a few straight strokes, under random pens
and geometry, on paper under uneven light, with texture, ruled lines, grids, frames, neighbours that
reach in, rubbed-out traces, dirt, and a camera's noise and blur; some as negatives, some blank. All
draws come from torch's global generator.
"""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from penstroke.config.settings import IMAGE_SIZE
from penstroke.preprocessing.segmentation import SIDE, standardize

_GLYPH_BOX = 20
"""Pixels of a data set's 28 that a character fills: MNIST's box."""
_EDGES = ((0.3, -0.45, 0.45, 0.1, 0.65), (0.2, 0.25, 0.5, -0.6, 0.95))
"""Of shadows, and of tables: share of photos, distance from the middle in sides, darkening."""
_STROKES = 4
"""Of a drawn glyph, at most."""
_COORDINATES = torch.arange(SIDE) + 0.5
_DOWN, _ACROSS = torch.meshgrid(_COORDINATES, _COORDINATES, indexing="ij")


class Photos(NamedTuple):
    """A batch of photos; all (B, 1, SIDE, SIDE) float32.

    `images` are standardised as the network reads them; `ink` is the characters' coverage in 0..1;
    `window` is 1 where the photo is, and 0 where its border was repeated to fill the square.
    """

    images: Tensor
    ink: Tensor
    window: Tensor


@dataclass
class _Layout:
    """Where things are in a batch; each (B, 1, 1), in pixels where it is a length.

    `is_close` where the window is to be cropped to the character.
    """

    window_height: Tensor
    window_width: Tensor
    is_close: Tensor
    height: Tensor
    y: Tensor
    x: Tensor
    contrast: Tensor


class _Pen(NamedTuple):
    """How characters are written; each (B, 1, 1)."""

    rotation: Tensor
    slant: Tensor
    aspect: Tensor
    outline: Tensor
    softness: Tensor


def photograph(glyphs: Tensor) -> Photos:
    """Return photos of the first third of `glyphs` (3 B, 28, 28) in 0..1.

    The other two thirds are around them. `glyphs` fill MNIST's box, bright on dark.
    """
    glyphs = glyphs.clone()
    glyphs[::5] = _drawn_glyphs(len(glyphs[::5]))
    characters, beside, cut = glyphs.chunk(3)
    count = len(characters)
    layout = _layout(count)
    pen = _pen(count)
    ink = _written(characters, layout.height, layout.y, layout.x, pen)
    ink = ink * (1 - _chosen(0.06, count))
    grains = (3 * _waves(count, int(torch.randint(6, 33, ())))).sigmoid()
    pressure = 1 - _chosen(0.5, count) * _uniform(count, 0, 0.7) * grains
    second, trace = _second_characters(beside, layout, pen, ink)
    ink = torch.maximum(ink, second)
    dark = torch.maximum(ink * pressure, trace)
    frame = _frame(layout) * _relative_strength(count)
    dark = torch.maximum(dark, frame)
    is_near = F.max_pool2d((ink > 0.3).float().unsqueeze(1), 5, 1, 2).squeeze(1)
    dark = torch.maximum(dark, _neighbours(cut, beside, layout, pen) * (1 - is_near))
    dark = torch.maximum(dark, _specks(count) * (ink <= 0.2))
    lines = _relative_strength(count) * _ruled_lines(layout)
    reflected = 1 + layout.contrast * (_texture(count) - lines - dark)
    grey, window = _cropped(_camera(_light(count) * reflected, layout.contrast), ink, layout)
    grey = torch.where(_chosen(0.3, count) > 0, 1 - grey, grey)
    images = torch.from_numpy(standardize(grey.numpy()))
    return Photos(*(part.unsqueeze(1) for part in (images, ink * window, window)))


def _drawn_glyphs(count: int) -> Tensor:
    """Return straight strokes (count, 28, 28): bars, corners, zigzags, triangles and boxes."""
    points = torch.rand(count, _STROKES + 1, 2)
    # Half of them go down and across by turns.
    turned = points.clone()
    turned[:, 1::2, 1] = points[:, :-1:2, 1]
    turned[:, 2::2, 0] = turned[:, 1:-1:2, 0]
    points = torch.where(_chosen(0.5, count) > 0, turned, points)
    # After the last stroke nothing follows, or the way back to the first point.
    last, number = torch.randint(2, _STROKES + 1, (count, 1)), torch.arange(_STROKES + 1)
    end = torch.where(_chosen(0.35, count)[:, 0] > 0, 0, last)
    chosen = torch.where(number < last, number, end)
    points = points.gather(1, chosen.unsqueeze(2).expand(-1, -1, 2))
    points[:, :, 1] *= torch.where(_chosen(0.5, count) > 0, _uniform(count, 0, 1), 1)[:, 0]
    points = points - (points.amin(dim=1, keepdim=True) + points.amax(dim=1, keepdim=True)) / 2
    extent = 2 * points.abs().amax(dim=(1, 2), keepdim=True)
    points = IMAGE_SIZE / 2 + points * _GLYPH_BOX / extent.clamp(0.05)
    points = points + torch.empty_like(points).uniform_(-0.7, 0.7)
    places = torch.arange(IMAGE_SIZE) + 0.5
    grid = torch.cartesian_prod(places, places)
    half = _log_uniform(count, 0.6, 2)[:, 0]
    ink = torch.zeros(count, IMAGE_SIZE * IMAGE_SIZE)
    for start, stop in itertools.pairwise(points.unbind(dim=1)):
        along, from_start = (stop - start).unsqueeze(1), grid - start.unsqueeze(1)
        share = (from_start * along).sum(dim=2) / (along * along).sum(dim=2).clamp(1e-6)
        distance = (from_start - share.clamp(0, 1).unsqueeze(2) * along).norm(dim=2)
        ink = torch.maximum(ink, (half + 0.5 - distance).clamp(0, 1))
    return ink.reshape(count, IMAGE_SIZE, IMAGE_SIZE)


def _layout(count: int) -> _Layout:
    aspect = torch.exp(_uniform(count, -1.1, 1.1))
    aspect = torch.where(_chosen(0.35, count) > 0, torch.ones_like(aspect), aspect)
    # Even numbers of pixels lie in the middle of the square.
    height = (SIDE / aspect.clamp(1) / 2).round().clamp(9) * 2
    width = (SIDE * aspect.clamp(max=1) / 2).round().clamp(9) * 2
    is_close, is_tight = _chosen(0.3, count), _chosen(0.25, count)
    is_large = torch.maximum(is_close, is_tight) > 0
    share = torch.where(is_large, _uniform(count, 0.8, 1.05), _uniform(count, 0.3, 0.9))
    character = (share * torch.minimum(height, width * 1.35)).clamp(12, SIDE + 2)
    free_y, free_x = ((height - character) / 2).clamp(0), ((width - character * 0.8) / 2).clamp(0)
    return _Layout(
        window_height=height,
        window_width=width,
        is_close=is_close,
        height=character,
        y=SIDE / 2 + _uniform(count, -1, 1) * free_y,
        x=SIDE / 2 + _uniform(count, -1, 1) * free_x,
        contrast=_log_uniform(count, 0.06, 0.85),
    )


def _pen(count: int) -> _Pen:
    softness = _uniform(count, 0.05, 0.25)
    return _Pen(
        rotation=_uniform(count, -0.25, 0.25),
        slant=_uniform(count, -0.3, 0.3),
        aspect=torch.exp(_uniform(count, -0.25, 0.25)),
        outline=torch.maximum(_uniform(count, 0.12, 0.72), softness + 0.02),
        softness=softness,
    )


def _written(glyphs: Tensor, height: Tensor, y: Tensor, x: Tensor, pen: _Pen) -> Tensor:
    """Return the coverage (B, SIDE, SIDE) of glyphs (B, 28, 28) whose box is `height`, about y, x.

    The outline runs where the blurred glyph has the level `pen.outline`: low ones write as with a
    thick pen, high ones as with a thin one that may break.
    """
    zoom = SIDE * _GLYPH_BOX / (height * IMAGE_SIZE)
    cosine, sine = torch.cos(pen.rotation) * zoom, torch.sin(pen.rotation) * zoom
    across = torch.cat([cosine, sine + pen.slant * cosine], dim=2) / pen.aspect
    down = torch.cat([-sine, cosine - pen.slant * sine], dim=2)
    linear = torch.cat([across, down], dim=1)
    center = torch.cat([x, y], dim=1) / (SIDE / 2) - 1
    matrix = torch.cat([linear, -(linear @ center)], dim=2)
    grid = F.affine_grid(matrix, [len(glyphs), 1, SIDE, SIDE], align_corners=False)
    blurred = F.grid_sample(glyphs.unsqueeze(1), grid, mode="bicubic", align_corners=False)
    return ((blurred.squeeze(1) - pen.outline) / (2 * pen.softness) + 0.5).clamp(0, 1)


def _second_characters(
    glyphs: Tensor, layout: _Layout, pen: _Pen, ink: Tensor
) -> tuple[Tensor, Tensor]:
    """Return characters written beside the first ones, and faint traces of others."""
    count = len(glyphs)
    height = layout.height * _uniform(count, 0.8, 1.2)
    away = layout.height * _uniform(count, 0.75, 1.2) * (2 * _chosen(0.5, count) - 1)
    y, x = layout.y + layout.height * _uniform(count, -0.15, 0.15), layout.x + away
    fits = ((x - SIDE / 2).abs() + 0.4 * height < layout.window_width / 2) & (
        (y - SIDE / 2).abs() + height / 2 < layout.window_height / 2
    )
    is_written = _chosen(0.08, count) * fits * ink.amax(dim=(1, 2), keepdim=True).ceil()
    is_trace = _chosen(0.1, count) * (1 - is_written)
    nearer = layout.x + layout.height * _uniform(count, -0.6, 0.6)
    x = torch.where((is_trace > 0) & (_chosen(0.5, count) > 0), nearer, x)
    second = _written(glyphs, height, y, x, pen)
    return second * is_written, second * is_trace * _uniform(count, 0.1, 0.35)


def _neighbours(above: Tensor, beside: Tensor, layout: _Layout, pen: _Pen) -> Tensor:
    """Return parts of other characters that reach into the photo from its four sides."""
    count = len(above)
    dark = torch.zeros(count, SIDE, SIDE)
    for glyphs, share in ((above, 0.2), (beside, 0.14)):
        height = layout.height * _uniform(count, 0.7, 1.3)
        reach = _uniform(count, 0.02, 0.28) * height
        sign = 2 * _chosen(0.5, count) - 1
        from_end = _chosen(0.5, count) > 0
        along = layout.height * _uniform(count, -0.6, 0.6)
        outside_y = SIDE / 2 + sign * (layout.window_height / 2 + height / 2 - reach)
        outside_x = SIDE / 2 + sign * (layout.window_width / 2 + height * 0.35 - reach)
        y = torch.where(from_end, outside_y, layout.y + along / 2)
        x = torch.where(from_end, layout.x + along, outside_x)
        part = _written(glyphs, height, y, x, pen._replace(slant=_uniform(count, -0.3, 0.3)))
        dark = torch.maximum(dark, part * _chosen(share, count) * _uniform(count, 0.4, 1))
    return dark


def _frame(layout: _Layout) -> Tensor:
    """Return frames around characters, or sides of one, beside or through them; in 0..1."""
    count = len(layout.height)
    width = torch.minimum(_log_uniform(count, 0.5, 4), layout.height * 0.12)
    tilt = _uniform(count, -0.06, 0.06) * _chosen(0.5, count)
    is_closed = _chosen(0.6, count) > 0
    down, across = _DOWN - layout.y, _ACROSS - layout.x
    distances = {
        "row": down * torch.cos(tilt) + across * torch.sin(tilt),
        "column": across * torch.cos(tilt) - down * torch.sin(tilt),
    }
    reach = {
        axis: [sign * layout.height * (half + _uniform(count, -0.12, 0.5)) for sign in (-1, 1)]
        for axis, half in (("row", 0.5), ("column", 0.36))
    }
    frame = torch.zeros(count, SIDE, SIDE)
    for axis, other in (("row", "column"), ("column", "row")):
        first, last = reach[other]
        is_between = (distances[other] > first - 1) & (distances[other] < last + 1)
        for place in reach[axis]:
            side = (width / 2 + 0.5 - (distances[axis] - place).abs()).clamp(0, 1)
            side = torch.where(is_closed & ~is_between, 0.0, side)
            frame = torch.maximum(frame, torch.where(is_closed, side, side * _chosen(0.8, count)))
    return frame * _chosen(0.3, count)


def _ruled_lines(layout: _Layout) -> Tensor:
    """Return ruled lines, and some grids, in 0..1."""
    count = len(layout.height)
    period = (_log_uniform(count, 0.1, 1.3) * layout.height).clamp(3.5)
    width = torch.minimum(_log_uniform(count, 0.4, 2.6), layout.height * 0.09)
    width = torch.minimum(width, period / 4)
    tilt = _uniform(count, -0.05, 0.05) * _chosen(0.6, count)
    is_ruled = _chosen(0.3, count)
    lines = torch.zeros(count, SIDE, SIDE)
    for angle, share in ((tilt, torch.ones_like(tilt)), (tilt + math.pi / 2, _chosen(0.45, count))):
        distance = _along(angle) - _uniform(count, 0, SIDE)
        distance = torch.remainder(distance, period)
        distance = torch.minimum(distance, period - distance)
        lines = torch.maximum(lines, (width / 2 + 0.5 - distance).clamp(0, 1) * share)
    return lines * is_ruled


def _light(count: int) -> Tensor:
    """Return paper under light that falls off, some with the edge of a shadow or of a table."""
    y, x = (_DOWN / (SIDE / 2) - 1), (_ACROSS / (SIDE / 2) - 1)
    slope = _uniform(count, -1, 1) * y + _uniform(count, -1, 1) * x
    curve = _uniform(count, -0.7, 0.7) * x * y + _uniform(count, -0.5, 0.5) * (x * x + y * y)
    fall = _uniform(count, 0, 0.3) * _chosen(0.6, count)
    light = (_uniform(count, 0.4, 1) * (1 + (slope + curve) * fall)).clamp(0.05)
    for share, nearest, farthest, least, most in _EDGES:
        angle = _uniform(count, 0, 2 * math.pi)
        # Half of them lie along the sides.
        aligned = (angle / (math.pi / 2)).round() * (math.pi / 2) + _uniform(count, -0.05, 0.05)
        angle = torch.where(_chosen(0.5, count) > 0, aligned, angle)
        middle = SIDE / 2 * (torch.cos(angle) + torch.sin(angle))
        edge = _along(angle) - middle - SIDE * _uniform(count, nearest, farthest)
        shade = (edge / _log_uniform(count, 0.2, 6)).sigmoid() * _uniform(count, least, most)
        light = light * (1 - _chosen(share, count) * shade)
    return light


def _texture(count: int) -> Tensor:
    """Return blotches and fine wavy patterns, in shares of the ink's contrast."""
    cells = int(torch.randint(4, 20, ()))
    blotches = _chosen(0.4, count) * _uniform(count, 0, 0.3) * _waves(count, cells)
    pattern = torch.zeros(count, SIDE, SIDE)
    for _ in range(3):
        angle, period = _uniform(count, 0, math.pi), _uniform(count, 1.8, 6.5)
        bend = _along(angle + math.pi / 2) / _uniform(count, 12, 60)
        bend = torch.sin(2 * math.pi * bend + _uniform(count, 0, 6)) * _uniform(count, 0, 3)
        wave = torch.sin(2 * math.pi * (_along(angle) + bend) / period + _uniform(count, 0, 6))
        pattern = pattern + _chosen(0.5, count) * (wave * _uniform(count, 0.5, 4)).sigmoid()
    return blotches - _chosen(0.45, count) * _uniform(count, 0.03, 0.47) * pattern


def _specks(count: int) -> Tensor:
    dots = (torch.rand(count, 1, SIDE + 1, SIDE + 1) < 0.0015).float()
    dots = F.max_pool2d(dots, 2, 1).squeeze(1)
    return dots * _chosen(0.3, count) * _uniform(count, 0.3, 1)


def _camera(grey: Tensor, contrast: Tensor) -> Tensor:
    """Return `grey` with noise, and three quarters of it at lower resolutions."""
    count = len(grey)
    noise = _chosen(0.7, count) * _uniform(count, 0, 0.12) * contrast
    sharp, *others = (grey + noise * torch.randn(count, SIDE, SIDE)).clamp(-0.3, 1.3).chunk(4)
    seen = [sharp]
    for part in others:
        side = int(SIDE * float(_log_uniform(1, 0.14, 1)))
        small = F.interpolate(part.unsqueeze(1), (side, side), mode="bilinear", antialias=True)
        seen.append(F.interpolate(small, (SIDE, SIDE), mode="bilinear").squeeze(1))
    return torch.cat(seen)


def _cropped(grey: Tensor, ink: Tensor, layout: _Layout) -> tuple[Tensor, Tensor]:
    """Return the photos, all outside of them replaced by their nearest pixel; and the windows.

    Windows that are to be close, and have ink, are cropped to it.
    """
    count = len(grey)
    is_close = (layout.is_close * ink.amax(dim=(1, 2), keepdim=True) > 0.5).reshape(-1, 1)
    places = torch.arange(SIDE)
    nearest, is_inside = [], []
    for axis, side in ((2, layout.window_height), (1, layout.window_width)):
        inked = (ink.amax(dim=axis) > 0.3).int()
        margins = layout.height.reshape(-1, 1) * torch.empty(count, 2).uniform_(-0.02, 0.12)
        first = inked.argmax(dim=1, keepdim=True) - margins[:, :1]
        last = SIDE - 1 - inked.flip(1).argmax(dim=1, keepdim=True) + margins[:, 1:]
        half = side.reshape(-1, 1) / 2
        first = torch.where(is_close, first, SIDE / 2 - half).round().clamp(0, SIDE - 2).long()
        last = torch.where(is_close, last, SIDE / 2 + half - 1).round().long()
        last = torch.maximum(last.clamp(max=SIDE - 1), first + 1)
        nearest.append(torch.minimum(torch.maximum(places, first), last))
        is_inside.append((places >= first) & (places <= last))
    rows, columns = nearest
    window = (is_inside[0].unsqueeze(2) & is_inside[1].unsqueeze(1)).float()
    batch = torch.arange(count).reshape(-1, 1, 1)
    return grey[batch, rows.unsqueeze(2), columns.unsqueeze(1)], window


def _along(angle: Tensor) -> Tensor:
    """Return how far each pixel lies in the direction `angle` (B, 1, 1): 0 is down."""
    return _DOWN * torch.cos(angle) + _ACROSS * torch.sin(angle)


def _waves(count: int, cells: int) -> Tensor:
    """Return smooth noise of `cells` bumps a side."""
    size = (SIDE, SIDE)
    return F.interpolate(torch.randn(count, 1, cells, cells), size, mode="bicubic").squeeze(1)


def _relative_strength(count: int) -> Tensor:
    """Return how dark lines are, in shares of the ink's contrast."""
    return _log_uniform(count, 0.2, 1.3)


def _uniform(count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count, 1, 1)


def _log_uniform(count: int, low: float, high: float) -> Tensor:
    return torch.exp(_uniform(count, math.log(low), math.log(high)))


def _chosen(share: float, count: int) -> Tensor:
    """Return (count, 1, 1) with 1 in `share` of the places, and 0 elsewhere."""
    return (torch.rand(count, 1, 1) < share).float()
