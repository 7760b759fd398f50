"""The paths through a line of segments, and which of them explains it best.

A path takes each segment in turn: into a character, with its neighbours or alone, or as dirt to be
skipped. The score of a step is a weighted sum of features, so that all paths together are a
semi-Markov random field (Sarawagi and Cohen 2004): its best path is found by dynamic programming
(Viterbi), and how probable a step is, by the forward-backward algorithm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.inference.segments import Segment, TextLine, around

Floats = npt.NDArray[np.float64]

WEIGHTS = {
    "familiar": 2.5,  # by how much its ood_score falls short of twice the network's ood_threshold
    "whole": 0.33,  # the log probability that it is one whole character, from the scorer
    "character": 1.91,  # for each
    "wide": -0.77,  # by how much it is wider than 0.9 heights
    "join": -1.01,  # for each gap inside it
    "gap": -0.61,  # the sum of these gaps, in heights
    "split": -1.16,  # where a split ends it
    "split_cost": -0.69,  # of that split, in strokes
    "dirt": -3.89,  # for each segment that is skipped
    "large_dirt": -2.24,  # its longer side, in heights
}
"""Of the features: those that make the right paths through composed lines of EMNIST digits the
likeliest, read by a network of MNIST's (scripts/train_character_scorer.py)."""

_MOST_SEGMENTS = 6
_WIDEST = 1.7  # a character is no wider, in heights
_LEAST = 0.3  # of the height: what is smaller both ways is not a character by itself
_FAMILIAR = 2.0  # in units of the ood_threshold: beyond it, a higher ood_score makes no difference
_DOUBT = 0.02  # share of a probability that goes to all classes: it is too sure of scraps


@dataclass(frozen=True, eq=False)
class Step:
    """From before segment `first` to before segment `after`: a character, or a piece of dirt.

    `features` (10,) belong to `WEIGHTS`; those that come from networks are 0.
    """

    first: int
    after: int
    segments: tuple[Segment, ...]
    features: Floats
    is_dirt: bool


def possible_steps(line: TextLine) -> list[Step]:
    """Return all steps through `line`: first the characters that may be there, then the dirt."""
    characters, dirt = [], []
    for first, segment in enumerate(line.segments):
        size = max(segment.box.height, segment.box.width) / line.height
        features = np.array([0] * 8 + [1, min(size, 1.0)], np.float64)
        dirt.append(Step(first, first + 1, (segment,), features, is_dirt=True))
        for after in range(first + 1, min(first + _MOST_SEGMENTS, len(line.segments)) + 1):
            segments = line.segments[first:after]
            width = max(s.end for s in segments) - min(s.start for s in segments)
            if after > first + 1 and width > _WIDEST * line.height:
                break
            box = around(s.box for s in segments)
            if max(box.height, box.width) >= _LEAST * line.height:
                features = _shape_features(line, first, after, width)
                characters.append(Step(first, after, segments, features, is_dirt=False))
    return [*characters, *dirt]


def _shape_features(line: TextLine, first: int, after: int, width: float) -> Floats:
    """Return the features (10,) of segments `first` to `after` as one character."""
    joins, gaps, end = 0, 0.0, line.segments[first].end
    for segment in line.segments[first + 1 : after]:
        if segment.split is None:
            joins += 1
            gaps += max(0.0, segment.start - end) / line.height
        end = max(end, segment.end)
    split = line.segments[after].split if after < len(line.segments) else None
    wide = max(0.0, width / line.height - 0.9)
    cost = split.cost if split else 0
    return np.array(
        [0, 0, 1, wide, joins, min(gaps, 1.0), split is not None, cost, 0, 0], np.float64
    )


def all_features(
    steps: Sequence[Step], probabilities: npt.NDArray[np.float32],
    familiarity: npt.NDArray[np.float32] | None, log_odds: Floats,
) -> Floats:  # fmt: skip
    """Return the features (N, 10) of `steps`, with those that come from networks.

    The latter belong to the B characters, which come first (`character_lines.NetworkOutputs`). For
    `familiarity`, where the network has none, stands the logarithm of the probability, which is too
    sure of scraps.
    """
    features = np.stack([step.features for step in steps])
    likeliest = probabilities.max(axis=1).astype(np.float64)
    count = len(likeliest)
    if familiarity is None:
        spread = _DOUBT / probabilities.shape[1]
        features[:count, 0] = np.log((1 - _DOUBT) * likeliest + spread)
    else:
        features[:count, 0] = np.minimum(familiarity - _FAMILIAR, 0.0)
    features[:count, 1] = -np.logaddexp(0.0, -log_odds)
    return features


def step_scores(features: Floats) -> Floats:
    """Return the score (N,) of each step, from its features (N, 10)."""
    return np.asarray(features @ np.array(list(WEIGHTS.values())), np.float64)


def viterbi_path(steps: Sequence[Step], scores: Floats) -> list[int]:
    """Return the numbers of the steps of the path of the largest sum of `scores` (N,)."""
    count = max(step.after for step in steps)
    best, last = [0.0] + [-np.inf] * count, [-1] * (count + 1)
    for number in sorted(range(len(steps)), key=lambda k: steps[k].after):
        step = steps[number]
        score = best[step.first] + float(scores[number])
        if score > best[step.after]:
            best[step.after], last[step.after] = score, number
    path: list[int] = []
    while count:
        path.insert(0, last[count])
        count = steps[last[count]].first
    return path


def posteriors(steps: Sequence[Step], scores: Floats) -> tuple[Floats, float]:
    """Return the probability (N,) that the right path takes each step.

    And, for fitting weights, the logarithm of the sum over all paths.
    """
    count = max(step.after for step in steps)
    before, behind = np.full(count + 1, -np.inf), np.full(count + 1, -np.inf)
    before[0] = behind[count] = 0.0
    for k in sorted(range(len(steps)), key=lambda k: steps[k].after):
        step = steps[k]
        before[step.after] = np.logaddexp(before[step.after], before[step.first] + scores[k])
    for k in sorted(range(len(steps)), key=lambda k: -steps[k].first):
        step = steps[k]
        behind[step.first] = np.logaddexp(behind[step.first], behind[step.after] + scores[k])
    firsts, afters = np.array([(step.first, step.after) for step in steps]).T
    through = np.exp(before[firsts] + scores + behind[afters] - before[count])
    return through, float(before[count])
