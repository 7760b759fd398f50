"""Which pixels of a photo are a character's ink: a small network tells where no threshold could.

`models.ink_segmenter` has the network, `training.synthetic_paper` what it was trained on, and
`make models` repeats it.
"""

import functools
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.preprocessing.decoding import Intensities, median

SIDE = 64
"""Pixels a side of what the network reads."""
_ZOOM = 0.6
"""Of the longer side: a smaller character is looked at again, from closer."""
_MARGIN = 0.3
"""Of the character's longer side: paper around it at the second look."""
_FAINTEST = 0.25
"""Less ink is paper; half of it is where the outline runs."""


class Segmented(NamedTuple):
    """Ink in 0..1, at most `SIDE` pixels a side, and the `part` of the image that it shows."""

    ink: Intensities
    part: tuple[slice, slice]


def segment(grey: Intensities) -> Segmented:
    """Return the ink of the character in `grey` (H, W); all zero where there is none.

    It is that of the whole image, or of the part around a small character, which is looked at
    again from closer.
    """
    ink, part = _read(grey), (slice(0, grey.shape[0]), slice(0, grey.shape[1]))
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    if len(rows):
        extent = 1 + max(rows[-1] - rows[0], columns[-1] - columns[0])
        if extent < _ZOOM * SIDE:
            margin, scale = _MARGIN * extent, max(grey.shape) / SIDE
            top, left = (max(0, int((side[0] - margin) * scale)) for side in (rows, columns))
            bottom, right = (int((side[-1] + 1 + margin) * scale) + 1 for side in (rows, columns))
            closer = _read(grey[top:bottom, left:right])
            if (closer > 0.5).any():
                ink, part = closer, (slice(top, bottom), slice(left, right))
    return Segmented(np.where(ink < _FAINTEST, np.float32(0), ink), part)


def standardize(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return `grey` (…, H, W), less its median, in standard deviations: as the network reads it.

    The hundredth that is added keeps the noise of blank paper small.
    """
    level = grey - median(grey.reshape(*grey.shape[:-2], -1))[..., None, None]
    spread = level.std(axis=(-2, -1), keepdims=True) + np.float32(0.01)
    return np.asarray((level / spread).clip(-6, 6), np.float32)


def _read(grey: Intensities) -> Intensities:
    """Return the ink of `grey` (H, W), scaled to a longer side of `SIDE`."""
    scale = SIDE / max(grey.shape)
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    image = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    around = ((top, SIDE - height - top), (left, SIDE - width - left))
    field = standardize(np.pad(small, around, mode="edge"))[None, None]
    ink = _session().run(["ink"], {"photos": field})[0][0, 0]
    return np.asarray(ink[top : top + height, left : left + width], np.float32)


@functools.cache
def _session() -> Any:
    """Return the network, opened once by each process that comes upon a difficult photo."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The same sums, whatever the number of cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = resources.files(__package__).joinpath("ink_segmenter.onnx").read_bytes()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
