"""One self-contained page about a run: no script, no network, readable in print and in the dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.evaluation.forgetting import Forgetting
from penstroke.evaluation.intervals import wilson
from penstroke.evaluation.metrics import most_confused
from penstroke.files import write_text_atomically
from penstroke.models.summary import NetworkSummary, summarize
from penstroke.reports import plots
from penstroke.reports.contact_sheet import contact_sheet
from penstroke.reports.html import render
from penstroke.reports.mistakes import error_sheets, worst_mistakes

if TYPE_CHECKING:
    from penstroke.evaluation.evaluator import Evaluation
    from penstroke.runs.run import Run

_WORST_SHOWN = 24
_TOP = 3


def write_report(run: Run, judged: Evaluation) -> Path:
    """Write report/index.html of a run, its test split in detail; return its path."""
    metrics = judged.metrics["test"]
    predictions = judged.predictions["test"].at(judged.temperature)
    images = judged.test_images
    record, history = run.record, run.history()
    network = summarize(judged.network)
    page = render(
        "run.html.j2",
        name=run.name,
        created=record.created,
        architecture=record.config.model.architecture,
        dataset=record.config.data.dataset,
        classes=record.data.classes,
        select=record.config.train.checkpoint_metric,
        best_epoch=run.best_epoch() if history else None,
        history=history,
        members=record.members,
        pretrained=record.pretrained,
        old=Forgetting.load(run.path),
        cards=_cards(judged, network, run.elapsed_seconds()),
        splits=judged.metrics,
        mistakes={s: round(m.images * (1 - m.accuracy)) for s, m in judged.metrics.items()},
        intervals=judged.intervals,
        top=(_TOP, predictions.top_accuracy(_TOP)) if len(record.data.classes) > _TOP else None,
        absent=metrics.absent,
        verdict=judged.verdict,
        curves=_curves(judged),
        confusion=plots.confusion_matrix(metrics.confusion, record.data.classes),
        confused=most_confused(metrics.confusion, record.data.classes),
        look_alikes=judged.look_alikes,
        by_class=[(c, wilson(round(c.recall * c.images), c.images)) for c in metrics.classes],
        temperature=judged.temperature,
        calibration=judged.calibrations,
        reliability=plots.reliability(*judged.calibrations),
        worst=worst_mistakes(judged.network, predictions, images, judged.data.train, _WORST_SHOWN),
        sheets=error_sheets(predictions, images, metrics),
        sheet=plots.data_uri(contact_sheet(judged.data.train)),
        network=network,
        record=record.to_toml(),
    )
    path = run.path / "report" / "index.html"
    write_text_atomically(path, page)
    return path


def _curves(judged: Evaluation) -> str:
    if judged.verdict is None:
        return ""
    history = list(judged.history)
    best_epoch = history[-1]["best_epoch"]
    return plots.learning_curves(history, best_epoch, judged.verdict.lowest_epoch)


def _cards(judged: Evaluation, network: NetworkSummary, seconds: float) -> list[tuple[str, str]]:
    metrics, (low, high) = judged.metrics["test"], judged.intervals.accuracy
    return [
        ("test accuracy", f"{100 * metrics.accuracy:.2f} %"),
        ("its 95 % interval", f"{100 * low:.2f}–{100 * high:.2f} %"),
        ("test loss", f"{metrics.loss:.4f}"),
        ("macro AUROC", f"{metrics.auroc:.5f}"),
        ("macro F1", f"{metrics.f1:.4f}"),
        ("calibration error", f"{100 * judged.calibrations[1].ece:.2f} %"),
        ("training time", f"{seconds:.1f} s"),
        ("parameters", f"{network.parameters:,}"),
        ("multiply-adds an image", f"{network.multiply_adds:,}"),
    ]
