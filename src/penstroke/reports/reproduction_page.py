"""The results page of a reproduction, published beside measured: Markdown, and plots beside it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstroke.config.recipes import Published, load_recipe
from penstroke.evaluation.intervals import expected_maximum, seed_variation
from penstroke.files import write_text_atomically
from penstroke.machine import allowed_cores, processor_name
from penstroke.reports import search_plots
from penstroke.reports.html import write_page
from penstroke.reports.plots import learning_curves
from penstroke.reports.search_report import trial_lines

if TYPE_CHECKING:
    from penstroke.reproduction import ProjectResult, Reproduction, StepResult

_GREY = "#7d8896"
"""Text and axes of a plot in its own file: legible on light and on dark pages."""
_WITH_CURVES = {"R1", "R3", "R4"}


@dataclass(frozen=True)
class FigureFormat:
    """How a figure is named and printed."""

    label: str
    scale: int
    digits: int
    unit: str = ""

    def text(self, value: float | None, sd: float | None = None) -> str:
        """Return a value as text, with its standard deviation if there is one."""
        if value is None:
            return "–"
        text = f"{self.scale * value:.{self.digits}f}"
        if sd is not None and not math.isnan(sd):
            text += f" ± {self.scale * sd:.{self.digits}f}"
        return text + self.unit


_FORMATS = {
    "test_accuracy": FigureFormat("test accuracy", 100, 2, " %"),
    "val_accuracy": FigureFormat("validation accuracy", 100, 2, " %"),
    "test_accuracy_confusable_merged": FigureFormat("… confusable classes merged", 100, 2, " %"),
    "test_loss": FigureFormat("test loss", 1, 4),
    "val_loss": FigureFormat("loss", 1, 4),
    "test_auroc": FigureFormat("test AUROC", 1, 4),
    "test_f1": FigureFormat("test F1", 1, 4),
}
_ALWAYS_SHOWN = {"test_accuracy", "test_accuracy_confusable_merged"}
"""Even if they were not published."""


def write_reproduction_page(
    path: Path, results: Sequence[ProjectResult], options: Reproduction
) -> dict[str, Any]:
    """Write the page, its plots in a folder beside it, and return all figures as plain values."""
    folder = path.with_name(f"{path.stem}-plots")
    sections: list[dict[str, Any]] = []
    for result in results:
        done = [one for one in result.steps if not one.skipped]
        plots = list(_plots(result.project.name, done))
        for name, _, svg in plots:
            write_text_atomically(folder / f"{name}.svg", svg.replace("currentColor", _GREY))
        # Recipes with the same text share a line; a dict keeps each name once.
        chosen: dict[str, dict[str, None]] = {}
        for one in result.steps:
            if text := load_recipe(one.step.recipe).chosen:
                chosen.setdefault(text, {})[one.step.recipe] = None
        sections.append({
            "result": result,
            "trainings": [_training(one) for one in done if not one.step.is_search],
            "searches": [_search(one) for one in done if one.step.is_search],
            "chosen": chosen,
            "plots": plots,
        })  # fmt: skip
    minutes = sum(one.wall_seconds for result in results for one in result.steps) / 60
    write_page(
        path,
        "reproduction.md.j2",
        sections=sections,
        is_published=any(result.project.is_published for result in results),
        options=options,
        machine=processor_name(),
        cores=allowed_cores(),
        minutes=minutes,
        formats=_FORMATS,
        folder=folder.name,
    )
    shown = [one for section in sections for one in section["trainings"] + section["searches"]]
    return {"figures": [row for one in shown for row in one["rows"]], "minutes": minutes}


def _plots(project: str, results: Sequence[StepResult]) -> Iterator[tuple[str, str, str]]:
    """Yield (file name, caption, SVG) of a search's trials and best run, a training's first run."""
    for one in results:
        step = one.step
        name = f"{project}-{step.recipe}-{step.dataset}".replace("+", "-")
        caption = f"{step.recipe} on {step.dataset}"
        if step.is_search:
            study, search = one.open_study(), one.search
            trials = trial_lines(study)
            svg = search_plots.learning_curves(trials, search.best_trial, search.metric, study.sign)
            yield f"{name}-trials", f"{caption}: its trials by epoch", svg
            name, caption = f"{name}-best", f"{caption}: the best settings, trained"
        elif project in _WITH_CURVES:
            caption = f"{caption}: the first seed"
        else:
            continue
        run = one.runs[0]
        yield name, caption, learning_curves(run.history(), run.best_epoch())


def _training(one: StepResult) -> dict[str, Any]:
    """Return the figures of a recipe: those that were published, and the most important ones."""
    runs = [run.summary() for run in one.runs]
    published = load_recipe(one.step.name).published
    goals = {figure: getattr(published, figure, None) for figure in _FORMATS}
    rows = [
        _row(one, figure, [getattr(run, figure) for run in runs], goal)
        for figure, goal in goals.items()
        if getattr(runs[0], figure, None) is not None
        if goal is not None or figure in _ALWAYS_SHOWN
    ]
    return {
        "step": one.step,
        "rows": rows,
        "variations": [seed_variation(row["values"]) for row in rows],
        "seconds": statistics.mean(run.elapsed_seconds for run in runs),
        "diagnoses": ", ".join(sorted({run.diagnosis or "–" for run in runs})),
        "luck": _luck(one, published.trials) if published.trials else None,
    }


def _luck(one: StepResult, trials: int) -> dict[str, Any]:
    """Return what the highest of so many trainings like these, and of their epochs, would reach.

    Validation accuracy in the second half of each training is taken as normally distributed, and
    as independent between epochs.
    """
    histories = [[epoch["val_accuracy"] for epoch in run.history()] for run in one.runs]
    later = [value for history in histories for value in history[len(history) // 2 :]]
    epochs = len(later) // len(histories)
    return {
        "trials": trials,
        "epochs": epochs,
        "mean": statistics.fmean(later),
        "sd": statistics.stdev(later),
        "best_of_one": expected_maximum(later, epochs),
        "best_of_all": expected_maximum(later, epochs * trials),
    }


def _search(one: StepResult) -> dict[str, Any]:
    """Return the result of a search, and the figure that was published for its data set, if any."""
    recipe, search = load_recipe(one.step.name), one.search
    published = recipe.published if one.step.dataset == recipe.data.dataset else Published()
    if published.val_accuracy is not None:
        row = _row(one, "val_accuracy", [search.best_metric], published.val_accuracy)
    else:
        row = _row(one, "test_accuracy", [search.test["test_accuracy"]], published.test_accuracy)
    return {"step": one.step, "rows": [row], "search": search, "wall_seconds": one.wall_seconds}


def _row(
    one: StepResult, figure: str, values: Sequence[float], goal: float | None
) -> dict[str, Any]:
    """Return a figure as plain values; `reached` counts the seeds that are not below the goal."""
    sign = -1 if figure == "test_loss" else 1
    mean = statistics.fmean(values)
    return {
        "command": one.step.line, "dataset": one.step.dataset, "figure": figure,
        "published": goal, "values": list(values), "mean": mean,
        "reached": None if goal is None else sum(sign * v >= sign * goal for v in values),
        "is_reached": None if goal is None else sign * mean >= sign * goal,
    }  # fmt: skip
