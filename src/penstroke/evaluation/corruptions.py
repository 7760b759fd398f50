"""Sixteen corruptions of images that a person still reads.

After MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337): where its published code names a strength, it is
used here with its severity of 1 to 5; the draws, and so the figures, are not theirs. Thicker and
thinner strokes, here by a pixel, are after Morpho-MNIST (Castro et al. 2019, arXiv:1809.10780).
"""

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.dataset import Images

Levels = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_BATCH = 1000
_MIDDLE = (IMAGE_SIZE - 1) / 2
_ROWS, _COLUMNS = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE].astype(np.float32)
_CROSS = ndimage.generate_binary_structure(2, 1)[np.newaxis]
"""(1, 3, 3): a pixel and its four neighbours, in the same image."""
_SQUARE = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))]).astype(bool)
"""(3, 3, 3): a pixel and its eight neighbours, in the same image."""


def corrupt(images: Images, name: str, seed: int = 0) -> Images:
    """Return `images` (N, 28, 28) uint8 under the corruption `name`, in the same shape.

    Each corruption has its own random generator, so that adding one leaves the others unchanged.
    Works on 1,000 images at a time: as floats they take four times the memory.
    """
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    corrupted = np.empty_like(images)
    for start in range(0, len(images), _BATCH):
        batch = slice(start, start + _BATCH)
        corrupted[batch] = CORRUPTIONS[name](images[batch], random)
    return corrupted


def shot_noise(images: Images, random: np.random.Generator) -> Images:
    """Too little light: full ink is 3 photons, Poisson distributed (MNIST-C, severity 5)."""
    photons = 3
    return _pixels(random.poisson(_levels(images) * photons) / photons)


def impulse_noise(images: Images, random: np.random.Generator) -> Images:
    """Dead pixels: 17 % of them, black or white with equal chance (MNIST-C, severity 4)."""
    share = 0.17
    draw = random.random(images.shape, np.float32)
    return np.where(draw < share, np.where(draw < share / 2, 0, 255), images).astype(np.uint8)


def blur(images: Images, random: np.random.Generator) -> Images:
    """Out of focus: a Gaussian of 2 pixels (MNIST-C's gaussian_blur, severity 2)."""
    return _pixels(ndimage.gaussian_filter(_levels(images), (0, 2, 2)))


def shear(images: Images, random: np.random.Generator) -> Images:
    """Leaning by 0.4 columns a row, to either side (MNIST-C, severity 2)."""
    slant = random.choice([-0.4, 0.4], len(images))
    return _warp(images, np.array([[1, 0], [0, 1]]) + slant[:, None, None] * [[0, 0], [1, 0]])


def scale(images: Images, random: np.random.Generator) -> Images:
    """Written small: 0.7 times the size (MNIST-C, severity 3)."""
    return _warp(images, np.tile(np.eye(2) / 0.7, (len(images), 1, 1)))


def rotation(images: Images, random: np.random.Generator) -> Images:
    """Turned by 0.4 radians, 23 degrees, to either side (MNIST-C, severity 2)."""
    angle = random.choice([-0.4, 0.4], len(images))
    cosine, sine = np.cos(angle), np.sin(angle)
    return _warp(images, np.array([[cosine, -sine], [sine, cosine]]).transpose(2, 0, 1))


def translation(images: Images, random: np.random.Generator) -> Images:
    """Off centre by 3 pixels, both ways (MNIST-C, severity 3)."""
    shift = random.choice([-3, 3], (len(images), 2))
    return _warp(images, np.tile(np.eye(2), (len(images), 1, 1)), shift)


def brightness(images: Images, random: np.random.Generator) -> Images:
    """Half of full ink added everywhere: grey ground (MNIST-C, severity 5)."""
    return _pixels(_levels(images) + 0.5)


def stripe(images: Images, random: np.random.Generator) -> Images:
    """The left and the right quarter turned to negative (MNIST-C, which has one severity)."""
    is_inner = np.abs(_COLUMNS - _MIDDLE) < IMAGE_SIZE / 4
    return np.where(is_inner, images, 255 - images)


def fog(images: Images, random: np.random.Generator) -> Images:
    """Clouds, twice as strong as ink, over ink a third as strong (MNIST-C, severity 2)."""
    density = 2.0
    # Noise summed over grids, each finer one half as strong, and stretched to 0..1.
    clouds = np.zeros(images.shape, np.float32)
    for octave, side in enumerate((2, 4, 7, 14)):
        coarse = random.random((len(images), side, side), np.float32)
        finer = IMAGE_SIZE / side
        clouds += ndimage.zoom(coarse, (1, finer, finer), order=1) / 2**octave
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    clouds /= clouds.max(axis=(1, 2), keepdims=True)
    return _pixels((_levels(images) + density * clouds) / (1 + density))


def spatter(images: Images, random: np.random.Generator) -> Images:
    """Grey drops that cover the ink (MNIST-C, severity 4, with its six numbers)."""
    wet = ndimage.gaussian_filter(random.normal(0.65, 0.3, images.shape), (0, 1, 1)) > 0.65
    cover = ndimage.gaussian_filter(wet.astype(np.float32), (0, 1.5, 1.5))
    cover[cover < 0.8] = 0
    return _pixels(_levels(images) * (1 - cover) + cover * 63 / 255)


def dotted_line(images: Images, random: np.random.Generator) -> Images:
    """A line from edge to edge at any slant, two columns on and two off (MNIST-C's)."""
    left, right = random.uniform(0, IMAGE_SIZE - 1, (2, len(images), 1, 1))
    drawn = _pen(left + (right - left) * _COLUMNS / (IMAGE_SIZE - 1))
    return _pixels(_levels(images) + drawn * (_COLUMNS % 4 >= 2))


def zigzag(images: Images, random: np.random.Generator) -> Images:
    """A zigzag line, 2 pixels up and down every 4 columns, slightly slanting (MNIST-C's)."""
    start = random.uniform(0, IMAGE_SIZE - 1, (len(images), 1, 1))
    rise = random.uniform(-5, 5, (len(images), 1, 1))
    first, last = 2, 25
    along = _COLUMNS - first
    zigzagging = np.abs((along + 2) % 8 - 4) - 2
    drawn = _pen(start + rise * along / (last - first) + zigzagging)
    return _pixels(_levels(images) + drawn * ((first <= _COLUMNS) & (last >= _COLUMNS)))


def edges(images: Images, random: np.random.Generator) -> Images:
    """Outlines alone: Canny's edges (1986), blur 1, thresholds 0.1 and 0.2 (MNIST-C's)."""
    smooth = ndimage.gaussian_filter(_levels(images), (0, 1, 1))
    down, across = _sobel(smooth, axis=1), _sobel(smooth, axis=2)
    steepness = np.hypot(down, across)
    # Ridges: where a slope is steepest along its own direction, of four.
    direction = np.rint(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(steepness, ((0, 0), (1, 1), (1, 1)))
    is_ridge = np.zeros(steepness.shape, bool)
    for index, step in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        before = np.roll(padded, step, (1, 2))[:, 1:-1, 1:-1]
        after = np.roll(padded, np.negative(step), (1, 2))[:, 1:-1, 1:-1]
        # Of two equal neighbours one is taken.
        is_ridge |= (direction == index) & (steepness > after) & (steepness >= before)
    parts, count = ndimage.label(is_ridge & (steepness > 0.1), structure=_SQUARE)
    is_kept = np.zeros(count + 1, bool)
    is_kept[parts[is_ridge & (steepness > 0.2)]] = True
    return np.where(is_kept[parts], 255, 0).astype(np.uint8)


def thick_strokes(images: Images, random: np.random.Generator) -> Images:
    """A broad pen: a pixel more all round (chosen by eye: two close many loops)."""
    return np.asarray(ndimage.grey_dilation(images, footprint=_CROSS))


def thin_strokes(images: Images, random: np.random.Generator) -> Images:
    """A fine pen: a pixel less all round, except where nothing would be left.

    One step of the morphological skeleton (Lantuéjoul 1978): what is eroded, and what an opening
    loses. Erosion alone breaks the strokes that are fine already.
    """
    eroded = ndimage.grey_erosion(images, footprint=_CROSS)
    opened = ndimage.grey_dilation(eroded, footprint=_CROSS)
    return np.asarray(eroded + (images - opened))


CORRUPTIONS: dict[str, Callable[[Images, np.random.Generator], Images]] = {
    function.__name__: function
    for function in (
        shot_noise, impulse_noise, blur, shear, scale, rotation, brightness, translation, stripe,
        fog, spatter, dotted_line, zigzag, edges, thick_strokes, thin_strokes,
    )
}  # fmt: skip
"""All corruptions, by name."""


def _levels(images: Images) -> Levels:
    """Return ink in 0..1."""
    return images.astype(np.float32) / np.float32(255)


def _pixels(levels: npt.NDArray[np.floating]) -> Images:
    """Return levels in 0..1 as uint8; others are clipped."""
    return np.asarray(np.rint(levels.clip(0, 1) * 255), np.uint8)


def _warp(images: Images, matrices: Floats, shift: Floats | None = None) -> Images:
    """Sample each image bilinearly where its matrix (N, 2, 2) maps the position of a pixel.

    Positions are (row, column) from the middle; `shift` (N, 2) is in pixels.
    """
    places = np.stack([_ROWS, _COLUMNS]) - _MIDDLE
    sources = np.einsum("nij,jrc->nirc", matrices, places) + _MIDDLE
    if shift is not None:
        sources += shift[:, :, None, None]
    which = np.broadcast_to(np.arange(len(images))[:, None, None], images.shape)
    coordinates = np.stack([which, sources[:, 0], sources[:, 1]])
    return _pixels(ndimage.map_coordinates(_levels(images), coordinates, order=1))


def _pen(heights: npt.NDArray[np.floating]) -> Levels:
    """Return (N, 28, 28) in 0..1: a line at `heights` (N, …, 28) of each column, fading to 2.3 px.

    The profile is MNIST-C's, 1 + log(1 - d / 2.3) at a distance of d rows.
    """
    distance = np.minimum(np.abs(_ROWS - heights), 2.29)
    return np.asarray((1 + np.log(1 - distance / 2.3)).clip(0, 1), np.float32)


def _sobel(levels: Levels, axis: int) -> Levels:
    """Return the slope of (N, 28, 28) along `axis`; scipy's would smooth across images too."""
    slope = ndimage.correlate1d(levels, [-1, 0, 1], axis=axis)
    return np.asarray(ndimage.correlate1d(slope, [1, 2, 1], axis=3 - axis))
