"""The report of a run that reads lines: figures, edits, coverage, and the worst lines aligned."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.data.dataset import Images
from penstroke.errors import ModelFileError
from penstroke.evaluation.line_metrics import (
    LineEvaluation,
    LinePredictions,
    Span,
    coverage_curve,
)
from penstroke.models.summary import summarize
from penstroke.preprocessing.strips import STRIP_HEIGHT
from penstroke.reports import plots
from penstroke.reports.html import write_page
from penstroke.reports.model_card import write_card_page

if TYPE_CHECKING:
    from penstroke.evaluation.line_evaluator import LineNetworkEvaluation
    from penstroke.runs.run import FoldsSummary, Run, RunSummary

_WORST, _EDITS = 24, 20
_SUMMARY_WIDTH = 192
"""Pixels of the strip that multiply-adds are counted for."""
_SCALE = 2
"""CSS pixels for each pixel of a strip."""
_COLUMN, _LETTER = 4 * _SCALE, 11
"""CSS pixels of a column of the network, and of a letter: closer ones are moved apart."""


@dataclass(frozen=True)
class AlignedCharacter:
    """A character under its column: what is written and what was read, "" for none."""

    text: str
    predicted: str
    center: float  # in CSS pixels from the left edge of the image

    @property
    def differs(self) -> bool:
        """Whether it was misread."""
        return self.text != self.predicted


@dataclass(frozen=True, eq=False)
class LineMistake:
    """A misread line: its strip as ink on paper, and what is written and read along it."""

    index: int  # in its split
    image: Images  # (32, W)
    text: str
    predicted: str
    probability: float
    edits: int
    characters: tuple[AlignedCharacter, ...]

    @property
    def width(self) -> int:
        """Of the image, in CSS pixels."""
        return _SCALE * int(self.image.shape[1])

    @property
    def full_width(self) -> int:
        """The same, or more where the characters need it."""
        return max(self.width, *(round(one.center + _LETTER) for one in self.characters))


def write_line_report(run: Run, results: LineNetworkEvaluation, figures: RunSummary) -> Path:
    """Write report/index.html of a run, its validation lines in detail, and its model card.

    Without validation lines, the details are of the test. Returns: the path of the report.
    """
    links = []
    with contextlib.suppress(ModelFileError):  # model.onnx was lost
        links.append(("Model card", write_card_page(run, figures).name))
    split = "validation" if "validation" in results.splits else "test"
    evaluation, history = results.splits[split], run.history()
    predictions, metrics = evaluation.predictions, evaluation.metrics
    best_epoch = history[-1]["best_epoch"] if history else 0
    return write_page(
        run.path / "report" / "index.html",
        "line_run.html.j2",
        name=run.name,
        links=links,
        run=run,
        metrics={name: one.metrics for name, one in results.splits.items()},
        split=split,
        detail=metrics,
        best_epoch=best_epoch,
        epochs=len(history),
        curves=[
            plots.learning_curves(history, best_epoch, names=[name])
            for name in plots.CURVES
            if any(f"{part}_{name}" in line for line in history for part in ("train", "val"))
        ],
        by_length=plots.exact_by_length(metrics.by_length),
        coverage=plots.coverage(coverage_curve(predictions.probabilities, predictions.is_right)),
        edits=metrics.edits[:_EDITS],
        worst=[line_mistake(evaluation, row) for row in predictions.worst_mistakes(_WORST)],
        network=summarize(results.network, (STRIP_HEIGHT, _SUMMARY_WIDTH)),
        summary_width=_SUMMARY_WIDTH,
    )


def write_line_folds_report(
    folder: Path, figures: FoldsSummary, predictions: LinePredictions
) -> Path:
    """Write report/index.html of a cross-validation of line readers, and return its path."""
    metrics = predictions.metrics
    return write_page(
        folder / "report" / "index.html",
        "line_folds.html.j2",
        name=folder.name,
        figures=figures,
        by_length=plots.exact_by_length(metrics.by_length),
        coverage=plots.coverage(coverage_curve(predictions.probabilities, predictions.is_right)),
        edits=metrics.edits[:_EDITS],
    )


def line_mistake(evaluation: LineEvaluation, row: int) -> LineMistake:
    """Return the line at `row`, with each character under its columns."""
    predictions = evaluation.predictions
    alignment = predictions.alignments[row]
    strip = evaluation.lines.strip(row)
    return LineMistake(
        index=int(row),
        image=255 - strip,
        text=predictions.texts[row],
        predicted=predictions.predicted[row],
        probability=float(predictions.probabilities[row]),
        edits=int(predictions.edits[row]),
        characters=tuple(
            AlignedCharacter(text, predicted, center)
            for (text, predicted), center in zip(
                alignment,
                _centers(alignment, predictions.spans[row], _SCALE * strip.shape[1]),
                strict=True,
            )
        ),
    )


def _centers(
    alignment: tuple[tuple[str, str], ...], spans: tuple[Span, ...], width: int
) -> list[float]:
    """Return where the middle of each character is; those not read are spread between the others.

    In CSS pixels, as `width` of the image; at least a letter apart.
    """
    middles = iter([_COLUMN * (first + last + 1) / 2 for first, last in spans])
    known = [next(middles) if predicted else None for _, predicted in alignment]
    centers: list[float] = []
    for place, center in enumerate(known):
        if center is None:
            before = centers[-1] if centers else 0.0
            after = [k for k in range(place, len(known)) if known[k] is not None]
            missing = (after[0] if after else len(known)) - place
            end = known[after[0]] if after else width
            assert end is not None
            center = before + (end - before) / (missing + 1)
        centers.append(max(center, centers[-1] + _LETTER) if centers else center)
    return centers
