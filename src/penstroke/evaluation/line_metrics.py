"""How well lines are read: exact match, character error rate, edits, coverage and precision."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from penstroke.data.dataset import Rows, Writers
from penstroke.data.edits import align
from penstroke.data.lines import LineDataset
from penstroke.data.splitting import writer_groups
from penstroke.errors import RunError
from penstroke.evaluation.calibration import PRECISIONS, compare_with_accuracy
from penstroke.evaluation.intervals import (
    Interval,
    error_rate_interval,
    new_writer_interval,
    wilson,
)
from penstroke.files import csv_of, explained, write_atomically
from penstroke.inference.line_decoding import decode, text_log_probability

Span = tuple[int, int]
"""First and last column of a character in the network's output; a column is 4 pixels wide."""
Floats = npt.NDArray[np.float64]

_LENGTH_GROUP = 0.05
_SMALLEST_LENGTH_GROUP = 20
"""A group of lengths holds at least that share of the lines, and at least as many lines."""


def without_signs(text: str) -> str:
    """Return the letters and digits of `text`."""
    return "".join(filter(str.isalnum, text))


@dataclass(frozen=True, eq=False)
class LinePredictions:
    """What each of N lines says, and what it was read as.

    Attributes:
        texts: what is written.
        predicted: the likeliest string.
        probabilities: (N,) of that string.
        spans: where each of its characters is.
        writers: (N,) who wrote each line, "" where that is not known; None if it never is.
    """

    texts: tuple[str, ...]
    predicted: tuple[str, ...]
    probabilities: Floats
    spans: tuple[tuple[Span, ...], ...]
    writers: Writers | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether each line was read exactly: (N,)."""
        pairs = zip(self.texts, self.predicted, strict=True)
        return np.array([text == predicted for text, predicted in pairs], bool)

    @cached_property
    def alignments(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """See `align`, of each line."""
        return tuple(map(align, self.texts, self.predicted))

    @cached_property
    def edits(self) -> npt.NDArray[np.int64]:
        """Fewest insertions, deletions and substitutions from each text to its prediction: (N,)."""
        return np.array([sum(a != b for a, b in pairs) for pairs in self.alignments], np.int64)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Characters of each text: (N,)."""
        return np.array([len(text) for text in self.texts], np.int64)

    @cached_property
    def metrics(self) -> LineMetrics:
        """The figures; there has to be at least one line."""
        return line_metrics(self)

    @classmethod
    def concatenate(cls, parts: Sequence[LinePredictions]) -> LinePredictions:
        """Return the lines of all `parts`, one after the other."""
        writers = [part.writers for part in parts if part.writers is not None]
        return cls(
            tuple(text for part in parts for text in part.texts),
            tuple(text for part in parts for text in part.predicted),
            np.concatenate([part.probabilities for part in parts]),
            tuple(spans for part in parts for spans in part.spans),
            np.concatenate(writers) if len(writers) == len(parts) else None,
        )

    def worst_mistakes(self, count: int) -> Rows:
        """Return indices of misread lines, those read with the highest probability first."""
        wrong = np.flatnonzero(~self.is_right)
        return wrong[np.argsort(-self.probabilities[wrong], kind="stable")[:count]]

    def save(self, path: Path) -> None:
        """Write a CSV file with a line for each line of writing."""
        writers = [""] * len(self) if self.writers is None else self.writers.tolist()
        rows = (
            {"text": text, "predicted": predicted, "probability": repr(float(probability)),
             "columns": " ".join(f"{first}-{last}" for first, last in spans), "writer": writer}
            for text, predicted, probability, spans, writer in zip(
                self.texts, self.predicted, self.probabilities, self.spans, writers, strict=True
            )
        )  # fmt: skip
        names = ["text", "predicted", "probability", "columns"]
        names += [] if self.writers is None else ["writer"]
        write_atomically(path, csv_of(names, rows))

    @classmethod
    def load(cls, path: Path) -> LinePredictions:
        """Read what `save` wrote; RunError if it is missing or damaged."""
        advice = "`penstroke evaluate` writes it"
        try:
            with explained(f"read {path}", RunError):
                content = path.read_bytes().decode()
            rows = list(csv.DictReader(io.StringIO(content, newline=""), strict=True))
            has_writers = "writer" in rows[0]
            return cls(
                tuple(row["text"] for row in rows),
                tuple(row["predicted"] for row in rows),
                np.array([float(row["probability"]) for row in rows]),
                tuple(tuple(map(_span, row["columns"].split())) for row in rows),
                np.array([row["writer"] for row in rows], str) if has_writers else None,
            )
        except RunError as error:
            raise RunError(f"{error}: {advice}") from None
        except (LookupError, TypeError, ValueError, AttributeError, csv.Error):
            text = f"{path} is damaged: it holds no texts and predictions: {advice}"
            raise RunError(text) from None


def _span(text: str) -> Span:
    first, last = text.split("-")
    return int(first), int(last)


@dataclass(frozen=True)
class Rate:
    """A share, or a rate of errors, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LengthMetrics:
    """How lines of `shortest` to `longest` characters are read."""

    shortest: int
    longest: int
    lines: int
    exact: Rate
    cer: float


@dataclass(frozen=True)
class Edit:
    """A mistake that is made `count` times: `text` is read as `predicted`.

    One of them is "": the character was missed, or one is read where there is none.
    """

    text: str
    predicted: str
    count: int
    occurrences: int  # of `text` in all texts; 0 of an insertion

    @property
    def kind(self) -> str:
        """Substitution, deletion or insertion."""
        if not self.text:
            return "insertion"
        return "substitution" if self.predicted else "deletion"


@dataclass(frozen=True, eq=False)
class CoverageCurve:
    """Shares of lines answered, and of these answers right, by the least probability: (K,) each."""

    coverage: Floats
    precision: Floats
    thresholds: Floats


@dataclass(frozen=True)
class CoverageAtPrecision:
    """The most lines that can be answered, likeliest first, so that `precision` of them are right.

    `threshold` is the probability of the last one; None, and `coverage` 0, where none can be.
    """

    precision: float
    coverage: float
    threshold: float | None


@dataclass(frozen=True)
class LineMetrics:
    """Figures of N lines; intervals are over writers where two or more are known, else over lines.

    Attributes:
        lines: how many.
        characters: of their texts.
        writers: how many are known.
        exact: share of the lines that are read without any mistake.
        digits: the same of letters and digits alone, signs such as `.` and `-` left out.
        cer: character error rate, the edits of all lines over their characters.
        substitutions, deletions, insertions: the edits.
        calibration_error: of the probability of the whole line.
        by_length: the shortest lines first.
        edits: the most frequent first.
        coverage: at precisions of 90 to 99.9 %.
    """

    lines: int
    characters: int
    writers: int
    exact: Rate
    digits: Rate
    cer: Rate
    substitutions: int
    deletions: int
    insertions: int
    calibration_error: float
    by_length: tuple[LengthMetrics, ...]
    edits: tuple[Edit, ...]
    coverage: tuple[CoverageAtPrecision, ...]

    def figures(self, prefix: str = "") -> dict[str, float]:
        """Return the figures for a summary, each name after `prefix`."""
        at_99 = next(one.coverage for one in self.coverage if one.precision == 0.99)
        values = {
            "accuracy": self.exact.value,
            "accuracy_low": self.exact.low, "accuracy_high": self.exact.high,
            "digits": self.digits.value,
            "character_error_rate": self.cer.value,
            "character_error_rate_low": self.cer.low, "character_error_rate_high": self.cer.high,
            "coverage_at_99": at_99, "ece": self.calibration_error,
        }  # fmt: skip
        return {prefix + name: value for name, value in values.items()}


@dataclass(frozen=True, eq=False)
class LineEvaluation:
    """The predictions of one split, the lines they are of, and their loss.

    The loss is the mean over lines of the negative log-probability of the text for each of its
    characters, in nats (CTC); lines with fewer columns than their text needs are left out.
    """

    predictions: LinePredictions
    lines: LineDataset
    loss: float

    def figures(self, prefix: str) -> dict[str, float]:
        """Return the figures for a summary, each name after `prefix`."""
        loss = {f"{prefix}loss": self.loss} if math.isfinite(self.loss) else {}
        return self.metrics.figures(prefix) | loss

    @property
    def metrics(self) -> LineMetrics:
        """The figures."""
        return self.predictions.metrics


def evaluate_lines(
    log_probs: Iterable[npt.NDArray[np.float32]], lines: LineDataset
) -> LineEvaluation:
    """Return how well `lines` are read from the network's output for each, decoded freely.

    `log_probs` are of each line (T, 1 + len(lines.alphabet)), at the temperature of the model file.
    """
    decoded, losses = [], []
    for output, text in zip(log_probs, lines.texts, strict=True):
        decoded.append(decode(output, lines.alphabet)[0])
        losses.append(-text_log_probability(output, text, lines.alphabet) / max(len(text), 1))
    predictions = LinePredictions(
        lines.texts,
        tuple(one.text for one in decoded),
        np.array([one.probability for one in decoded], float),
        tuple(tuple((span.first, span.last) for span in one.spans) for one in decoded),
        lines.writers,
    )
    finite = [loss for loss in losses if math.isfinite(loss)]
    return LineEvaluation(predictions, lines, float(np.mean(finite)) if finite else math.inf)


def line_metrics(predictions: LinePredictions) -> LineMetrics:
    """Return the figures of at least one line."""
    is_right, edits, lengths = predictions.is_right, predictions.edits, predictions.lengths
    writers = predictions.writers
    pairs = zip(predictions.texts, predictions.predicted, strict=True)
    digits = np.array([without_signs(a) == without_signs(b) for a, b in pairs], bool)
    counted = Counter(pair for pairs in predictions.alignments for pair in pairs)
    occurrences = Counter("".join(predictions.texts))
    ranked = tuple(
        Edit(text, predicted, count, occurrences[text])
        for (text, predicted), count in sorted(counted.items(), key=lambda item: (-item[1], item))
        if text != predicted
    )
    kinds = Counter(dict.fromkeys(("substitution", "deletion", "insertion"), 0))
    for edit in ranked:
        kinds[edit.kind] += edit.count
    return LineMetrics(
        lines=len(predictions),
        characters=int(lengths.sum()),
        writers=0 if writers is None else len(np.unique(writers[writers != ""])),
        exact=_share(is_right, writers),
        digits=_share(digits, writers),
        cer=_error_rate(edits, lengths, writers),
        substitutions=kinds["substitution"],
        deletions=kinds["deletion"],
        insertions=kinds["insertion"],
        calibration_error=compare_with_accuracy(predictions.probabilities, is_right).ece,
        by_length=tuple(
            LengthMetrics(
                int(lengths[rows].min()), int(lengths[rows].max()), len(rows),
                _share(is_right[rows], None if writers is None else writers[rows]),
                float(edits[rows].sum() / lengths[rows].sum()),
            )
            for rows in _by_length(lengths)
        ),
        edits=ranked,
        coverage=coverage_at_precisions(predictions.probabilities, is_right),
    )  # fmt: skip


def coverage_curve(probabilities: Floats, is_right: npt.NDArray[np.bool_]) -> CoverageCurve:
    """Return coverage and precision as more lines (N,) are answered, likeliest first.

    Lines of equal probability are answered together (El-Yaniv & Wiener 2010).
    """
    order = np.argsort(-probabilities, kind="stable")
    thresholds = probabilities[order]
    ends = np.flatnonzero(np.diff(thresholds, append=-1.0))
    answered = ends + 1
    precision = np.cumsum(is_right[order])[ends] / answered
    return CoverageCurve(answered / len(order), precision, thresholds[ends])


def coverage_at_precisions(
    probabilities: Floats,
    is_right: npt.NDArray[np.bool_],
    precisions: Sequence[float] = PRECISIONS,
) -> tuple[CoverageAtPrecision, ...]:
    """Return the largest coverage at each of `precisions`."""
    curve = coverage_curve(probabilities, is_right)
    found = []
    for precision in precisions:
        reached = np.flatnonzero(curve.precision >= precision)
        last = reached[-1] if len(reached) else None
        found.append(
            CoverageAtPrecision(precision, 0.0, None)
            if last is None
            else CoverageAtPrecision(
                precision, float(curve.coverage[last]), float(curve.thresholds[last])
            )
        )
    return tuple(found)


def _share(is_right: npt.NDArray[np.bool_], writers: Writers | None) -> Rate:
    right, lines = sums_by_unit(
        writers, is_right.astype(np.int64), np.ones_like(is_right, np.int64)
    )
    interval: Interval
    if len(lines) < len(is_right):
        interval, _ = new_writer_interval(right, lines)
    else:
        interval = wilson(int(right.sum()), len(lines))
    return Rate(float(is_right.mean()), *interval)


def _error_rate(
    edits: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], writers: Writers | None
) -> Rate:
    errors, sizes = sums_by_unit(writers, edits, lengths)
    return Rate(float(edits.sum() / lengths.sum()), *error_rate_interval(errors, sizes))


def sums_by_unit(
    writers: Writers | None, *counts: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Return the sums of `counts` (N,) by writer; as they are if fewer than two are known."""
    if writers is None or len(np.unique(writers[writers != ""])) < 2:
        return list(counts)
    _, units = np.unique(writer_groups(writers), return_inverse=True)
    return [np.bincount(units, count).astype(np.int64) for count in counts]


def _by_length(lengths: npt.NDArray[np.int64]) -> list[Rows]:
    """Return the rows of each group of lengths, the shortest first, none too small to say much."""
    least = max(_SMALLEST_LENGTH_GROUP, math.ceil(_LENGTH_GROUP * len(lengths)))
    groups: list[Rows] = []
    pending = np.zeros(0, np.intp)
    for length in np.unique(lengths):
        pending = np.concatenate([pending, np.flatnonzero(lengths == length)])
        if len(pending) >= least:
            groups.append(pending)
            pending = pending[:0]
    if len(pending):
        groups = [*groups[:-1], np.concatenate([*groups[-1:], pending])]
    return groups
