"""What a line may say: constraints as automata that read a text character by character.

Each constraint says which characters may follow, and with which weight, so that decoding can look
only at texts that it admits. `compiled` makes a table of it for the alphabet of a model.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from penstroke.errors import ConfigError

MOST_STATES = 200_000
"""States of an automaton; beyond, compiling takes too long and a table too much memory."""


class Constraint(Protocol):
    """A deterministic automaton over characters, with log-weights; immutable and hashable."""

    def __hash__(self) -> int: ...

    @property
    def start(self) -> Hashable:
        """The state before the first character."""

    def step(self, state: Any, character: str) -> tuple[Hashable, float] | None:
        """Return the state after `character` and the log-weight of it; None if none may follow."""

    def end(self, state: Any) -> float | None:
        """Return the log-weight of a text that ends in `state`; None if none may end there."""

    def characters(self, state: Any, alphabet: str) -> Iterable[str]:
        """Return those of `alphabet` that may follow, and perhaps others."""

    def describe(self) -> str:
        """Return what it is, for messages."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """A constraint as tables over Q states, of which 0 is the start, and the A characters.

    Attributes:
        next_states: (Q, A) int; Q where the character must not follow.
        weights: (Q, A) log-weights of the characters.
        ends: (Q,) log-weights of texts that end there; -inf where none may.
    """

    next_states: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]

    @property
    def is_weighted(self) -> bool:
        """Whether it prefers some of the texts that it admits."""
        return bool(self.weights.any() or self.ends[np.isfinite(self.ends)].any())

    def unweighted(self) -> Automaton:
        """Return the automaton of the same texts, none preferred."""
        ends = np.where(np.isfinite(self.ends), 0.0, -np.inf)
        return Automaton(self.next_states, np.zeros_like(self.weights), ends)


@lru_cache(maxsize=16)
def compiled(constraint: Constraint, alphabet: str) -> Automaton:
    """Return the `constraint` as tables, without states from which no text can be completed.

    ConfigError: no text in characters of the alphabet is admitted, or it takes too many states.
    """
    column = {character: number for number, character in enumerate(alphabet)}
    numbers: dict[Hashable, int] = {constraint.start: 0}
    queue: list[Hashable] = [constraint.start]
    edges: list[tuple[int, int, int, float]] = []
    for state in queue:  # grows
        for character in constraint.characters(state, alphabet):
            step = constraint.step(state, character) if character in column else None
            if step is None:
                continue
            target, weight = step
            if target not in numbers:
                numbers[target] = len(queue)
                queue.append(target)
            edges.append((numbers[state], column[character], numbers[target], weight))
        if len(queue) > MOST_STATES:
            raise ConfigError(
                f"{constraint.describe()} is too large to compile: it takes more than "
                f"{MOST_STATES:,} states"
            )
    ends = np.array([-np.inf if (w := constraint.end(s)) is None else w for s in queue])
    return _trimmed(constraint, alphabet, edges, ends)


def _trimmed(
    constraint: Constraint,
    alphabet: str,
    edges: list[tuple[int, int, int, float]],
    ends: npt.NDArray[np.float64],
) -> Automaton:
    """Return the automaton of `edges` (from, character, to, weight) that lead to an end."""
    before: dict[int, list[int]] = {}
    for source, _, target, _ in edges:
        before.setdefault(target, []).append(source)
    queue = np.flatnonzero(np.isfinite(ends)).tolist()
    alive = set(queue)
    for state in queue:  # grows
        fresh = [source for source in before.get(state, []) if source not in alive]
        alive.update(fresh)
        queue.extend(dict.fromkeys(fresh))
    if 0 not in alive:
        raise ConfigError(
            f"{constraint.describe()} admits no text that this model can write: its characters are "
            f"{alphabet!r}"
        )
    kept = sorted(alive)
    number = {state: k for k, state in enumerate(kept)}
    next_states = np.full((len(kept), len(alphabet)), len(kept))
    weights = np.zeros(next_states.shape)
    for source, column, target, weight in edges:
        if source in number and target in number:
            next_states[number[source], column] = number[target]
            weights[number[source], column] = weight
    return Automaton(next_states, weights, ends[kept])
