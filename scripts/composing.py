"""Images of written lines whose text is known, composed from images of single characters.

The ink of each character is cut out and laid on paper of its own making, so that where every
character lies is known too. What is drawn at random, and within which limits, `LineStyle` says.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import ndimage

from penstroke.preprocessing.decoding import read_grey
from penstroke.preprocessing.ink import find_ink

Ink = npt.NDArray[np.float32]
Pool = Mapping[str, Sequence[Ink]]
Box = tuple[float, float, float, float]
_MARGIN = 0.7
"""Blank paper around a line, in heights of a character."""
_NESTING = 0.1


@dataclass(frozen=True)
class LineStyle:
    """Within which limits a line is written; lengths in pixels, or in heights of a character."""

    heights: tuple[int, int] = (26, 44)
    height_spread: float = 0.15
    baseline_spread: float = 0.08
    shear_degrees: tuple[float, float] = (-15.0, 25.0)
    slope_degrees: float = 1.5
    touching: float = 0.05
    """Share of gaps where neighbours overlap by 1 to 3 pixels."""
    narrow: float = 0.2
    """Share of gaps of 0.06 to 0.15 heights, measured between ink along the rows."""
    wide: float = 0.1
    """Share of gaps of 0.9 to 1.6 heights: a space. All others are 0.15 to 0.45 heights."""
    specks: tuple[int, int] = (0, 8)
    """How many dark dots of 1 to 3 pixels a line."""


@dataclass(frozen=True)
class Composed:
    """An image (H, W) uint8, its lines of text, and by line the box of each character's ink.

    `touching` holds, by line, whether a character's ink touches what was written before it, and
    `inks` the ink of each character alone.
    """

    image: npt.NDArray[np.uint8]
    text: tuple[str, ...]
    boxes: tuple[tuple[Box, ...], ...]
    touching: tuple[tuple[bool, ...], ...]
    inks: tuple[tuple[Ink, ...], ...]


@dataclass(frozen=True)
class _Line:
    ink: Ink
    text: str
    boxes: tuple[Box, ...]
    touching: tuple[bool, ...]
    inks: tuple[Ink, ...]


def photo_pool(archive: Path, prefix: str = "digit_", each: int | None = None) -> Pool:
    """Return the ink of images in a zip of folders a class, by what follows `prefix`.

    Of each class all, or the first `each`.
    """
    pool: dict[str, list[Ink]] = {}
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(n for n in opened.namelist() if n.startswith(prefix)):
            folder, _, file = name.partition("/")
            inks = pool.setdefault(folder.removeprefix(prefix), [])
            if file.endswith(".png") and len(inks) != each:
                inks.append(_cut_out(find_ink(read_grey(opened.read(name)))))
    return pool


def drawn_pool(images: npt.NDArray[np.uint8], labels: Sequence[str]) -> Pool:
    """Return the ink of (N, 28, 28) images, bright on dark, by their labels."""
    pool: dict[str, list[Ink]] = {}
    for image, label in zip(images, labels, strict=True):
        pool.setdefault(label, []).append(cropped(image.astype(np.float32) / 255))
    return pool


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    both = max(across, 0) * max(down, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both)


def compose_line(
    pool: Pool, seed: int, style: LineStyle = LineStyle(), length: int | None = None
) -> Composed:
    """Return one line of 3 to 12 characters on paper with a gradient of light, noise and specks."""
    random = np.random.default_rng(seed)
    line = _write(pool, style, random, length or int(random.integers(3, 13)))
    light = _gradient(line.ink.shape, float(random.uniform(0.0, 0.3)), random)
    image = _photographed(line.ink, light, random, blur=float(random.uniform(0, 0.6)))
    return Composed(image, (line.text,), (line.boxes,), (line.touching,), (line.inks,))


def compose_page(
    pool: Pool, seed: int, style: LineStyle = LineStyle(), lines: int = 10
) -> Composed:
    """Return a page as photographed by hand: falling light, a shadow, perspective, blur, noise."""
    random = np.random.default_rng(seed)
    size = int(random.integers(*style.heights))
    slant = float(random.uniform(*style.shear_degrees))
    one = LineStyle(heights=(size, size + 1), shear_degrees=(slant - 3, slant + 3),
               slope_degrees=0.5, specks=style.specks)  # fmt: skip
    written = [_write(pool, one, random, int(random.integers(6, 13))) for _ in range(lines)]
    ink, tops = _stacked([line.ink for line in written], size)
    corners = _corners_of_a_photo(ink.shape, random)
    forward = _homography(corners)
    photographed = _warped(ink, np.linalg.inv(forward))
    light = _gradient(ink.shape, 0.45, random) * _shadow(ink.shape, random)
    boxes = tuple(
        tuple(_mapped((b[0], b[1] + top, b[2], b[3] + top), forward) for b in line.boxes)
        for line, top in zip(written, tops, strict=True)
    )
    return Composed(
        _photographed(photographed, light, random, blur=0.8),
        tuple(line.text for line in written), boxes, tuple(line.touching for line in written),
        tuple(line.inks for line in written),
    )  # fmt: skip


def _write(pool: Pool, style: LineStyle, random: np.random.Generator, length: int) -> _Line:
    """Set characters one after another, each as near to the last as its gap says."""
    size = int(random.integers(*style.heights))
    shear = float(np.tan(np.radians(random.uniform(*style.shear_degrees))))
    slope = float(np.tan(np.radians(random.uniform(-style.slope_degrees, style.slope_degrees))))
    margin = round(_MARGIN * size)
    canvas = np.zeros((3 * size + 2 * margin, (length + 2) * 4 * size), np.float32)
    text = ""
    boxes: list[Box] = []
    touching: list[bool] = []
    inks: list[Ink] = []
    right, base = margin, margin + 2 * size
    for _ in range(length):
        label = str(random.choice(sorted(pool)))
        height = size * random.uniform(1 - style.height_spread, 1 + style.height_spread)
        ink = _scaled(pool[label][int(random.integers(len(pool[label])))], height, shear)
        is_wide, gap = _gap(style, size, random)
        top = round(base + slope * right + random.uniform(-1, 1) * style.baseline_spread * size)
        top -= ink.shape[0]
        last = boxes[-1] if boxes else None
        left = _set_beside(canvas, ink, top, gap, last, shear) if last else margin
        region = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
        touching.append(bool(((region > 0.4) & ndimage.binary_dilation(ink > 0.4)).any()))
        np.maximum(region, ink, out=region)
        box = _ink_box(ink)
        boxes.append((left + box[0], top + box[1], left + box[2], top + box[3]))
        inks.append(ink)
        right = left + ink.shape[1]
        text += (" " if is_wide and last else "") + label
    _sprinkle(canvas, int(random.integers(style.specks[0], style.specks[1] + 1)), right, random)
    return _trimmed(_Line(canvas, text, tuple(boxes), tuple(touching), tuple(inks)), margin)


def _gap(style: LineStyle, size: int, random: np.random.Generator) -> tuple[bool, int]:
    """Return whether a space follows, and the gap in pixels."""
    draw = random.random()
    if draw < style.touching:
        return False, -int(random.integers(1, 4))
    if draw < style.touching + style.narrow:
        return False, max(2, round(size * random.uniform(0.06, 0.15)))
    if draw < style.touching + style.narrow + style.wide:
        return True, round(size * random.uniform(0.9, 1.6))
    return False, round(size * random.uniform(0.15, 0.45))


def _set_beside(canvas: Ink, ink: Ink, top: int, gap: int, last: Box, shear: float) -> int:
    """Return where `ink` begins to keep `gap` from the ink before it.

    The gap is measured along rows, from ink to ink; but no character reaches further over the one
    before, seen along the slant, than `_NESTING` of its height: a 4 does not crawl under a 7.
    """
    reach = 2  # neighbouring rows count too: a diagonal gap is no wider than it looks
    rows = slice(top - reach, top + ink.shape[0] + reach)
    before = ndimage.maximum_filter1d(canvas[rows] > 0.4, 2 * reach + 1, axis=0)[reach:-reach]
    ends = np.where(before.any(1), before.shape[1] - before[:, ::-1].argmax(1), -canvas.shape[1])
    dark = ink > 0.4
    starts = np.where(dark.any(1), dark.argmax(1), canvas.shape[1])
    beside = int(np.max(ends - starts)) + gap
    down, across = np.nonzero(canvas[:, int(last[0]) : int(last[2])] > 0.4)
    end = float((across + int(last[0]) + shear * down).max())
    down, across = np.nonzero(dark)
    start = float((across + shear * (top + down)).min())
    nested: float = end - start - _NESTING * ink.shape[0] + gap
    return max(beside, round(nested))


def _scaled(ink: Ink, height: float, shear: float) -> Ink:
    """Return `ink` brought to `height`, leaning to the right by `shear` (tangent)."""
    scale = min(height / ink.shape[0], 1.3 * height / ink.shape[1])
    rows, columns = round(ink.shape[0] * scale), round(ink.shape[1] * scale)
    lean = abs(shear) * rows
    size = (columns + int(np.ceil(lean)) + 4, rows + 4)
    offset = -(shear * rows if shear > 0 else 0) / scale
    matrix = (1 / scale, shear / scale, offset - 2 / scale, 0, 1 / scale, -2 / scale)
    image = Image.fromarray(np.ascontiguousarray(ink))
    leaning = image.transform(
        size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=0
    )
    return cropped(np.asarray(leaning, np.float32).clip(0, 1))


def _cut_out(ink: Ink) -> Ink:
    """Return the character alone: neighbours' ends at the border and dust are left out."""
    labels, count = ndimage.label(ink > 0, np.ones((3, 3)))
    masses = ndimage.sum_labels(ink, labels, range(1, count + 1))
    border = {*labels[0], *labels[-1], *labels[:, 0], *labels[:, -1]}
    kept = [
        number
        for number in range(1, count + 1)
        if masses[number - 1] == masses.max()
        or (number not in border and masses[number - 1] > 0.08 * masses.max())
    ]
    return cropped(np.where(np.isin(labels, kept), ink, 0).astype(np.float32))


def cropped(ink: Ink) -> Ink:
    """Return the box around what is clearly ink."""
    left, top, right, bottom = _ink_box(ink)
    return ink[top:bottom, left:right]


def _ink_box(ink: Ink) -> tuple[int, int, int, int]:
    rows = np.flatnonzero((ink > 0.2).any(1))
    columns = np.flatnonzero((ink > 0.2).any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _sprinkle(canvas: Ink, count: int, right: int, random: np.random.Generator) -> None:
    for _ in range(count):
        height, width = random.integers(1, 4, 2)
        top = int(random.integers(0, canvas.shape[0] - 3))
        left = int(random.integers(0, right))
        region = canvas[top : top + height, left : left + width]
        np.maximum(region, np.float32(random.uniform(0.3, 1.0)), out=region)


def _trimmed(line: _Line, margin: int) -> _Line:
    top = max(0, int(min(box[1] for box in line.boxes)) - margin)
    bottom = int(max(box[3] for box in line.boxes)) + margin
    right = int(max(box[2] for box in line.boxes)) + margin
    boxes = tuple((b[0], b[1] - top, b[2], b[3] - top) for b in line.boxes)
    return _Line(line.ink[top:bottom, :right], line.text, boxes, line.touching, line.inks)


def _stacked(lines: Sequence[Ink], size: int) -> tuple[Ink, list[int]]:
    """Return lines below one another with half a height between, and where each begins."""
    width = max(line.shape[1] for line in lines) + 4 * size
    tops, height = [], 2 * size
    for line in lines:
        tops.append(height)
        height += line.shape[0] - size // 2
    page = np.zeros((height + 3 * size, width), np.float32)
    for line, top in zip(lines, tops, strict=True):
        region = page[top : top + line.shape[0], : line.shape[1]]
        np.maximum(region, line, out=region)
    return page, tops


def _photographed(
    ink: Ink, light: Ink, random: np.random.Generator, blur: float
) -> npt.NDArray[np.uint8]:
    """Return what a camera makes of `ink` on grey paper under `light`, as uint8."""
    depth = random.uniform(0.4, 0.7)
    paper = random.uniform(0.65, 0.95)
    grey = paper * light * (1 - depth * ink)
    image = Image.fromarray(np.rint(grey * 255).clip(0, 255).astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), np.float32)
    noisy = soft + random.normal(0, random.uniform(1, 4), soft.shape)
    return np.rint(noisy).clip(0, 255).astype(np.uint8)


def _gradient(shape: tuple[int, ...], fall: float, random: np.random.Generator) -> Ink:
    """Return light that falls by `fall` from one end of the image to the other."""
    angle = random.uniform(0, 2 * np.pi)
    down, across = np.meshgrid(*(np.linspace(-0.5, 0.5, n) for n in shape), indexing="ij")
    along = np.cos(angle) * across + np.sin(angle) * down
    return np.asarray(
        1 - fall * (along - along.min()) / max(float(np.ptp(along)), 1e-6), np.float32
    )


def _shadow(shape: tuple[int, ...], random: np.random.Generator) -> Ink:
    """Return the soft edge of a shadow that takes a quarter of the light."""
    down, across = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    edge = random.uniform(0.3, 0.7) + random.uniform(-0.3, 0.3) * down
    return np.asarray(1 - 0.25 / (1 + np.exp(-(across - edge) / 0.05)), np.float32)


def _corners_of_a_photo(
    shape: tuple[int, ...], random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the page's corners, and where they lie when turned (2°) and moved (1.5 %)."""
    height, width = shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    angle = np.radians(random.uniform(-2, 2))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = corners.mean(0)
    moved = (corners - middle) @ turn + middle
    return np.stack([corners, moved + random.uniform(-0.015, 0.015, (4, 2)) * (width, height)])


def _homography(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the 3×3 matrix that takes four points to four others (direct linear transform)."""
    rows = []
    for (x, y), (u, v) in zip(*corners, strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
    solved = np.linalg.solve(np.array(rows), corners[1].ravel())
    return np.append(solved, 1).reshape(3, 3)


def _warped(ink: Ink, backward: npt.NDArray[np.floating]) -> Ink:
    coefficients = tuple((backward / backward[2, 2]).ravel()[:8])
    image = Image.fromarray(np.ascontiguousarray(ink))
    warped = image.transform(
        image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC, fillcolor=0
    )
    return np.asarray(warped, np.float32).clip(0, 1)


def _mapped(box: Box, forward: npt.NDArray[np.float64]) -> Box:
    left, top, right, bottom = box
    points = np.array([(x, y, 1) for x in (left, right) for y in (top, bottom)]) @ forward.T
    flat = points[:, :2] / points[:, 2:]
    (x, y), (across, down) = flat.min(0), flat.max(0)
    return float(x), float(y), float(across), float(down)
