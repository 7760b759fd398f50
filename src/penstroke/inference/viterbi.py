"""The ways through a line of pieces, and which of them explains it best.

A way takes each piece in turn: into a character, with its neighbours or alone, or as dirt to be
skipped. What speaks for a step is a sum of evidence times weights, so that all ways together are a
semi-Markov random field (Sarawagi and Cohen 2004): its best way is found by dynamic programming,
and how probable a step is, by the forward-backward algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.inference.segments import Piece, TextLine, around

Floats = npt.NDArray[np.float64]

WEIGHTS = {
    "familiar": 2.5,  # by how much its ood_score to the network falls short of 2
    "whole": 0.33,  # the log probability that it is one whole character, as the judge says
    "character": 1.91,  # for each
    "wide": -0.77,  # by how much it is wider than 0.9 heights
    "join": -1.01,  # for each gap inside it
    "gap": -0.61,  # the sum of these gaps, in heights
    "cut": -1.16,  # where a cut ends it
    "depth": -0.69,  # of that cut, in strokes
    "dirt": -3.89,  # for each piece that is skipped
    "large_dirt": -2.24,  # its longer side, in heights
}
"""Of the evidence: those that make the right ways through composed lines of EMNIST digits the
likeliest, read by a network of MNIST's (scripts/teach_lines.py)."""

_MOST_PIECES = 6
_WIDEST = 1.7
"""A character is no wider, in heights."""
_LEAST = 0.3
"""Of the height: what is smaller both ways is no character by itself."""
_FAMILIAR = 2.0
"""Of what is more familiar to a network than that, all is equally well known."""
_DOUBT = 0.02
"""Share of a network's probability that is spread over all classes: it is too sure of scraps."""


@dataclass(frozen=True, eq=False)
class Step:
    """From before piece `first` to before piece `after`: a character, or a piece of dirt.

    `evidence` (10,) goes with `WEIGHTS`; what networks say of it is 0 until they were asked.
    """

    first: int
    after: int
    pieces: tuple[Piece, ...]
    evidence: Floats
    is_dirt: bool


def steps_through(line: TextLine) -> list[Step]:
    """Return all steps: first the characters that are to be read, then the dirt."""
    characters, dirt = [], []
    for first, piece in enumerate(line.pieces):
        dirt.append(Step(first, first + 1, (piece,), _evidence_of_dirt(piece, line), is_dirt=True))
        for after in range(first + 1, min(first + _MOST_PIECES, len(line.pieces)) + 1):
            pieces = line.pieces[first:after]
            if after > first + 1 and _width(pieces) > _WIDEST * line.height:
                break
            box = around([piece.box for piece in pieces])
            if max(box.height, box.width) < _LEAST * line.height:
                continue
            own = _evidence(pieces, line.pieces[after : after + 1], line)
            characters.append(Step(first, after, pieces, own, is_dirt=False))
    return [*characters, *dirt]


def evidence(
    steps: Sequence[Step],
    probabilities: npt.NDArray[np.float32],
    ood_score: npt.NDArray[np.float32] | None,
    judged: Floats,
) -> Floats:
    """Return the evidence (N, 10) for each of `steps`, with what the networks say.

    Args:
        steps: the characters, then the dirt.
        probabilities: (B, K) of the classes of each of the characters.
        ood_score: (B,) to the network that says so. Where it tells none, the logarithm of the
            probability stands for it, which is too sure of scraps.
        judged: (B,) log odds that it is one whole character.
    """
    found = np.stack([step.evidence for step in steps])
    likeliest = probabilities.max(axis=1).astype(np.float64)
    count = len(likeliest)
    if ood_score is None:
        spread = _DOUBT / probabilities.shape[1]
        found[:count, 0] = np.log((1 - _DOUBT) * likeliest + spread)
    else:
        found[:count, 0] = np.minimum(ood_score - _FAMILIAR, 0.0)
    found[:count, 1] = -np.logaddexp(0.0, -judged)
    return found


def scores(found: Floats) -> Floats:
    """Return what speaks for each step (N,), from the evidence (N, 10)."""
    return np.asarray(found @ np.array(list(WEIGHTS.values())), np.float64)


def best_way(steps: Sequence[Step], values: Floats) -> list[int]:
    """Return the numbers of the steps of the way of the largest sum of `values` (N,)."""
    count = max(step.after for step in steps)
    best, last = [0.0] + [-np.inf] * count, [-1] * (count + 1)
    for number in sorted(range(len(steps)), key=lambda k: steps[k].after):
        step = steps[number]
        value = best[step.first] + float(values[number])
        if value > best[step.after]:
            best[step.after], last[step.after] = value, number
    way: list[int] = []
    while count:
        way.insert(0, last[count])
        count = steps[last[count]].first
    return way


def posteriors(steps: Sequence[Step], values: Floats) -> tuple[Floats, float]:
    """Return how probable it is of each step (N,) that the right way takes it.

    And, for fitting weights, the logarithm of the sum over all ways.
    """
    count = max(step.after for step in steps)
    before, behind = np.full(count + 1, -np.inf), np.full(count + 1, -np.inf)
    before[0] = behind[count] = 0.0
    numbers = range(len(steps))
    for k in sorted(numbers, key=lambda k: steps[k].after):
        step = steps[k]
        before[step.after] = np.logaddexp(before[step.after], before[step.first] + values[k])
    for k in sorted(numbers, key=lambda k: -steps[k].first):
        step = steps[k]
        behind[step.first] = np.logaddexp(behind[step.first], behind[step.after] + values[k])
    firsts, afters = np.array([(step.first, step.after) for step in steps]).T
    through = np.exp(before[firsts] + values + behind[afters] - before[count])
    return through, float(before[count])


def _evidence(pieces: Sequence[Piece], following: Sequence[Piece], line: TextLine) -> Floats:
    height = line.height
    wide = max(0.0, _width(pieces) / height - 0.9)
    joins, gaps, end = 0, 0.0, pieces[0].end
    for piece in pieces[1:]:
        if piece.cut is None:
            joins += 1
            gaps += max(0.0, piece.start - end) / height
        end = max(end, piece.end)
    cut = following[0].cut if following else None
    return np.array(
        [0, 0, 1, wide, joins, min(gaps, 1.0), cut is not None, cut.cost if cut else 0, 0, 0],
        np.float64,
    )


def _evidence_of_dirt(piece: Piece, line: TextLine) -> Floats:
    size = max(piece.box.height, piece.box.width) / line.height
    return np.array([0] * 8 + [1, min(size, 1.0)], np.float64)


def _width(pieces: Sequence[Piece]) -> float:
    return max(piece.end for piece in pieces) - min(piece.start for piece in pieces)
