"""The reports of a run and of a cross-validation: no scripts, readable in print and dark mode."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.data.dataset import Dataset
from penstroke.errors import ModelFileError
from penstroke.evaluation.forgetting import Forgetting
from penstroke.evaluation.metrics import compute_metrics, most_confused
from penstroke.evaluation.predictions import Predictions
from penstroke.models.summary import summarize
from penstroke.reports import plots
from penstroke.reports.contact_sheet import contact_sheet
from penstroke.reports.html import write_page
from penstroke.reports.mistakes import class_mistakes, class_rows, worst_mistakes
from penstroke.reports.model_card import write_card_page

if TYPE_CHECKING:
    from penstroke.evaluation.evaluator import Evaluation
    from penstroke.runs.run import FoldsSummary, Run, RunSummary

_TOP = 3


def write_run_report(run: Run, evaluation: Evaluation, figures: RunSummary) -> Path:
    """Write report/index.html of a run, its test split in detail, and its model card beside it.

    Returns: the path of the report.
    """
    pages = [("Robustness", run.path / "report" / "robustness.html")]
    with contextlib.suppress(ModelFileError):  # model.onnx was lost
        pages.insert(0, ("Model card", write_card_page(run, figures)))
    test, network, train = evaluation.metrics["test"], evaluation.network, evaluation.data.train
    predictions = evaluation.predictions["test"].at(evaluation.temperature)
    classes, history, diagnosis = predictions.classes, evaluation.history, evaluation.diagnosis
    best_epoch = history[-1]["best_epoch"] if history else 0
    return write_page(
        run.path / "report" / "index.html",
        "run.html.j2",
        name=run.name,
        links=[(text, page.name) for text, page in pages if page.exists()],
        evaluation=evaluation,
        run=run,
        test=test,
        best_epoch=best_epoch,
        forgetting=Forgetting.load(run.path),
        top=(_TOP, predictions.top_accuracy(_TOP)) if len(classes) > _TOP else None,
        curves=diagnosis
        and [
            plots.learning_curves(history, best_epoch, diagnosis.lowest_epoch, [name])
            for name in plots.CURVES
        ],
        confusion=plots.confusion_matrix(test.confusion, classes),
        confused=most_confused(test.confusion, classes),
        class_rows=class_rows(test),
        reliability=plots.reliability(*evaluation.calibrations),
        worst=worst_mistakes(network, predictions, evaluation.test_images, train, count=24),
        class_mistakes=class_mistakes(predictions, evaluation.test_images, test),
        sheet=contact_sheet(train),
        network=summarize(network),
    )


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
