"""How much ink is in the boxes of a page, and which of them are marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from penstroke.forms.answers import MARK_SEPARATOR, SIGNED
from penstroke.forms.boxed_text import Texts
from penstroke.forms.cells import PAPER, Cell
from penstroke.forms.description import Area
from penstroke.forms.registration import PIXELS_PER_MM

_LEAST_DEPTH, _USUAL_DEPTH = 60, 120
"""Grey levels that a pen is darker than paper: at least, and where nothing is written."""
_INKED = 0.4
"""Of the depth of the ink of a page: from here on a pixel is ink."""
_CHARACTER, _MARK, _SIGNATURE = 0.009, 0.035, 0.004
"""Of the area of a box: with so much ink it is as likely empty as not."""
_STEEPNESS = 6.0
_HEAVY = 0.5
"""Of a box: a mark with so much ink is filled, or crossed out."""
_HEAVIER = 1.8
"""Times as much ink as the other mark: crossed out, where that is no filled box."""
_DOUBTFUL = 0.5


def ink_depth(cells: Iterable[Cell]) -> float:
    """Return by how many grey levels the ink in `cells` is darker than paper, typically."""
    depths = [PAPER - float(np.percentile(cell.image, 1)) for cell in cells if cell.image.size]
    written = [depth for depth in depths if depth > _LEAST_DEPTH]
    return float(np.median(written)) if written else float(_USUAL_DEPTH)


def coverage(cell: Cell, box: Area, depth: float) -> float:
    """Return how much ink there is, as a share of the area of `box`; single pixels do not count."""
    if not cell.image.size:
        return 0.0
    smooth = cv2.medianBlur(np.ascontiguousarray(cell.image), 3)
    inked = np.count_nonzero(smooth < PAPER - _INKED * depth)
    return inked / (box.width * box.height * PIXELS_PER_MM**2)


def empty_probability(share: float) -> float:
    """Return the probability that no character is written in a box with this `coverage`."""
    return 1 - _written(share, _CHARACTER)


def signature(share: float) -> Texts:
    """Return whether there is a signature ("signed") in a field with this `coverage`."""
    written = _written(share, _SIGNATURE)
    return sorted([(SIGNED, written), ("", 1 - written)], key=lambda pair: -pair[1])


def marks(shares: Mapping[str, float], *, several: bool) -> tuple[Texts, list[float]]:
    """Return which options are marked, and the probability that each is.

    `shares` are the coverages of their boxes, less what is printed there. Of two marks where one
    is allowed, the plainer one counts, as the other may be crossed out; either way it is doubtful.
    """
    each = {option: _written(share, _MARK) for option, share in shares.items()}
    marked = [option for option, p in each.items() if p > 0.5]
    sure = float(np.prod([max(p, 1 - p) for p in each.values()]))
    if several or len(marked) < 2:
        heavy = [option for option in marked if _is_crossed_out(option, marked, shares)]
        texts = [(MARK_SEPARATOR.join(marked), min(sure, _DOUBTFUL) if heavy else sure)]
        doubtful = heavy or [min(each, key=lambda option: abs(each[option] - 0.5))]
        flipped = [one for one in each if (one in marked) != (one in doubtful)]
        if several or len(flipped) < 2:
            texts.append((MARK_SEPARATOR.join(flipped), 1 - texts[0][1]))
        return texts, [*each.values()]
    plain = sorted(marked, key=lambda option: shares[option])
    return [(option, _DOUBTFUL / (1 + rank)) for rank, option in enumerate(plain)], [*each.values()]


def _is_crossed_out(option: str, marked: Sequence[str], shares: Mapping[str, float]) -> bool:
    others = [shares[other] for other in marked if other != option]
    return bool(others) and shares[option] > max(_HEAVY, _HEAVIER * float(np.median(others)))


def _written(share: float, even: float) -> float:
    return float(1 / (1 + (even / max(share, 1e-4)) ** _STEEPNESS))
