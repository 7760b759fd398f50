"""The page of a cross-validation (folds.html.j2)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.data.dataset import Dataset
from penstroke.evaluation.intervals import wilson
from penstroke.evaluation.metrics import compute_metrics, most_confused
from penstroke.evaluation.predictions import Predictions
from penstroke.files import write_text_atomically
from penstroke.reports import plots
from penstroke.reports.contact_sheet import contact_sheet
from penstroke.reports.html import render
from penstroke.reports.mistakes import error_sheets

if TYPE_CHECKING:
    from penstroke.runs.summaries import FoldsSummary


def write_folds_report(
    path: Path, name: str, figures: FoldsSummary, said: Predictions, images: Dataset
) -> None:
    """Write the page to `path`: `said` of `images`, in one order, with the pooled `figures`."""
    metrics = compute_metrics(said)
    page = render(
        "folds.html.j2",
        name=name,
        figures=figures,
        cards=_cards(figures),
        intervals=figures.intervals,
        confusion=plots.confusion_matrix(metrics.confusion, said.classes),
        confused=most_confused(metrics.confusion, said.classes),
        by_class=[(c, wilson(round(c.recall * c.images), c.images)) for c in metrics.classes],
        sheets=error_sheets(said, images, metrics),
        sheet=plots.data_uri(contact_sheet(images)),
    )
    write_text_atomically(path, page)


def _cards(figures: FoldsSummary) -> list[tuple[str, str]]:
    low, high = figures.intervals["accuracy"]
    return [
        ("accuracy", f"{100 * figures.accuracy:.2f} %"),
        ("its 95 % interval", f"{100 * low:.2f}–{100 * high:.2f} %"),
        ("fold by fold", f"{100 * figures.fold_mean:.2f} ± {100 * figures.fold_sd:.2f} %"),
        ("balanced accuracy", f"{100 * figures.balanced_accuracy:.2f} %"),
        ("macro F1", f"{figures.f1:.4f}"),
        ("loss", f"{figures.loss:.4f}"),
        ("images", f"{figures.images:,}"),
        ("training time", f"{figures.elapsed_seconds:.1f} s"),
    ]
