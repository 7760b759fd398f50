"""Columns of CTC, and all that they can write."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Columns = npt.NDArray[np.float64]


def log_softmax(logits: npt.ArrayLike) -> Columns:
    scores: Columns = np.asarray(logits, np.float64)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def columns_of(classes: list[int], count: int, probability: float = 0.97) -> Columns:
    """Columns in which each of `classes`, of `count`, has the `probability`."""
    rest = (1 - probability) / (count - 1)
    return np.log(np.where(np.arange(count) == np.array(classes)[:, None], probability, rest))


def every_text(columns: Columns, alphabet: str) -> dict[str, float]:
    """The probability of each text, by summing over all paths."""
    found: dict[str, float] = {}
    for path in itertools.product(range(columns.shape[1]), repeat=len(columns)):
        text = "".join(alphabet[k - 1] for k, _ in itertools.groupby(path) if k)
        probability = math.exp(sum(columns[t, k] for t, k in enumerate(path)))
        found[text] = found.get(text, 0.0) + probability
    return found


@st.composite
def lines(draw: st.DrawFn) -> tuple[Columns, str]:
    columns, characters = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    sharpness = draw(st.sampled_from([0.0, 1.0, 4.0, 20.0]))
    return log_softmax(rng.normal(size=(columns, characters + 1)) * sharpness), "abc"[:characters]
