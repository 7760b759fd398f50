"""One self-contained page about a search."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.files import write_text_atomically
from penstroke.reports import search_plots as plots
from penstroke.reports.html import render
from penstroke.reports.search_plots import TrialLine

if TYPE_CHECKING:
    from penstroke.search.result import SearchResult
    from penstroke.search.study import Study

_FEWEST_FOR_IMPORTANCE = 8


def write_report(study: Study, result: SearchResult) -> Path:
    """Write report/index.html of `study` and return its path.

    Args:
        study: searched to its end, or not.
        result: of `conclude` or `result_so_far`.
    """
    record, metric, sign = study.record, study.record.search.metric, study.sign
    lines = trial_lines(study)
    names = list(study.space.parameters)
    shares = _importances(study)
    page = render(
        "search.html.j2",
        name=study.name,
        created=record.created,
        title=record.title,
        method=record.search.method,
        dataset=record.config.data.dataset,
        max_epochs=record.max_epochs,
        metric=plots.in_words(metric),
        in_figures=functools.partial(_in_figures, metric),
        cards=_cards(result),
        result=result,
        names=names,
        trials=sorted(lines, key=lambda t: _rank(t, sign)),
        history=plots.history(lines, metric, sign),
        curves=plots.learning_curves(lines, result.best_trial, metric, sign),
        parallel=plots.parallel_coordinates(lines, names, metric, sign),
        importances=plots.importances(shares) if shares else "",
        survival=plots.survival(lines) if len({t.epochs for t in lines}) > 1 else "",
        record=record.to_toml(),
    )  # fmt: skip
    path = study.path / "report" / "index.html"
    write_text_atomically(path, page)
    return path


def trial_lines(study: Study) -> list[TrialLine]:
    """Return every trial of `study` with its figures, by number."""
    lines = []
    for number, trial in sorted(study.trials().items()):
        runs = study.runs_of(number, trial.settings)
        lines.append(TrialLine(
            number=number, state=trial.state, values=trial.settings, metric=trial.metric,
            epochs=max(len(run.history()) for run in runs),
            seconds=sum(run.elapsed_seconds() for run in runs),
            by_epoch=trial.metric_by_epoch, reason=trial.failure,
        ))  # fmt: skip
    return lines


def _rank(trial: TrialLine, sign: int) -> tuple[int, float, int]:
    """Complete ones first, then by score; failed ones last."""
    order = {"complete": 0, "pruned": 1, "waiting": 2, "running": 2, "failed": 3}
    return order[trial.state], -sign * (trial.metric or 0.0), trial.number


def _cards(result: SearchResult) -> list[tuple[str, str]]:
    figure = functools.partial(_in_figures, result.metric)
    cards = [(f"best {plots.in_words(result.metric)}", figure(result.best_metric))]
    if result.confirmed:
        cards.append(("the same with new seeds", figure(result.confirmed_mean)))
    if "test_accuracy" in result.test:
        cards.append(("test accuracy", f"{100 * result.test['test_accuracy']:.2f} %"))
    return [
        *cards,
        ("trials", f"{result.trials:,}"),
        ("epochs trained", f"{result.epochs_trained:,}"),
        ("of one worker", f"{result.worker_seconds / 60:.1f} min"),
    ]


def _in_figures(metric: str, value: float) -> str:
    return f"{100 * value:.2f} %" if metric == "val_accuracy" else f"{value:.4f}"


def _importances(study: Study) -> dict[str, float]:
    """Return the share of the scores' variance that each parameter explains."""
    complete = [t for t in study.trials().values() if t.state == "complete"]
    if len(complete) < _FEWEST_FOR_IMPORTANCE or len({t.metric for t in complete}) < 2:
        return {}
    return study.store.importances()
