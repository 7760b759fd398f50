"""What stands in the cells of a grid: each for itself, or all together under rules of sudoku."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from penstroke.errors import ConfigError
from penstroke.forms.grids import Grid
from penstroke.inference.recognizer import Recognizer

Probabilities = npt.NDArray[np.float64]
GridRules = Literal["sudoku"]
_MOST_STATES = 20_000
"""Of the search for what the rules admit: a legible puzzle takes a few, some hundredths of one."""
_MOST_SOLUTIONS = 20
_LEAST = 1e-6
"""Probability that no value is below: a network that is sure may be wrong."""


@dataclass(frozen=True)
class GridValue:
    """What one cell says.

    `value` is "" where it is empty; `status` is `doubtful` where the model by itself would not
    answer, or the rules leave a choice. `box` is (left, top, right, bottom) in the picture.
    """

    row: int
    column: int
    value: str
    probability: float
    status: Literal["accepted", "doubtful", "empty"]
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class GridReading:
    """What a grid says.

    `probability` is that of all cells together; `obeys_rules` is None where none were asked for,
    and False where nothing like what is written obeys them: then each cell is read for itself.
    """

    rows: int
    columns: int
    values: tuple[GridValue, ...]
    probability: float
    obeys_rules: bool | None = None

    def table(self) -> list[list[str]]:
        """Return the values, row by row."""
        values = [cell.value for cell in self.values]
        return [values[row * self.columns : (row + 1) * self.columns] for row in range(self.rows)]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, and the table."""
        cells = [vars(cell) for cell in self.values]
        return {**vars(self), "values": cells, "table": self.table()}


def read_grid(grid: Grid, recognizer: Recognizer, rules: GridRules | None = None) -> GridReading:
    """Return what the cells of `grid` say, read jointly under `rules` if there are any.

    ConfigError: the rules are for a grid of another size.
    """
    if rules and (grid.rows, grid.columns) != (9, 9):
        raise ConfigError(f"the rules of {rules} are for 9x9 cells, not {grid.rows}x{grid.columns}")
    filled = [k for k, cell in enumerate(grid.cells) if not cell.is_empty]
    answers = recognizer.recognize([grid.cells[k].image for k in filled])
    filled = [k for k, answer in zip(filled, answers, strict=True) if answer.probabilities]
    answers = [answer for answer in answers if answer.probabilities]
    classes = [k for k, name in enumerate(recognizer.classes) if not rules or name in "123456789"]
    if rules and len(classes) != 9:
        raise ConfigError("the rules of sudoku need a model that reads the digits 1 to 9")
    shares = np.array([list(answer.probabilities.values()) for answer in answers], float)
    shares = np.maximum(shares.reshape(-1, len(recognizer.classes))[:, classes], _LEAST)
    shares /= shares.sum(axis=1, keepdims=True)
    chosen, sure, obeys = shares.argmax(axis=1), shares.max(axis=1, initial=0), None
    probability = float(sure.prod())
    if rules:
        solutions = solve_sudoku(np.log(shares), filled)
        obeys = bool(solutions)
        if solutions:
            weights = np.exp([score - solutions[0][0] for score, _ in solutions])
            weights /= weights.sum()
            found = np.stack([values for _, values in solutions])
            chosen, probability = found[0], float(weights[0])
            sure = np.array([weights[found[:, k] == chosen[k]].sum() for k in range(len(filled))])
    values = {}
    for k, answer, value, share in zip(filled, answers, chosen, sure, strict=True):
        is_clear = share >= recognizer.confidence_threshold and (obeys or answer.status == "ok")
        values[k] = (recognizer.classes[classes[value]], float(share),
                     "accepted" if is_clear and obeys is not False else "doubtful")  # fmt: skip
    cells = tuple(
        GridValue(cell.row, cell.column, *values.get(k, ("", 1.0, "empty")), cell.box)  # type: ignore[arg-type]
        for k, cell in enumerate(grid.cells)
    )
    return GridReading(grid.rows, grid.columns, cells, probability, obeys)


def solve_sudoku(
    scores: Probabilities, places: list[int]
) -> list[tuple[float, npt.NDArray[np.intp]]]:
    """Return the likeliest values (N,) of cells that obey the rules, with the sum of their scores.

    `scores` (N, 9) are log-probabilities of the digits 1 to 9 in the cells numbered `places`, row
    by row; other cells are empty. Best first, 20 at most; none where a search of 20,000 states
    finds none. A state forbids values of cells; of two equal digits in a unit, either the first is
    another, or all others there are.
    """
    row, column = np.divmod(np.array(places, np.intp), 9)
    unit = np.stack([row, column, row // 3 * 3 + column // 3])
    sees = (unit[:, :, None] == unit[:, None]).any(axis=0) & ~np.eye(len(places), dtype=bool)
    number = itertools.count()  # a tie is broken by age
    start = scores.astype(float)
    queue = [(-float(start.max(axis=1, initial=-np.inf).sum()), next(number), start)]
    solutions: list[tuple[float, npt.NDArray[np.intp]]] = []
    while queue and next(number) < _MOST_STATES and len(solutions) < _MOST_SOLUTIONS:
        cost, _, state = heapq.heappop(queue)
        best = state.argmax(axis=1)
        clashes = sees & (best[:, None] == best)
        if not clashes.any():
            solutions.append((-cost, best))
            # Go on with the next best: cell by cell, this value is kept and the next is another.
            children = []
            for cell in np.flatnonzero((state > -np.inf).sum(axis=1) > 1):
                children.append(_forbid(state, [cell], best[cell]))
                state = _only(state, cell, best[cell])
        else:
            cell = clashes.sum(axis=1).argmax()
            children = [
                _forbid(state, [cell], best[cell]),
                _forbid(_only(state, cell, best[cell]), np.flatnonzero(sees[cell]), best[cell]),
            ]
        for child in children:
            total = float(child.max(axis=1).sum())
            if total > -np.inf:
                heapq.heappush(queue, (-total, next(number), child))
    return solutions


def _forbid(state: Probabilities, cells: Any, value: Any) -> Probabilities:
    changed = state.copy()
    changed[cells, value] = -np.inf
    return changed


def _only(state: Probabilities, cell: Any, value: Any) -> Probabilities:
    changed = state.copy()
    changed[cell] = -np.inf
    changed[cell, value] = state[cell, value]
    return changed
