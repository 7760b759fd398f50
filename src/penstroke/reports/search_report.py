"""The report of a hyperparameter search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.reports import search_plots
from penstroke.reports.html import percent, write_page
from penstroke.reports.search_plots import TrialLine

if TYPE_CHECKING:
    from penstroke.search.study import SearchResult, Study

_FEWEST_FOR_IMPORTANCE = 8
_ORDER = {"complete": 0, "pruned": 1, "waiting": 2, "running": 2, "failed": 3}


def write_search_report(study: Study, result: SearchResult) -> Path:
    """Write report/index.html of `study`, finished or not, and return its path."""
    record, metric, sign = study.record, result.metric, study.sign
    trials, names = trial_lines(study), list(study.space.parameters)
    scores = [trial.metric for trial in trials if trial.state == "complete"]
    has_importances = len(scores) >= _FEWEST_FOR_IMPORTANCE and len(set(scores)) > 1
    return write_page(
        study.path / "report" / "index.html",
        "search.html.j2",
        name=study.name,
        record=record,
        result=result,
        metric=search_plots.metric_name(metric),
        show=percent if metric == "val_accuracy" else "{:.4f}".format,
        parameters=names,
        confirmed=[run for run in study.trial_runs() if run.phase == "confirmation"],
        by_seed="by fold" if record.search.folds else "by seed",
        trials=sorted(trials, key=lambda t: (_ORDER[t.state], -sign * (t.metric or 0.0), t.number)),
        history=search_plots.history(trials, metric, sign),
        curves=search_plots.learning_curves(trials, result.best_trial, metric, sign),
        parallel=search_plots.parallel_coordinates(trials, names, metric, sign),
        importances=search_plots.importances(study.store.importances()) if has_importances else "",
        survival=search_plots.survival(trials) if len({t.epochs for t in trials}) > 1 else "",
    )


def trial_lines(study: Study) -> list[TrialLine]:
    """Return the trials of `study` with their figures, by number."""
    lines, metric = [], study.record.search.metric
    runs = [run for run in study.trial_runs() if run.phase == "search"]
    for number, trial in sorted(study.store.trials().items()):
        mine = [run for run in runs if run.trial == number]
        scores = [getattr(run, metric) for run in mine]
        lines.append(TrialLine(
            number=number, state=trial.state, values=trial.settings, metric=trial.metric,
            scores=[score for score in scores if score is not None],
            epochs=max((run.epochs for run in mine), default=0),
            seconds=sum(run.elapsed_seconds for run in mine),
            by_epoch=trial.metric_by_epoch, reason=trial.failure,
        ))  # fmt: skip
    return lines
