"""How likely some ink of a line is one whole character: a small network that sees it in its place.

A recogniser of characters is confident about scraps and pairs too: half a 0 is a fine 1. The scorer
knows no classes. It sees the ink and, beside it, all ink around; it was trained on composed lines
of digits and letters, split in every way that `penstroke.inference.segments` offers
(scripts/train_line_reader.py).
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.inference.onnx_session import open_session
from penstroke.inference.segments import Segment, TextLine, united

SIZE = (24, 32)
"""Rows and columns of what the scorer sees."""
_ROWS, _COLUMNS = 1.5, 2.0
"""How much of the line that is, in heights of a character."""


def scorer_inputs(line: TextLine, groups: Sequence[Sequence[Segment]]) -> npt.NDArray[np.uint8]:
    """Return what the scorer sees of each of `groups` of segments: (B, 2, 24, 32) uint8.

    The first channel holds the ink of the group alone, the second all ink of the line; the group's
    middle is the middle.
    """
    whole = united(line.segments)
    height, width = round(_ROWS * line.height), round(_COLUMNS * line.height)
    padded = np.pad(whole.ink, ((height, height), (width, width)))
    alone = np.zeros_like(padded)
    inputs = np.empty((len(groups), 2, *SIZE), np.uint8)
    for number, segments in enumerate(groups):
        group = united(segments)
        box = group.box
        top, left = box.top - whole.box.top + height, box.left - whole.box.left + width
        region = np.s_[top : top + box.height, left : left + box.width]
        alone[region] = group.ink
        top += (box.height - height) // 2
        left += (box.width - width) // 2
        window = np.s_[top : top + height, left : left + width]
        inputs[number] = _scaled(alone[window]), _scaled(padded[window])
        alone[region] = 0
    return inputs


def log_odds(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return for each of `inputs` (B, 2, 24, 32) the log odds that it is one whole character."""
    (odds,) = _session().run(["log_odds"], {"views": inputs})
    return np.asarray(odds, np.float64)


def _scaled(ink: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(np.rint(ink * 255).astype(np.uint8))
    return np.asarray(image.resize(SIZE[::-1], Image.Resampling.BOX))


@cache
def _session() -> Any:
    content = (files("penstroke.inference") / "character_scorer.onnx").read_bytes()
    return open_session(content, "character_scorer.onnx", threads=1)  # more would start too late
