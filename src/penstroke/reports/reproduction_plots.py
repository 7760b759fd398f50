"""The plots each project showed, as SVG files that can be looked at by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstroke.reports import search_plots as search_plots
from penstroke.reports.plots import learning_curves
from penstroke.reports.search_report import trial_lines
from penstroke.reproduction.commands import Outcome
from penstroke.runs.run import Run
from penstroke.search.study import find_study

_GREY = "#7d8896"
"""Of text and axes: to be read on a light page and on a dark one."""
_WITH_CURVES = {"R1", "R3", "R4"}


def plots_of(part: str, outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str, str]]:
    """Yield a name, what is to be seen, and an SVG for each plot of a project.

    Of a search its trials by epoch, and the history of the best; of recipes the learning curves of
    the first seed.
    """
    for outcome in outcomes:
        if outcome.left_out:
            continue
        name = f"{part}-{outcome.step.recipe}-{outcome.step.dataset}".replace("+", "-")
        what = f"{outcome.step.recipe} on {outcome.step.dataset}"
        if outcome.step.is_search:
            yield f"{name}-trials", f"{what}: its trials, epoch by epoch", _trials(outcome)
            yield f"{name}-best", f"{what}: the best settings, trained", _curves(outcome.runs[0])
        elif part in _WITH_CURVES:
            yield name, f"{what}: the first seed", _curves(outcome.runs[0])


def _curves(run: Run) -> str:
    return _alone(learning_curves(run.history(), run.best_epoch()))


def _trials(outcome: Outcome) -> str:
    study = find_study(outcome.told["study"])
    assert study is not None, "a search that has told its figures has a study"
    lines, best = trial_lines(study), outcome.told["best_trial"]
    metric = study.record.search.metric
    return _alone(search_plots.learning_curves(lines, best, metric, study.sign))


def _alone(svg: str) -> str:
    """Return an <svg> element as a file of its own."""
    return svg.replace("currentColor", _GREY)
