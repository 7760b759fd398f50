"""The plots each project showed, as SVG files that can be looked at by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstroke.reports import search_plots as search_plots
from penstroke.reports.plots import learning_curves
from penstroke.reports.search_report import trial_lines

if TYPE_CHECKING:
    from penstroke.reproduction.commands import ProjectResult, StepResult
    from penstroke.runs.run import Run

_GREY = "#7d8896"
"""Of text and axes: to be read on a light page and on a dark one."""
_WITH_CURVES = {"R1", "R3", "R4"}


def plots_of(result: ProjectResult) -> Iterator[tuple[str, str, str]]:
    """Yield a name, what is to be seen, and an SVG for each plot of a project.

    Of a search its trials by epoch, and the history of the best; of recipes the learning curves of
    the first seed.
    """
    project = result.project.name
    for one in result.steps:
        if one.skipped:
            continue
        step = one.step
        name = f"{project}-{step.recipe}-{step.dataset}".replace("+", "-")
        what = f"{step.recipe} on {step.dataset}"
        if step.is_search:
            yield f"{name}-trials", f"{what}: its trials, epoch by epoch", _trials(one)
            yield (
                f"{name}-best",
                f"{what}: the best settings, trained",
                _curves(one.runs[0]),
            )
        elif project in _WITH_CURVES:
            yield name, f"{what}: the first seed", _curves(one.runs[0])


def _curves(run: Run) -> str:
    return _alone(learning_curves(run.history(), run.best_epoch()))


def _trials(result: StepResult) -> str:
    study, best = result.open_study(), result.search.best_trial
    metric = study.record.search.metric
    return _alone(search_plots.learning_curves(trial_lines(study), best, metric, study.sign))


def _alone(svg: str) -> str:
    """Return an <svg> element as a file of its own."""
    return svg.replace("currentColor", _GREY)
