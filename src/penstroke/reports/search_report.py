"""One self-contained page about a search."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstroke.files import write_text_atomically
from penstroke.reports import search_plots as plots
from penstroke.reports.html import render
from penstroke.reports.search_plots import TrialLine
from penstroke.search.study import Study
from penstroke.search.trial_store import last_metric, reason_of, settings_of

_FEWEST_FOR_IMPORTANCE = 8


def write_report(study: Study, figures: Mapping[str, Any]) -> Path:
    """Write report/index.html of `study` and return its path.

    Args:
        study: searched to its end, or not.
        figures: as `conclude` or `figures_so_far` returned them.
    """
    record, metric, sign = study.record, study.record.search.metric, study.sign
    lines = trial_lines(study)
    best = int(figures["best_trial"])
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
        cards=_cards(figures, metric),
        figures=figures,
        best=figures[f"best_{metric}"],
        confirmed=figures.get(f"confirmed_{metric}"),
        names=names,
        trials=sorted(lines, key=lambda t: _rank(t, sign)),
        best_trial=best,
        history=plots.history(lines, metric, sign),
        curves=plots.learning_curves(lines, best, metric, sign),
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
        values = settings_of(trial)
        runs = study.runs_of(number, values)
        lines.append(TrialLine(
            number=number, state=trial.state.name, values=values, metric=last_metric(trial),
            epochs=max(len(run.history()) for run in runs),
            seconds=sum(run.elapsed_seconds() for run in runs),
            by_epoch=trial.intermediate_values, reason=reason_of(trial),
        ))  # fmt: skip
    return lines


def _rank(trial: TrialLine, sign: int) -> tuple[int, float, int]:
    """The whole way first, then by score; what failed comes last."""
    order = {"COMPLETE": 0, "PRUNED": 1, "WAITING": 2, "RUNNING": 2, "FAIL": 3}
    return order[trial.state], -sign * (trial.metric or 0.0), trial.number


def _cards(figures: Mapping[str, Any], metric: str) -> list[tuple[str, str]]:
    figure = functools.partial(_in_figures, metric)
    cards = [(f"best {plots.in_words(metric)}", figure(figures[f"best_{metric}"]))]
    if f"confirmed_{metric}" in figures:
        cards.append(("the same with new seeds", figure(figures[f"confirmed_{metric}"])))
    if "test_accuracy" in figures:
        cards.append(("test accuracy", f"{100 * figures['test_accuracy']:.2f} %"))
    return [
        *cards,
        ("trials", f"{figures['trials']:,}"),
        ("epochs trained", f"{figures['epochs_trained']:,}"),
        ("of one worker", f"{figures['worker_seconds'] / 60:.1f} min"),
    ]


def _in_figures(metric: str, value: float) -> str:
    return f"{100 * value:.2f} %" if metric == "val_accuracy" else f"{value:.4f}"


def _importances(study: Study) -> dict[str, float]:
    """Return what share of the scores' variance each parameter explains (fANOVA, Optuna's)."""
    complete = [t for t in study.trials().values() if t.state.name == "COMPLETE"]
    if len(complete) < _FEWEST_FOR_IMPORTANCE or len({t.value for t in complete}) < 2:
        return {}
    import optuna.importance

    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study.ledger.study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}
