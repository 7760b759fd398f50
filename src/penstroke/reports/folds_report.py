"""The report of a cross-validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.data.dataset import Dataset
from penstroke.evaluation.metrics import compute_metrics, most_confused
from penstroke.evaluation.predictions import Predictions
from penstroke.reports import plots
from penstroke.reports.contact_sheet import contact_sheet
from penstroke.reports.html import write_page
from penstroke.reports.mistakes import class_mistakes, class_rows

if TYPE_CHECKING:
    from penstroke.runs.run import FoldsSummary


def write_folds_report(
    folder: Path, figures: FoldsSummary, predictions: Predictions, images: Dataset
) -> Path:
    """Write report/index.html: `predictions` on `images`, in one order, and the `figures`."""
    metrics = compute_metrics(predictions)
    return write_page(
        folder / "report" / "index.html",
        "folds.html.j2",
        name=folder.name,
        figures=figures,
        confusion=plots.confusion_matrix(metrics.confusion, predictions.classes),
        confused=most_confused(metrics.confusion, predictions.classes),
        class_rows=class_rows(metrics),
        class_mistakes=class_mistakes(predictions, images, metrics),
        sheet=contact_sheet(images),
    )
