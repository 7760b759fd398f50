"""What a line may say: constraints as automata that read a text character by character.

A constraint says which characters may follow, and with which weight, so that decoding looks only at
texts that it admits. `compiled` makes tables of it for the alphabet of a model.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from re import _constants as op
from re import _parser
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from penstroke.errors import ConfigError, near_match
from penstroke.files import text_lines
from penstroke.inference.check_digits import CHECKS, CheckDigitName, Sums

MOST_STATES: Final = 300_000
"""Of an automaton that is a tree, as that of a list of choices is."""
MOST_JOINED_STATES: Final = 30_000
"""Of any other that refuses some texts: decoding looks at each of them in each column."""
_MOST_NODES = 4_000  # of a regular expression with its repeats written out
_LARGEST = 500_000  # nodes in all states of an automaton: a few seconds
_SHOWN = 5  # of entries that are wrong

Step = tuple[Hashable, float] | None
"""The state after a character, and the log-weight of it; None if it may not follow."""


class Constraint(ABC):
    """A deterministic automaton over characters with log-weights; immutable and hashable."""

    @property
    @abstractmethod
    def start(self) -> Hashable:
        """The state before the first character."""

    @abstractmethod
    def step(self, state: Any, character: str) -> Step:
        """Return what follows `state` when it reads `character`."""

    @abstractmethod
    def end(self, state: Any) -> float | None:
        """Return the log-weight of a text that ends in `state`; None if none may end there."""

    @abstractmethod
    def describe(self) -> str:
        """Return what it is, for messages."""

    def admits(self, text: str) -> bool:
        """Return whether `text` may be said."""
        state: Any = self.start
        for character in text:
            if (step := self.step(state, character)) is None:
                return False
            state = step[0]
        return self.end(state) is not None

    def characters(self, state: Any, alphabet: str) -> Iterable[str]:
        """Return characters of which those that may follow `state` are some."""
        return alphabet

    def check(self, alphabet: str) -> None:  # noqa: B027
        """Raise ConfigError where a model of this alphabet should not be asked for it."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """A constraint as tables over Q states, of which 0 is the start, and A characters.

    Attributes:
        next_states: (Q, A) int; Q where the character may not follow.
        weights: (Q, A) log-weights of the characters.
        ends: (Q,) log-weights of texts that end there; -inf where none may.
    """

    next_states: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]

    @cached_property
    def edges(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """From which state, and by which character, the last edge leads to each state (Q,)."""
        sources, characters = np.nonzero(self.next_states < len(self.ends))
        before, by = np.full((2, len(self.ends)), -1)
        targets = self.next_states[sources, characters]
        before[targets], by[targets] = sources, characters
        return before, by

    @cached_property
    def is_tree(self) -> bool:
        """Whether only one text leads to each state."""
        edges = int((self.next_states < len(self.ends)).sum())
        return edges == len(self.ends) - 1 and bool((self.edges[0] >= 0).sum() == edges)

    @cached_property
    def admits_everything(self) -> bool:
        """Whether it only prefers some texts, and refuses none."""
        return bool(np.isfinite(self.ends).all() and (self.next_states < len(self.ends)).all())

    @cached_property
    def is_weighted(self) -> bool:
        """Whether it prefers some of the texts that it admits."""
        return bool(self.weights.any() or self.ends[np.isfinite(self.ends)].any())

    def log_weight(self, codes: Iterable[int]) -> float:
        """Return the log-weight of a text given as numbers of characters, -inf if not admitted."""
        state, weight = 0, 0.0
        for code in codes:
            weight += self.weights[state, code]
            state = int(self.next_states[state, code])
            if state == len(self.ends):
                return -math.inf
        return float(weight + self.ends[state])

    def unweighted(self) -> Automaton:
        """Return the automaton of the same texts, none preferred."""
        ends = np.where(np.isfinite(self.ends), 0.0, -np.inf)
        return Automaton(self.next_states, np.zeros_like(self.weights), ends)


@lru_cache(maxsize=64)  # fields of a form
def compiled(constraint: Constraint, alphabet: str) -> Automaton:
    """Return the `constraint` as tables, without states from which no text can be completed.

    ConfigError: it admits no text in characters of the alphabet, or is too large.
    """
    constraint.check(alphabet)
    column = {character: number for number, character in enumerate(alphabet)}
    numbers: dict[Hashable, int] = {constraint.start: 0}
    states = [constraint.start]
    edges: list[tuple[int, int, int, float]] = []
    refuses = constraint.end(constraint.start) is None
    size = 0
    for number, state in enumerate(states):  # grows
        for character in constraint.characters(state, alphabet):
            step = constraint.step(state, character) if character in column else None
            if step is None:
                refuses = True
                continue
            target = numbers.setdefault(step[0], len(states))
            if target == len(states):
                states.append(step[0])
                size += _size(step[0])
                refuses = refuses or constraint.end(step[0]) is None
            edges.append((number, column[character], target, step[1]))
        is_tree = len(edges) < len(states)
        most = MOST_JOINED_STATES if refuses and not is_tree else MOST_STATES
        if len(states) > most or size > _LARGEST:
            raise ConfigError(
                f"{constraint.describe()} is too large: it takes {len(states):,} states and more; "
                "shorten or split it"
            )
    ends = np.array([-np.inf if (end := constraint.end(s)) is None else end for s in states])
    automaton = _trimmed(edges, ends, len(alphabet))
    if not len(automaton.ends):
        raise ConfigError(
            f"{constraint.describe()} admits no text that this model can write, in characters of "
            f"{alphabet!r}"
        )
    return automaton


def _size(state: Any) -> int:
    if isinstance(state, tuple):
        return sum(map(_size, state))
    return len(state) if isinstance(state, frozenset) else 1


def _trimmed(
    edges: Sequence[tuple[int, int, int, float]], ends: npt.NDArray[np.float64], characters: int
) -> Automaton:
    """Return the automaton of those `edges` (from, character, to, weight) that lead to an end.

    Without states if none does.
    """
    before: dict[int, list[int]] = {}
    for source, _, target, _ in edges:
        before.setdefault(target, []).append(source)
    queue = np.flatnonzero(np.isfinite(ends)).tolist()
    alive = dict.fromkeys(queue)
    for state in queue:  # grows
        fresh = [source for source in before.get(state, ()) if source not in alive]
        alive.update(dict.fromkeys(fresh))
        queue += dict.fromkeys(fresh)
    kept = sorted(alive) if 0 in alive else []
    number = {state: k for k, state in enumerate(kept)}
    next_states = np.full((len(kept), characters), len(kept), np.int32)
    weights = np.zeros(next_states.shape)
    for source, column, target, weight in edges:
        if source in number and target in number:
            next_states[number[source], column] = number[target]
            weights[number[source], column] = weight
    return Automaton(next_states, weights, ends[kept])


@dataclass(frozen=True)
class Format(Constraint):
    r"""Texts that match a regular expression from end to end, as in `re.fullmatch`.

    Literals, classes, `.`, `\d`, groups, alternatives and repeats are supported.

    ConfigError: the pattern is not one, or uses what an automaton cannot do (look-around,
    back-references), or flags.

    Examples:
        >>> from penstroke.inference.constraints import Format
        >>> amount = Format(r"\d{1,3}([.,]\d{3})*(,\d{2})?")
        >>> amount.admits("1.250,00"), amount.admits("12500,0")
        (True, False)
    """

    pattern: str

    def __post_init__(self) -> None:
        if not self.pattern:
            raise ConfigError("the format is empty, and admits nothing but an empty line")
        _ = self._program  # refuses what is not a pattern

    @cached_property
    def _program(self) -> _Program:
        return _Program(self.pattern)

    def describe(self) -> str:
        """Return the format as it was given."""
        return f"the format {self.pattern!r}"

    @property
    def start(self) -> frozenset[int]:
        """Where the pattern may be before the first character."""
        return self._program.reached([self._program.first])

    def step(self, state: frozenset[int], character: str) -> Step:
        """Return where the pattern may be after `character`."""
        targets = [
            target
            for node in state
            for matches, target in self._program.moves.get(node, ())
            if matches(character)
        ]
        return (self._program.reached(targets), 0.0) if targets else None

    def end(self, state: frozenset[int]) -> float | None:
        """Return 0 where the pattern may end."""
        return 0.0 if _Program.END in state else None


_UNSUPPORTED = {
    op.ASSERT: "look-around",
    op.ASSERT_NOT: "look-around",
    op.GROUPREF: "a back-reference",
    op.GROUPREF_EXISTS: "a condition on a group",
    op.ATOMIC_GROUP: "an atomic group",
    op.POSSESSIVE_REPEAT: "a possessive repeat",
    op.AT: "an anchor or word boundary (a format is matched from end to end anyway)",
}
_CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d", op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S", op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
_Matcher = Callable[[str], bool]


class _Program:
    """A regular expression as a nondeterministic automaton (Thompson 1968).

    Python's own parser reads it, so that it means what it means in `re`.
    """

    END: Final = 0

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.moves: dict[int, list[tuple[_Matcher, int]]] = {}
        self._jumps: dict[int, list[int]] = {self.END: []}
        self._reached: dict[frozenset[int], frozenset[int]] = {}
        try:
            parsed = _parser.parse(pattern)
            items = list(parsed)
            if parsed.state.flags & ~(re.UNICODE | re.VERBOSE):
                self._refuse("flags")
            if items and items[0] in ((op.AT, op.AT_BEGINNING), (op.AT, op.AT_BEGINNING_STRING)):
                items = items[1:]
            if items and items[-1] in ((op.AT, op.AT_END), (op.AT, op.AT_END_STRING)):
                items = items[:-1]
            self.first = self._sequence(items, self.END)
        except (re.error, OverflowError, RecursionError) as error:
            raise ConfigError(f"the format {pattern!r} is not a pattern: {error}") from error

    def reached(self, nodes: Iterable[int]) -> frozenset[int]:
        """Return at which characters, or at the end, the pattern may be that was at `nodes`."""
        known = frozenset(nodes)
        if known not in self._reached:
            queue = list(known)
            seen = set(queue)
            for node in queue:  # grows
                fresh = [target for target in self._jumps.get(node, ()) if target not in seen]
                seen.update(fresh)
                queue += fresh
            here = (node for node in seen if node in self.moves or node == self.END)
            self._reached[known] = frozenset(here)
        return self._reached[known]

    def _refuse(self, what: str) -> None:
        raise ConfigError(f"the format {self.pattern!r} uses {what}, which formats do not support")

    def _node(self, jumps: list[int]) -> int:
        if len(self._jumps) > _MOST_NODES:
            raise ConfigError(f"the format {self.pattern!r} is too large: repeat less")
        number = len(self._jumps)
        self._jumps[number] = jumps
        return number

    def _sequence(self, items: Iterable[Any], after: int) -> int:
        """Return where `items` begin that lead to `after`."""
        for kind, value in reversed(list(items)):
            after = self._item(kind, value, after)
        return after

    def _item(self, kind: Any, value: Any, after: int) -> int:
        if kind is op.BRANCH:
            return self._node([self._sequence(items, after) for items in value[1]])
        if kind is op.SUBPATTERN:
            if value[1] or value[2]:
                self._refuse("flags")
            return self._sequence(value[3], after)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            return self._repeat(after, *value)
        if kind in _UNSUPPORTED:
            self._refuse(_UNSUPPORTED[kind])
        number = self._node([])
        self.moves[number] = [(_matcher(kind, value), after)]
        return number

    def _repeat(self, after: int, least: int, most: int, items: Any) -> int:
        end = after
        if most == op.MAXREPEAT:
            after = self._node([end])
            self._jumps[after].append(self._sequence(items, after))
        else:
            for _ in range(most - least):
                after = self._node([self._sequence(items, after), end])
        for _ in range(least):
            after = self._sequence(items, after)
        return after


def _matcher(kind: Any, value: Any) -> _Matcher:
    """Return whether a character is what one item of a pattern stands for."""
    if kind is op.ANY:
        return lambda character: character != "\n"
    if kind is op.CATEGORY:
        category = re.compile(_CATEGORIES[value])
        return lambda character: category.match(character) is not None
    if kind is op.RANGE:
        return lambda character: value[0] <= ord(character) <= value[1]
    if kind is op.IN:
        is_negated = value[0][0] is op.NEGATE
        parts = [_matcher(*item) for item in value[is_negated:]]
        return lambda character: any(part(character) for part in parts) != is_negated
    return lambda character: (ord(character) == value) == (kind is op.LITERAL)


class _Trie:
    """Entries as a tree: the children of each node by character, the entry that ends there."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.children: list[dict[str, int]] = [{}]
        self.entries: dict[int, str] = {}
        for entry in entries:
            node = 0
            for character in entry:
                following = self.children[node].setdefault(character, len(self.children))
                if following == len(self.children):
                    self.children.append({})
                node = following
            self.entries[node] = entry


@dataclass(frozen=True)
class Choices(Constraint):
    """Texts of a list.

    ConfigError: there are none.
    """

    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not any(self.texts):
            raise ConfigError("the list of choices is empty")

    @property
    def duplicates(self) -> tuple[str, ...]:
        """Texts that are given several times, which makes them no likelier."""
        return tuple(text for text, count in Counter(self.texts).items() if count > 1)

    @cached_property
    def _trie(self) -> _Trie:
        return _Trie(self.texts)

    @classmethod
    def read(cls, path: str | Path) -> Choices:
        """Return the choices in a text file (UTF-8), one a line; blank lines are skipped.

        ConfigError: it cannot be read, or holds none.
        """
        texts = tuple(text_lines(path))
        try:
            return cls(texts)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def describe(self) -> str:
        """Return how many there are."""
        return f"the list of {len(self.texts):,} choices"

    def check(self, alphabet: str) -> None:
        """Raise ConfigError naming choices that hold other characters than the alphabet's."""
        known = set(alphabet)
        foreign = [text for text in self.texts if not known.issuperset(text)]
        if foreign:
            characters = "".join(sorted(set("".join(foreign)) - known))
            more = f" and {len(foreign) - _SHOWN:,} more" if len(foreign) > _SHOWN else ""
            raise ConfigError(
                f"{', '.join(map(repr, foreign[:_SHOWN]))}{more} of {self.describe()} hold "
                f"{characters!r}, which this model does not write: it knows {alphabet!r}"
            )

    @property
    def start(self) -> int:
        """The root."""
        return 0

    def characters(self, state: int, alphabet: str) -> Iterable[str]:
        """Return those that follow in some choice."""
        return self._trie.children[state]

    def step(self, state: int, character: str) -> Step:
        """Return the node of the longer beginning."""
        following = self._trie.children[state].get(character)
        return None if following is None else (following, 0.0)

    def end(self, state: int) -> float | None:
        """Return 0 where a choice ends."""
        return 0.0 if state in self._trie.entries else None


@dataclass(frozen=True)
class CheckDigit(Constraint):
    """Numbers whose check digit is right; single signs and spaces may stand between their digits.

    `luhn`: of payment cards and many others (ISO/IEC 7812); `isbn-10`; `isbn-13`, which begins with
    978 or 979; `iban` (ISO 13616), whose length is not checked.

    ConfigError: there is no such check digit.
    """

    name: CheckDigitName

    def __post_init__(self) -> None:
        if self.name not in CHECKS:
            raise ConfigError(
                f"unknown check digit {self.name!r}{near_match(self.name, CHECKS)}: one of "
                + ", ".join(CHECKS)
            )

    def describe(self) -> str:
        """Return its name."""
        return f"the check digit {self.name!r}"

    @property
    def start(self) -> tuple[Sums, bool]:
        """Sums of nothing, and that no sign may stand here."""
        return CHECKS[self.name][0], False

    def step(self, state: tuple[Sums, bool], character: str) -> Step:
        """Return the sums with `character`, and whether a sign may follow it."""
        sums, may_be_sign = state
        if not character.isalnum():
            return ((sums, False), 0.0) if may_be_sign else None
        following = CHECKS[self.name][1](sums, character)
        return None if following is None else ((following, True), 0.0)

    def end(self, state: tuple[Sums, bool]) -> float | None:
        """Return 0 where the number is complete and right."""
        sums, is_digit = state
        return 0.0 if is_digit and CHECKS[self.name][2](sums) else None


@dataclass(frozen=True)
class Dictionary(Constraint):
    """Words that are likelier than others, by their frequency; none is refused.

    A line may hold several words: what is neither a letter nor in any word separates them.

    Attributes:
        frequencies: words with their frequencies, in any unit; those of a word add up.
        outside: weight of a word that is not in the dictionary; the most frequent one has 1.

    ConfigError: there are no words, or a frequency or weight is not positive.
    """

    frequencies: tuple[tuple[str, float], ...]
    outside: float = 0.001

    def __post_init__(self) -> None:
        if not any(word for word, _ in self.frequencies):
            raise ConfigError("the dictionary is empty")
        for word, frequency in self.frequencies:
            if not 0 < frequency < math.inf:
                raise ConfigError(
                    f"the dictionary gives {word!r} the frequency {frequency:g}: it must be above 0"
                )
        if not 0 < self.outside <= 1:
            raise ConfigError(
                f"the weight of words outside the dictionary is {self.outside:g}: it must be above "
                "0, and at most 1"
            )

    @classmethod
    def read(cls, path: str | Path, outside: float = 0.001) -> Dictionary:
        """Return the dictionary in a text file (UTF-8), one word a line, blank lines skipped.

        A tab and the frequency may follow; without it is 1. ConfigError: it cannot be read.
        """
        rows = [line.partition("\t")[::2] for line in text_lines(path)]
        try:
            return cls(tuple((word, float(count or 1)) for word, count in rows), outside)
        except (ValueError, ConfigError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def describe(self) -> str:
        """Return how many words it has."""
        return f"the dictionary of {len(self.frequencies):,} words"

    @cached_property
    def _trie(self) -> _Trie:
        return _Trie(word for word, _ in self.frequencies)

    @cached_property
    def _letters(self) -> frozenset[str]:
        return frozenset(character for word, _ in self.frequencies for character in word)

    @cached_property
    def _ends(self) -> list[float]:
        """The log-weight of a word that ends at each node; 0 at the root, where there is none."""
        total = Counter[str]()
        for word, frequency in self.frequencies:
            total[word] += frequency  # type: ignore[assignment]
        most = max(frequency for word, frequency in total.items() if word)
        ends = [0.0] + [math.log(self.outside)] * (len(self._trie.children) - 1)
        for node, word in self._trie.entries.items():
            ends[node] = max(ends[node], math.log(total[word] / most)) if node else 0.0
        return ends

    @cached_property
    def _best(self) -> list[float]:
        """The log-weight of the best word that begins with each node, in the dictionary or not.

        It is given when the node is reached and settled at the end of the word, so that decoding
        knows early what a beginning is worth.
        """
        best = list(self._ends)
        for node in reversed(range(1, len(best))):  # children come after their parents
            best[node] = max([best[node], *(best[k] for k in self._trie.children[node].values())])
        return best

    @property
    def start(self) -> int:
        """The root, where no word has begun."""
        return 0

    def step(self, state: int, character: str) -> Step:
        """Return the node of the longer beginning, `_OUTSIDE` the dictionary, or the root."""
        settled = 0.0 if state == _OUTSIDE else self._best[state]
        if not (character.isalpha() or character in self._letters):
            return 0, 0.0 if state == _OUTSIDE else self._ends[state] - settled
        if state != _OUTSIDE and (node := self._trie.children[state].get(character)) is not None:
            return node, self._best[node] - settled
        return _OUTSIDE, 0.0 if state == _OUTSIDE else math.log(self.outside) - settled

    def end(self, state: int) -> float | None:
        """Return what the last word is worth less than the best that begins like it."""
        return 0.0 if state == _OUTSIDE else self._ends[state] - self._best[state]


_OUTSIDE = -1  # the state within a word that is not in the dictionary


@dataclass(frozen=True)
class AllOf(Constraint):
    """Texts that several constraints admit; their weights multiply."""

    constraints: tuple[Constraint, ...]

    def describe(self) -> str:
        """Return all of them."""
        return " with ".join(constraint.describe() for constraint in self.constraints)

    def check(self, alphabet: str) -> None:
        """Raise ConfigError where one of them does."""
        for constraint in self.constraints:
            constraint.check(alphabet)

    @property
    def start(self) -> tuple[Hashable, ...]:
        """The start of each."""
        return tuple(constraint.start for constraint in self.constraints)

    def characters(self, state: tuple[Any, ...], alphabet: str) -> Iterable[str]:
        """Return those of the constraint that leaves the fewest."""
        each = zip(self.constraints, state, strict=True)
        return min((list(c.characters(s, alphabet)) for c, s in each), key=len)

    def step(self, state: tuple[Any, ...], character: str) -> Step:
        """Return what follows in each, if it does in all."""
        states, weight = [], 0.0
        for constraint, inner in zip(self.constraints, state, strict=True):
            if (step := constraint.step(inner, character)) is None:
                return None
            states.append(step[0])
            weight += step[1]
        return tuple(states), weight

    def end(self, state: tuple[Any, ...]) -> float | None:
        """Return the sum of the log-weights, if a text may end in all."""
        ends = [c.end(inner) for c, inner in zip(self.constraints, state, strict=True)]
        return None if None in ends else sum(end for end in ends if end is not None)
