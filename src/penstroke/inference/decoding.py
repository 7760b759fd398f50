"""From the columns of a line to its text: connectionist temporal classification (CTC) decoded.

Each of the T columns has probabilities of a blank (class 0) and of the A characters. A text is
written by every path through the columns that gives it when repeated classes are merged and blanks
dropped; its probability is the sum over these paths (Graves et al. 2006). Each path writes one
text, so that the probabilities of all texts sum to 1: they are posteriors as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstroke.inference.constraints import Automaton, Constraint, compiled

BEAM = 24
"""Prefixes of the same length that are extended; seldom more than two or three matter."""
DOUBT = 0.001
"""How often a line does not keep to the constraint that it is read with."""

LogProbabilities = npt.NDArray[np.floating]
"""(T, 1 + A): the log-softmax of T columns; class 0 is the blank."""
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """The columns of one character on the likeliest path of its text.

    `first` and `last` are inclusive; at `peak` the character is likeliest, with `probability`.
    """

    first: int
    last: int
    peak: int
    probability: float


@dataclass(frozen=True)
class Hypothesis:
    """A text that a line may say.

    Attributes:
        text: in characters of the alphabet; may be empty.
        probability: of the text given the image, and the constraint if there is one. That is taken
            to hold for all but one in 1,000 lines: where no text that it admits fits the image, all
            have a low probability.
        unconstrained: its probability among all texts.
        spans: of each character.
    """

    text: str
    probability: float
    unconstrained: float
    spans: tuple[Span, ...]


def greedy(log_probs: LogProbabilities, alphabet: str) -> str:
    """Return the text of the likeliest class of each column."""
    classes = np.asarray(log_probs).argmax(axis=1)
    starts = np.flatnonzero(np.diff(classes, prepend=0) != 0)
    return "".join(alphabet[k - 1] for k in classes[starts] if k)


def decode(
    log_probs: LogProbabilities, alphabet: str, constraint: Constraint | None = None, count: int = 1
) -> list[Hypothesis]:
    """Return the `count` likeliest texts, likeliest first; fewer where there are no more.

    A constraint leaves none where every text that it admits takes more columns than there are.

    The search goes by length: of all prefixes of one length, those are extended that may still
    become one of the likeliest texts. How likely is known exactly, as the probability of everything
    that begins with the prefix and that the constraint admits, so that only where more than `BEAM`
    are in the running a likelier text may be missed.

    ConfigError: the constraint admits no text in characters of the alphabet.
    """
    columns = np.asarray(log_probs, np.float64)
    if constraint is None:
        text = greedy(columns, alphabet)
        least = text_probability(columns, text, alphabet)
        if count == 1 and least > 0.5:  # none is likelier
            return [_hypothesis(columns, alphabet, text)]
        after = _After.anything(len(columns), len(alphabet))
        least *= (1 - 1e-9) * (count == 1)
        return [
            _hypothesis(columns, alphabet, "".join(alphabet[k] for k in codes))
            for _, codes in _search(columns, _anything(len(alphabet)), after, count, least)
        ]
    automaton = compiled(constraint, alphabet)
    after = _After.of(columns, automaton)
    admitted = np.exp(after.blank[0, 0])
    if automaton.is_weighted:
        admitted = np.exp(_After.of(columns, automaton.unweighted()).blank[0, 0])
    trust = admitted / ((1 - DOUBT) * admitted + DOUBT)
    return [
        _hypothesis(columns, alphabet, "".join(alphabet[k] for k in codes), probability * trust)
        for probability, codes in _search(columns, automaton, after, count)
    ]


def text_probability(log_probs: LogProbabilities, text: str, alphabet: str) -> float:
    """Return the probability of `text` among all texts, by the forward algorithm."""
    return float(np.exp(text_log_probability(log_probs, text, alphabet)))


def text_log_probability(log_probs: LogProbabilities, text: str, alphabet: str) -> float:
    """Return the logarithm of `text_probability`; -inf where the columns are too few."""
    classes, may_skip = _path_states(text, alphabet)
    scores = np.asarray(log_probs, np.float64)[:, classes]
    tops = scores.max(axis=1, initial=-1e3)  # of impossible columns too
    total = float(tops.sum())
    forward = np.zeros(len(classes) + 2)  # two more in front: from where no path comes
    forward[2] = 1.0
    for step in np.exp(scores - tops[:, None]):
        forward[2:] = (forward[2:] + forward[1:-1] + forward[:-2] * may_skip) * step
        scale = forward.sum()
        if not scale:
            return -np.inf
        forward[2:] /= scale
        total += float(np.log(scale))
    with np.errstate(divide="ignore"):
        return total + float(np.log(forward[2:][-2:].sum()))


def align(log_probs: LogProbabilities, text: str, alphabet: str) -> tuple[Span, ...]:
    """Return the columns of each character of `text` on its likeliest path (Viterbi).

    There must be such a path: see `text_log_probability`.
    """
    classes, may_skip = _path_states(text, alphabet)
    scores = np.asarray(log_probs, np.float64)[:, classes]
    numbers = np.arange(len(classes))
    skip = np.where(may_skip, 0.0, -np.inf)
    best = np.full(len(classes) + 2, -np.inf)
    best[2] = 0.0
    moves = np.empty(scores.shape, np.int64)
    for column, score in enumerate(scores):
        options = np.stack([best[2:], best[1:-1], best[:-2] + skip])
        moves[column] = options.argmax(axis=0)
        best[2:] = options[moves[column], numbers] + score
    state = len(classes) - 1
    if len(classes) > 1 and best[-2] > best[-1]:
        state -= 1
    path = np.empty(len(scores), np.int64)
    for column in reversed(range(len(scores))):
        path[column] = state
        state -= moves[column, state]
    spans = []
    for number in range(1, len(classes), 2):
        inside = np.flatnonzero(path == number)
        peak = int(inside[scores[inside, number].argmax()])
        probability = float(np.exp(scores[peak, number]))
        spans.append(Span(int(inside[0]), int(inside[-1]), peak, probability))
    return tuple(spans)


def _path_states(text: str, alphabet: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the classes of a blank, a character, a blank, and so on, and what may skip a blank.

    That is a character that differs from the one before.
    """
    classes = np.zeros(2 * len(text) + 1, np.int64)
    classes[1::2] = [1 + alphabet.index(character) for character in text]
    may_skip = np.zeros(len(classes), bool)
    may_skip[3::2] = classes[3::2] != classes[1:-2:2]
    return classes, may_skip


def _hypothesis(
    columns: _Floats, alphabet: str, text: str, probability: float | None = None
) -> Hypothesis:
    unconstrained = text_probability(columns, text, alphabet)
    return Hypothesis(
        text,
        unconstrained if probability is None else float(probability),
        unconstrained,
        align(columns, text, alphabet),
    )


def _anything(characters: int) -> Automaton:
    table = np.zeros((1, characters))
    return Automaton(table.astype(np.int64), table, np.zeros(1))


class _After(NamedTuple):
    """The probability (logarithm) that what follows column t completes an admitted text.

    Weights included; by the state of the automaton, and whether column t is a blank (T + 1, Q + 1)
    or which character it is (T + 1, Q + 1, A). Column 0 is before the first; state Q is a dead end.
    """

    blank: _Floats
    character: _Floats

    @classmethod
    def anything(cls, columns: int, characters: int) -> _After:
        """Return that without a constraint: whatever follows completes a text."""
        return cls(np.zeros((columns + 1, 1)), np.zeros((columns + 1, 1, characters)))

    @classmethod
    def of(cls, columns: _Floats, automaton: Automaton) -> _After:
        """Return that for `columns` (T, 1 + A), from the last to the first."""
        states, characters = automaton.next_states.shape
        after_blank = np.full((len(columns) + 1, states + 1), -np.inf)
        after_character = np.full((len(columns) + 1, states + 1, characters), -np.inf)
        after_blank[-1, :-1] = automaton.ends
        after_character[-1, :-1] = automaton.ends[:, None]
        others = 1.0 - np.eye(characters)
        each = np.arange(characters)
        for t in reversed(range(len(columns))):
            blank = columns[t, 0] + after_blank[t + 1, :-1, None]
            same = columns[t, 1:] + after_character[t + 1, :-1]
            follow = after_character[t + 1, automaton.next_states, each]
            new = columns[t, 1:] + automaton.weights + follow
            top = np.maximum(np.maximum(new, same).max(axis=1, keepdims=True), blank)
            top[np.isneginf(top)] = 0.0
            blank, same, new = np.exp(blank - top), np.exp(same - top), np.exp(new - top)
            with np.errstate(divide="ignore"):
                after_blank[t, :-1] = (np.log(blank + new.sum(axis=1, keepdims=True)) + top)[:, 0]
                after_character[t, :-1] = np.log(blank + same + new @ others) + top
        return cls(after_blank, after_character)


def _search(
    columns: _Floats, automaton: Automaton, after: _After, count: int, least: float = 0.0
) -> list[tuple[float, tuple[int, ...]]]:
    """Return the likeliest texts as numbers of characters, with their probabilities above `least`.

    All probabilities are those given that the text is admitted, so that nothing underflows. Of each
    prefix are known, by column (T + 1, W), those that so far it and nothing else is written, and
    that the column is a blank, or its last character.
    """
    if np.isneginf(after.blank[0, 0]):
        return []
    blank, characters = columns[:, :1], columns[:, 1:]
    each = np.arange(characters.shape[1])
    states = lasts = np.zeros(1, np.int64)
    on_blank = np.exp(np.cumsum(np.append([[0.0]], blank))[:, None] + after.blank[:, :1]
                      - after.blank[0, 0])  # fmt: skip
    on_last = np.zeros_like(on_blank)
    prefixes: list[tuple[int, ...]] = [()]
    best: list[tuple[float, tuple[int, ...]]] = []
    width = max(BEAM, 2 * count)
    while prefixes:
        whole = on_blank[-1] + on_last[-1]
        best += [(float(p), codes) for p, codes in zip(whole, prefixes, strict=True) if p]
        best = sorted(best, key=lambda pair: -pair[0])[:count]
        least = max(least, best[-1][0]) if len(best) == count else least
        # Each prefix with each further character, by the column where that begins.
        rows = np.arange(len(prefixes))
        following = automaton.next_states[states]
        begin = (
            characters[:, None] + automaton.weights[states] + after.character[1:, following, each]
        )
        with np.errstate(divide="ignore"):
            from_blank = np.log(on_blank[:-1]) - _finite(after.blank[:-1, states])
            from_last = np.log(on_last[:-1]) - _finite(after.character[:-1, states, lasts])
        new = np.exp(begin + np.logaddexp(from_blank, from_last)[..., None])
        new[:, rows, lasts] = np.exp(begin[:, rows, lasts] + from_blank)
        masses = new.sum(axis=0).ravel()
        chosen = np.flatnonzero(masses > least)
        if len(chosen) > width:
            chosen = chosen[np.argpartition(-masses[chosen], width)[:width]]
        parents, lasts = np.divmod(chosen, len(each))
        states = following[parents, lasts]
        prefixes = [
            (*prefixes[k], c) for k, c in zip(parents.tolist(), lasts.tolist(), strict=True)
        ]
        after_blank, after_last = after.blank[:, states], after.character[:, states, lasts]
        on_blank, on_last = _follow(
            new[:, parents, lasts],
            stay=np.exp(characters[:, lasts] + after_last[1:] - _finite(after_last[:-1])),
            leave=np.exp(blank + after_blank[1:] - _finite(after_last[:-1])),
            rest=np.exp(blank + after_blank[1:] - _finite(after_blank[:-1])),
        )
    return best


def _finite(divisors: _Floats) -> _Floats:
    """Return logarithms of divisors, so that what is divided by 0 becomes 0."""
    return np.where(np.isneginf(divisors), np.inf, divisors)


def _follow(
    begin: _Floats, stay: _Floats, leave: _Floats, rest: _Floats
) -> tuple[_Floats, _Floats]:
    """Return the probabilities (T + 1, W) of being on a blank after a character, and on it.

    Each of the arguments is (T, W): of the character beginning in a column, being repeated, being
    followed by a blank, and of a blank being repeated.
    """
    on_blank, on_last = np.zeros((2, len(begin) + 1, begin.shape[1]))
    for t in range(len(begin)):
        on_last[t + 1] = begin[t] + on_last[t] * stay[t]
        on_blank[t + 1] = on_blank[t] * rest[t] + on_last[t] * leave[t]
    return on_blank, on_last
