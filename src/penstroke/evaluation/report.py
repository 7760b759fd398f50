"""One self-contained page about a run: no script, no network, readable in print and in the dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstroke.datasets import Dataset
from penstroke.datasets.sheet import contact_sheet
from penstroke.evaluation import plots
from penstroke.evaluation.metrics import Metrics
from penstroke.evaluation.page import render
from penstroke.evaluation.predictions import Predictions
from penstroke.files import write_text_atomically
from penstroke.models import NetworkSummary
from penstroke.runs import Run

_WORST_SHOWN = 24
_ANSWERS_SHOWN = 3


def write_report(
    run: Run,
    *,
    metrics: dict[str, Metrics],
    predictions: Predictions,
    pictures: Dataset,
    samples: Dataset,
    network: NetworkSummary,
) -> Path:
    """Write report/index.html and return its path.

    Args:
        run: the finished run.
        metrics: by split; the last one is shown in detail.
        predictions: of the split shown in detail.
        pictures: of that split.
        samples: the training pictures.
        network: layers and costs.
    """
    shown = list(metrics)[-1]
    history = run.history()
    page = render(
        "penstroke.evaluation",
        "report.html.j2",
        name=run.name,
        created=run.record.created,
        architecture=run.record.config.model.architecture,
        dataset=run.record.config.data.dataset,
        classes=run.record.data.classes,
        select=run.record.config.train.select,
        best_epoch=run.best_epoch() if history else None,
        history=history,
        members=run.record.members,
        cards=_cards(run, metrics[shown], shown, network),
        splits=metrics,
        mistakes={split: round(m.images * (1 - m.accuracy)) for split, m in metrics.items()},
        shown=shown,
        absent=metrics[shown].absent,
        curves=plots.learning_curves(history, run.best_epoch()) if history else "",
        confusion=plots.confusion_matrix(metrics[shown].confusion, run.record.data.classes),
        worst=[
            _mistake(predictions, pictures, i) for i in predictions.worst_mistakes(_WORST_SHOWN)
        ],
        sheet=plots.data_uri(contact_sheet(samples)),
        network=network,
        record=run.record.to_toml(),
    )
    path = run.path / "report" / "index.html"
    write_text_atomically(path, page)
    return path


def _cards(
    run: Run, metrics: Metrics, shown: str, network: NetworkSummary
) -> list[tuple[str, str]]:
    return [
        (f"{shown} accuracy", f"{100 * metrics.accuracy:.2f} %"),
        (f"{shown} loss", f"{metrics.loss:.4f}"),
        ("macro AUROC", f"{metrics.auroc:.5f}"),
        ("macro F1", f"{metrics.f1:.4f}"),
        ("training time", f"{run.elapsed_seconds():.1f} s"),
        ("parameters", f"{network.parameters:,}"),
        ("multiply-adds an image", f"{network.multiply_adds:,}"),
    ]


def _mistake(predictions: Predictions, pictures: Dataset, index: int) -> dict[str, Any]:
    probabilities, truth = predictions.probabilities[index], int(predictions.labels[index])
    answers = [int(k) for k in probabilities.argsort()[::-1][:_ANSWERS_SHOWN]]
    answers += [truth] if truth not in answers else []
    names = predictions.classes
    return {
        "index": index,
        "uri": plots.png_uri(pictures.images[index]),
        "truth": names[truth],
        "read": names[answers[0]],
        "bars": [(names[k], float(probabilities[k]), k == truth) for k in answers],
    }
