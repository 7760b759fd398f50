"""Whether some ink of a line is one whole character: a small network that sees it in its place.

A reader of characters is sure of scraps and of pairs too: half a 0 is a fine 1. The judge knows no
classes. It sees the ink and, beside it, all ink around; it was taught on composed lines of digits
and letters, cut in every way that `penstroke.inference.segments` offers (scripts/teach_lines.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.inference.segments import Piece, TextLine, overlaid

SIZE = (24, 32)
"""Rows and columns of what the judge sees."""
_ROWS, _COLUMNS = 1.5, 2.0
"""How much of the line that is, in heights of a character."""


def views(line: TextLine, groups: Sequence[Sequence[Piece]]) -> npt.NDArray[np.uint8]:
    """Return what the judge sees of each of `groups` of pieces: (B, 2, 24, 32) uint8.

    The first channel holds their own ink, the second all ink of the line; their middle is the
    middle.
    """
    box, ink = overlaid([(piece.box, piece.ink) for piece in line.pieces])
    height, width = round(_ROWS * line.height), round(_COLUMNS * line.height)
    padded = np.pad(ink, ((height, height), (width, width)))
    alone = np.zeros_like(padded)
    seen = np.empty((len(groups), 2, *SIZE), np.uint8)
    for number, pieces in enumerate(groups):
        own, part = overlaid([(piece.box, piece.ink) for piece in pieces])
        top, left = own.top - box.top + height, own.left - box.left + width
        here = np.s_[top : top + own.height, left : left + own.width]
        alone[here] = part
        top += (own.height - height) // 2
        left += (own.width - width) // 2
        window = np.s_[top : top + height, left : left + width]
        seen[number] = _scaled(alone[window]), _scaled(padded[window])
        alone[here] = 0
    return seen


def _scaled(ink: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(np.rint(ink * 255).astype(np.uint8))
    return np.asarray(image.resize(SIZE[::-1], Image.Resampling.BOX))


def log_odds(seen: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return for each of `seen` (B, 2, 24, 32) how much speaks for one whole character."""
    (answers,) = _session().run(["log_odds"], {"views": seen})
    return np.asarray(answers, np.float64)


@cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # it is done before other threads have begun
    content = (files("penstroke.inference") / "character_scorer.onnx").read_bytes()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
