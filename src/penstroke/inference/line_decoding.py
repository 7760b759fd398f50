"""From the columns of a line to its text: connectionist temporal classification (CTC) decoded.

Each of the T columns has probabilities of a blank (class 0) and of the A characters. A text is
written by every path through the columns that gives it when repeated classes are merged and blanks
dropped; its probability is the sum over these paths (Graves et al. 2006). Each path writes one
text, so that the probabilities of all texts sum to 1: they are posteriors as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.inference.constraints import Automaton, Constraint, compiled

BEAM = 24
"""Prefixes of the same length that are extended; seldom more than two or three matter."""
NEGLIGIBLE = 1e-4
"""Where no text is likelier, the search ends: that of the likeliest path is as good as any."""
DOUBT = 0.001
"""How often a line does not keep to the constraint that it is read with."""
MOST_PREFIXES = 20_000
"""Of one length that are followed in a list of choices: below, each choice is scored."""
MOST_CELLS = 20_000_000
"""Columns × states × characters of a column that are looked at: 160 MB."""
_LEAST_CHARACTERS = 3
_BATCH = 256  # lines

LogProbabilities = npt.NDArray[np.floating]
"""(T, 1 + A): the log-softmax of T columns; class 0 is the blank."""
_Floats = npt.NDArray[np.float64]
_Numbers = npt.NDArray[np.integer]
_Codes = tuple[int, ...]
"""A text as numbers of characters."""


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
    return "".join(alphabet[k] for k in _greedy(log_probs))


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
    return [
        hypothesis_of(text, probability, log_probs, alphabet)
        for text, probability in likeliest(log_probs, alphabet, constraint, count)
    ]


def likeliest(
    log_probs: LogProbabilities, alphabet: str, constraint: Constraint | None = None, count: int = 1
) -> list[tuple[str, float]]:
    """Return the texts and probabilities of `decode`, without where their characters are."""
    columns = np.asarray(log_probs, np.float64)
    automaton = _anything(len(alphabet)) if constraint is None else compiled(constraint, alphabet)
    found = (_rank if automaton.is_tree else _find)(columns, automaton, count)
    return [
        ("".join(alphabet[k] for k in codes), probability * found.trust)
        for probability, codes in found.best
    ]


def hypothesis_of(
    text: str, probability: float, log_probs: LogProbabilities, alphabet: str
) -> Hypothesis:
    """Return `text`, which the columns must be enough for, with where its characters are."""
    unconstrained = text_probability(log_probs, text, alphabet)
    return Hypothesis(text, probability, unconstrained, align(log_probs, text, alphabet))


def text_probability(log_probs: LogProbabilities, text: str, alphabet: str) -> float:
    """Return the probability of `text` among all texts, by the forward algorithm."""
    return float(np.exp(text_log_probability(log_probs, text, alphabet)))


def text_log_probability(log_probs: LogProbabilities, text: str, alphabet: str) -> float:
    """Return the logarithm of `text_probability`; -inf where the columns are too few."""
    return float(text_log_probabilities([log_probs], [text], alphabet)[0])


def text_log_probabilities(
    log_probs: Sequence[LogProbabilities], texts: Sequence[str], alphabet: str
) -> _Floats:
    """Return the `text_log_probability` of each text in its own columns: (N,)."""
    found = [np.zeros(0)]
    for start in range(0, len(texts), _BATCH):
        lines = log_probs[start : start + _BATCH]
        columns = np.full((len(lines), max(map(len, lines)), 1 + len(alphabet)), -np.inf)
        columns[:, :, 0] = 0.0  # blanks at the end change nothing
        for row, line in zip(columns, lines, strict=True):
            row[: len(line)] = line
        codes = [_codes(text, alphabet) for text in texts[start : start + _BATCH]]
        found.append(_log_probabilities(columns, codes))
    return np.concatenate(found)


def align(log_probs: LogProbabilities, text: str, alphabet: str) -> tuple[Span, ...]:
    """Return the columns of each character of `text` on its likeliest path (Viterbi).

    There must be such a path: see `text_log_probability`.
    """
    return _spans(np.asarray(log_probs, np.float64), _codes(text, alphabet))


def _codes(text: str, alphabet: str) -> _Codes:
    return tuple(alphabet.index(character) for character in text)


def _greedy(log_probs: LogProbabilities) -> _Codes:
    classes = np.asarray(log_probs).argmax(axis=1)
    starts = np.flatnonzero(np.diff(classes, prepend=0) != 0)
    return tuple(int(k) - 1 for k in classes[starts] if k)


def _log_probabilities(columns: _Floats, texts: Sequence[_Codes]) -> _Floats:
    """Return that of each text in its columns (N, T, 1 + A), by the forward algorithm: (N,).

    It is scaled in each column, so that nothing underflows.
    """
    longest = max(map(len, texts))
    last = np.array([2 * len(codes) for codes in texts])[:, None]
    codes = np.array([[*codes, *[-1] * (longest - len(codes))] for codes in texts], np.int64)
    classes, may_skip = _path_states(codes.reshape(len(texts), longest))
    states = np.arange(classes.shape[1])
    scores = np.take_along_axis(columns, classes[:, None], axis=2)
    tops = scores.max(axis=2, initial=-1e3)  # of impossible columns too
    scores = np.exp(scores - tops[..., None]) * (states <= last)[:, None]
    total = tops.sum(axis=1)
    forward = np.zeros((len(texts), classes.shape[1] + 2))  # no path comes from the first two
    forward[:, 2] = 1.0
    with np.errstate(divide="ignore"):
        for column in range(columns.shape[1]):
            reached = forward[:, 2:] + forward[:, 1:-1] + forward[:, :-2] * may_skip
            forward[:, 2:] = reached * scores[:, column]
            scale = forward.sum(axis=1)
            total += np.log(scale)
            forward /= np.where(scale, scale, 1.0)[:, None]
        ended = (forward[:, 2:] * (states >= last - 1)).sum(axis=1)
        return np.asarray(total + np.log(ended))


def _spans(columns: _Floats, codes: _Codes) -> tuple[Span, ...]:
    classes, may_skip = _path_states(np.array(codes, np.int64))
    scores = columns[:, classes]
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


def _path_states(codes: _Numbers) -> tuple[_Numbers, npt.NDArray[np.bool_]]:
    """Return the classes of a blank, a character, a blank, and so on, and what may skip a blank.

    That is a character that differs from the one before. Both are (..., 2L + 1) of codes (..., L).
    """
    classes = np.zeros((*codes.shape[:-1], 2 * codes.shape[-1] + 1), np.int64)
    classes[..., 1::2] = codes + 1
    may_skip = np.zeros(classes.shape, bool)
    may_skip[..., 3::2] = classes[..., 3::2] != classes[..., 1:-2:2]
    return classes, may_skip


@dataclass(frozen=True)
class _Found:
    """The likeliest texts as numbers of characters, with their probabilities if one is admitted.

    `log_admitted` is the logarithm of the probability of all texts that are admitted.
    """

    best: list[tuple[float, _Codes]]
    log_admitted: float = 0.0

    @property
    def trust(self) -> float:
        """How likely the constraint holds, relative to how likely it is where it fits."""
        admitted = np.exp(min(self.log_admitted, 0.0))
        return float(admitted / ((1 - DOUBT) * admitted + DOUBT))


def _anything(characters: int) -> Automaton:
    return Automaton(np.zeros((1, characters), np.int32), np.zeros((1, characters)), np.zeros(1))


class _After:
    """The probability (logarithm) that what follows column t completes an admitted text.

    Column 0 is before the first. Weights are included. It depends on the state of the automaton,
    of which Q is a dead end, and whether column t is a blank, or which character it is. A character
    that cannot follow itself immediately has the probability of a blank, so that these share one
    table (T + 1, Q + 1, 1 + K); slots (T + 1, A) say where in it a character is.
    """

    def __init__(self, table: _Floats, slots: _Numbers) -> None:
        self._table, self._slots = table, slots
        self._columns = np.arange(len(table))[:, None]

    @classmethod
    def bound(cls, columns: _Floats, automaton: Automaton) -> _After:
        """Return 1 for everything: right if all is admitted, an upper bound if some is liked less.

        Weights above 1 would break it.
        """
        shape = (len(columns) + 1, len(automaton.ends) + 1, 1)
        slots = np.zeros((len(columns) + 1, automaton.next_states.shape[1]), np.int64)
        return cls(np.broadcast_to(0.0, shape), slots)

    @classmethod
    def of(cls, columns: _Floats, automaton: Automaton, likely: _Numbers) -> _After:
        """Return that for `columns` (T, 1 + A), from the last to the first.

        `likely` (T, K) are the characters that are possible in each.
        """
        states, characters = automaton.next_states.shape
        kept = likely.shape[1]
        table = np.full((len(columns) + 1, states + 1, 1 + kept), -np.inf)
        slots = np.zeros((len(columns) + 1, characters), np.int64)
        table[-1, :-1] = automaton.ends[:, None]
        others = 1.0 - np.eye(kept)
        for t in reversed(range(len(columns))):
            those = likely[t]
            slot = slots[t + 1, those]
            emit = columns[t, 1 + those]
            follow = table[t + 1][automaton.next_states[:, those], slot]
            new = emit + automaton.weights[:, those] + follow
            same = emit + table[t + 1, :-1][:, slot]
            blank = columns[t, 0] + table[t + 1, :-1, :1]
            top = np.maximum(np.maximum(new, same).max(axis=1, keepdims=True), blank)
            top[np.isneginf(top)] = 0.0
            blank, same, new = np.exp(blank - top), np.exp(same - top), np.exp(new - top)
            with np.errstate(divide="ignore"):
                table[t, :-1, :1] = np.log(blank + new.sum(axis=1, keepdims=True)) + top
                table[t, :-1, 1:] = np.log(blank + same + new @ others) + top
            slots[t, those] = 1 + np.arange(kept)
        return cls(table, slots)

    @property
    def all_texts(self) -> float:
        """It before the first column: the probability that a text is admitted, weights included."""
        return float(self._table[0, 0, 0])

    def blank(self, states: _Numbers) -> _Floats:
        """Return it after blanks: (T + 1, W) for states (W,)."""
        found: _Floats = self._table[:, states, 0]
        return found

    def character(self, states: _Numbers, characters: _Numbers) -> _Floats:
        """Return it after characters (N,): (T + 1, ..., N) for states (..., N)."""
        slots = self._slots[:, characters]
        columns = self._columns.reshape(-1, *(1 for _ in states.shape))
        slots = slots.reshape(len(slots), *(1 for _ in states.shape[1:]), -1)
        found: _Floats = self._table[columns, states, slots]
        return found


def _find(columns: _Floats, automaton: Automaton, count: int) -> _Found:
    """Return the likeliest texts of any automaton."""
    if automaton.admits_everything:
        after = _After.bound(columns, automaton)
    else:
        states, characters = len(automaton.ends), columns.shape[1] - 1
        kept = max(_LEAST_CHARACTERS, MOST_CELLS // (len(columns) * states + 1))
        likely = np.argsort(-columns[:, 1:], axis=1, kind="stable")[:, : min(characters, kept)]
        possible = np.full_like(columns, -np.inf)
        np.put_along_axis(possible, np.pad(1 + likely, ((0, 0), (1, 0))), 0.0, axis=1)
        columns = columns + possible
        after = _After.of(columns, automaton, likely)
    if np.isneginf(after.all_texts):
        return _Found([])
    best: list[tuple[float, _Codes]] = []
    least = floor = 0.0
    if count == 1:
        codes = _greedy(columns)
        first = (
            _log_probabilities(columns[None], [codes])[0]
            + automaton.log_weight(codes)
            - after.all_texts
        )
        least = float(np.exp(first))
        is_exact = not (automaton.is_weighted and automaton.admits_everything)
        if is_exact and least > 0.5:  # none is likelier
            best = [(least, codes)]
        floor = NEGLIGIBLE if is_exact and np.isfinite(first) else 0.0
    best = best or _search(columns, automaton, after, count, max(least * (1 - 1e-9), floor))
    if floor and (not best or best[0][0] < least * (1 - 1e-6)):
        best = [(least, codes)]
    if not automaton.is_weighted:
        return _Found(best, after.all_texts)
    if automaton.admits_everything:
        return _Found(best)
    return _Found(best, _After.of(columns, automaton.unweighted(), likely).all_texts)


def _search(
    columns: _Floats, automaton: Automaton, after: _After, count: int, least: float
) -> list[tuple[float, _Codes]]:
    """Return the likeliest texts, of those with a probability above `least`, by their length.

    All probabilities are those given that the text is admitted, so that nothing underflows. Of each
    prefix are known, by column (T + 1, W), those that so far it and nothing else is written, and
    that the column is a blank, or its last character.
    """
    states: _Numbers = np.zeros(1, np.int64)
    lasts: _Numbers = states
    blank, characters = columns[:, :1], columns[:, 1:]
    each = np.arange(characters.shape[1])
    on_blank = np.exp(
        np.cumsum(np.append([[0.0]], blank))[:, None] + after.blank(states) - after.all_texts
    )
    on_last = np.zeros_like(on_blank)
    prefixes: list[_Codes] = [()]
    best: list[tuple[float, _Codes]] = []
    total, width = 0.0, max(BEAM, 2 * count)
    while prefixes:
        after_blank, after_last = after.blank(states), after.character(states, lasts)
        ends = np.exp(automaton.ends[states] - _finite(after_blank[-1]))
        whole = (on_blank[-1] + on_last[-1]) * ends
        best += [(float(p), codes) for p, codes in zip(whole, prefixes, strict=True) if p]
        best = sorted(best, key=lambda pair: -pair[0])[:count]
        least = max(least, best[-1][0]) if len(best) == count else least
        # Each prefix with each further character, by the column where that begins.
        rows = np.arange(len(prefixes))
        following = automaton.next_states[states]
        begin = (
            characters[:, None] + automaton.weights[states] + after.character(following, each)[1:]
        )
        with np.errstate(divide="ignore"):
            from_blank = np.log(on_blank[:-1]) - _finite(after_blank[:-1])
            from_last = np.log(on_last[:-1]) - _finite(after_last[:-1])
        new = np.exp(begin + np.logaddexp(from_blank, from_last)[..., None])
        new[:, rows, lasts] = np.exp(begin[:, rows, lasts] + from_blank)
        masses = new.sum(axis=0).ravel()
        chosen = np.flatnonzero(masses > least)
        if len(chosen) > width:
            chosen = chosen[np.argpartition(-masses[chosen], width)[:width]]
        total += whole.sum() + masses.sum() - masses[chosen].sum()
        parents, lasts = np.divmod(chosen, len(each))
        states = following[parents, lasts]
        extended = zip(parents.tolist(), lasts.tolist(), strict=True)
        prefixes = [(*prefixes[parent], last) for parent, last in extended]
        after_blank, after_last = after.blank(states), after.character(states, lasts)
        on_blank, on_last = _follow(
            new[:, parents, lasts],
            stay=np.exp(characters[:, lasts] + after_last[1:] - _finite(after_last[:-1])),
            leave=np.exp(blank + after_blank[1:] - _finite(after_last[:-1])),
            rest=np.exp(blank + after_blank[1:] - _finite(after_blank[:-1])),
        )
    return [(p / total, codes) for p, codes in best]


def _finite(divisors: _Floats) -> _Floats:
    """Return logarithms of divisors, so that what is divided by 0 becomes 0."""
    return np.where(np.isneginf(divisors), np.inf, divisors)


def _rank(columns: _Floats, automaton: Automaton, count: int) -> _Found:
    """Return the likeliest texts of an automaton that is a tree, by scoring every one of them.

    Only of more than `MOST_PREFIXES` of one length the likeliest are followed.
    """
    emit = np.exp(columns)
    blank, characters = emit[:, :1], emit[:, 1:]
    states: _Numbers = np.zeros(1, np.int64)
    lasts: _Numbers = states
    on_blank = np.cumprod(np.append([[1.0]], blank))[:, None]
    on_last = np.zeros_like(on_blank)
    log_scale = log_weight = np.zeros(1)
    ended: list[tuple[_Numbers, _Floats, _Floats]] = []
    while len(states):
        with np.errstate(divide="ignore"):
            whole = np.log(on_blank[-1] + on_last[-1]) + log_scale
        ended.append((states, whole, log_weight + automaton.ends[states]))
        parents, following = np.nonzero(automaton.next_states[states] < len(automaton.ends))
        from_last = np.where(following == lasts[parents], 0.0, on_last[:-1, parents])
        begin = characters[:, following] * (on_blank[:-1, parents] + from_last)
        masses = begin.sum(axis=0)
        with np.errstate(divide="ignore"):
            log_scale = log_scale[parents] + np.log(masses)
        kept = np.flatnonzero(masses)
        if len(kept) > MOST_PREFIXES:
            kept = kept[np.argpartition(-log_scale[kept], MOST_PREFIXES)[:MOST_PREFIXES]]
        parents, lasts, log_scale = parents[kept], following[kept], log_scale[kept]
        log_weight = log_weight[parents] + automaton.weights[states[parents], lasts]
        states = automaton.next_states[states[parents], lasts]
        on_blank, on_last = _follow(
            begin[:, kept] / masses[kept], stay=characters[:, lasts], leave=blank, rest=blank
        )
    reached, scores, weights = (np.concatenate(part) for part in zip(*ended, strict=True))
    possible = np.isfinite(scores + weights)
    if not possible.any():
        return _Found([])
    reached, scores = reached[possible], scores[possible]
    weighted = scores + weights[possible]
    probabilities = np.exp(weighted - weighted.max())
    probabilities /= probabilities.sum()
    before, by = automaton.edges
    best = []
    for row in np.argsort(-probabilities, kind="stable")[:count]:
        codes, state = [], reached[row]
        while state:
            codes.append(int(by[state]))
            state = before[state]
        best.append((float(probabilities[row]), tuple(reversed(codes))))
    return _Found(best, float(np.logaddexp.reduce(scores)))


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
