"""Data sets of lines: strips of writing of any width, each with its text."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Dataset, Rows, Sealed, Sources, Writers, writer_count
from penstroke.errors import DataError
from penstroke.preprocessing.strips import LEVELS_PER_DEVIATION, PAPER, STRIP_HEIGHT, Strip


@dataclass(frozen=True, eq=False)
class LineDataset:
    """Strips and their texts.

    Attributes:
        pixels: of all strips one after the other, uint8, row by row (see
            `penstroke.preprocessing.strips`).
        widths: (N,) int64, of each strip in pixels.
        texts: what each says, in characters of `alphabet`.
        alphabet: every character that a text may hold, each once.
        writers: (N,) who wrote each line, "" where that is not known; None if it never is.
    """

    pixels: npt.NDArray[np.uint8]
    widths: npt.NDArray[np.int64]
    texts: tuple[str, ...]
    alphabet: str
    writers: Writers | None = None

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.texts):
            raise DataError(f"{len(self.widths)} lines but {len(self.texts)} texts")
        if self.writers is not None and len(self.writers) != len(self.texts):
            raise DataError(f"{len(self.texts)} texts but {len(self.writers)} writers")
        if int(self.widths.sum()) * STRIP_HEIGHT != len(self.pixels):
            raise DataError(f"{len(self.pixels)} pixels do not fit the widths of the lines")
        if unknown := set("".join(self.texts)) - set(self.alphabet):
            raise DataError(
                f"texts hold {''.join(sorted(unknown))!r}, which is not in the alphabet"
            )

    @classmethod
    def of(
        cls,
        strips: Sequence[Strip],
        texts: Sequence[str],
        alphabet: str | None = None,
        writers: Writers | None = None,
    ) -> LineDataset:
        """Return the data set of `strips`, each (STRIP_HEIGHT, W) uint8, and their `texts`.

        Without an `alphabet`, it is the characters of the texts, sorted.
        """
        pixels = np.concatenate([np.zeros(0, np.uint8), *(strip.reshape(-1) for strip in strips)])
        widths = np.array([strip.shape[1] for strip in strips], np.int64)
        known = "".join(sorted(set("".join(texts)))) if alphabet is None else alphabet
        return cls(pixels, widths, tuple(texts), known, writers)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def classes(self) -> tuple[str, ...]:
        """What the outputs of a network stand for: CTC's blank, "", then the alphabet."""
        return ("", *self.alphabet)

    @property
    def mean_and_std(self) -> tuple[float, float]:
        """Paper, and a standard deviation of ink, in 0..1: a padded line is one on more paper."""
        return PAPER / 255, LEVELS_PER_DEVIATION / 255

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.widths)]) * STRIP_HEIGHT

    def strip(self, row: int) -> Strip:
        """Return the strip at `row`: (STRIP_HEIGHT, W) uint8."""
        start, end = self._starts[row : row + 2]
        return self.pixels[start:end].reshape(STRIP_HEIGHT, -1)

    def subset(self, rows: Rows) -> LineDataset:
        """Return the lines at `rows` as a data set of the same alphabet."""
        writers = None if self.writers is None else self.writers[rows]
        strips, texts = [self.strip(int(row)) for row in rows], [self.texts[row] for row in rows]
        return LineDataset.of(strips, texts, self.alphabet, writers)

    @property
    def writer_count(self) -> int:
        """Number of known writers."""
        return writer_count(self.writers)

    def character_counts(self) -> dict[str, int]:
        """Return how often each character of the alphabet occurs in the texts."""
        counts = Counter("".join(self.texts))
        return {character: counts[character] for character in self.alphabet}

    def is_in(self, other: LineDataset) -> npt.NDArray[np.bool_]:
        """Return which lines (N,) are in `other` too, pixel for pixel."""
        known = {other.strip(row).tobytes() for row in range(len(other))}
        return np.array([self.strip(row).tobytes() in known for row in range(len(self))], bool)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over strips, texts and alphabet."""
        digest = hashlib.sha256(json.dumps([self.alphabet, self.texts]).encode())
        digest.update(np.ascontiguousarray(self.widths, "<i8").data)
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()


def printable_alphabet(alphabet: str) -> str:
    """Return `alphabet` with a space that can be seen."""
    return alphabet.replace(" ", "␣")


def united_alphabet(parts: Sequence[LineDataset]) -> str:
    """Return the characters of all the alphabets, sorted."""
    return "".join(sorted({character for part in parts for character in part.alphabet}))


def united_lines(parts: Sequence[LineDataset]) -> LineDataset:
    """Return the lines of all `parts`, over their `united_alphabet`."""
    writers = [np.full(len(p), "") if p.writers is None else p.writers for p in parts]
    return LineDataset(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.widths for part in parts]),
        tuple(text for part in parts for text in part.texts),
        united_alphabet(parts),
        np.concatenate(writers) if any(p.writers is not None for p in parts) else None,
    )


@dataclass(frozen=True, eq=False)
class LineSplits:
    """Training, validation and (sealed) test lines, and the characters to compose more of.

    All lines are over one alphabet, which includes that of the composed ones.

    Attributes:
        name: of the data set.
        train: real lines to learn from; none where all are composed.
        validation: to choose settings and epochs by; may be empty.
        test: sealed; `penstroke.evaluate` opens it, and records that.
        fingerprint: SHA-256 of all real lines and of the characters, before they are split.
        characters: training characters that more training lines are composed of; None without
            `RunConfig.synthesis`.
        split_writers: SHA-256 of the writers whose lines were kept together; None if by line.
        validation_sources: (N,) which data set of a union each validation line is of; None if that
            is not known.
        too_narrow: training lines that were left out, as their texts have more characters than the
            network's output has columns.
    """

    name: str
    train: LineDataset
    validation: LineDataset
    test: Sealed[LineDataset]
    fingerprint: str
    characters: Dataset | None = None
    split_writers: str | None = None
    validation_sources: Sources | None = None
    too_narrow: int = 0

    @property
    def alphabet(self) -> str:
        """Every character that a text may hold; class k + 1 of the network is the k-th."""
        return self.train.alphabet

    @property
    def classes(self) -> tuple[str, ...]:
        """See `LineDataset.classes`."""
        return self.train.classes
