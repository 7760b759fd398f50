"""The results page of a reproduction, published beside measured: Markdown, and plots beside it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstroke.config.recipes import Published, load_recipe
from penstroke.evaluation.seed_variation import seed_variation
from penstroke.files import write_text_atomically
from penstroke.machine import allowed_cores, processor_name
from penstroke.reports import search_plots
from penstroke.reports.plots import learning_curves
from penstroke.reports.search_report import trial_lines

if TYPE_CHECKING:
    from penstroke.reproduction.commands import ProjectResult, StepResult
    from penstroke.reproduction.projects import Reproduction

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


_ACCURACY = FigureFormat("validation accuracy", 100, 2, " %")
_FIGURES = {
    "test_accuracy": FigureFormat("test accuracy", 100, 2, " %"),
    "val_accuracy": _ACCURACY,
    "test_accuracy_confusable_merged": FigureFormat("… confusable classes merged", 100, 2, " %"),
    "test_loss": FigureFormat("test loss", 1, 4),
    "test_auroc": FigureFormat("test AUROC", 1, 4),
    "test_f1": FigureFormat("test F1", 1, 4),
}
_ALWAYS_SHOWN = {"test_accuracy", "test_accuracy_confusable_merged"}
"""Even if they were not published."""
_HEAD = """# {title}

Written by `penstroke reproduce`; do not edit. Figures are mean ± standard deviation over training
seeds; the split into training and validation is the same for all of them. Each run opens the test
split once, in its final evaluation, and no setting was chosen on it. "Lowest" is the lowest test
accuracy of all seeds; "curves" is the diagnosis of the learning curves. Times are from one shared
machine: {machine}, {cores} cores. All commands together took {minutes:.0f} minutes.
"""
_QUICK = """
**This is a quick check** (`--quick`): few images, few epochs, one seed. Expect figures below the
published ones; without `--quick` they are not.
"""


def write_reproduction_page(
    path: Path, results: Sequence[ProjectResult], options: Reproduction
) -> dict[str, Any]:
    """Write the page, its plots in a folder beside it, and return all figures as plain values.

    Raises:
        StorageError: it cannot be written.
    """
    is_published = any(result.project.is_published for result in results)
    names = ", ".join(result.project.name for result in results)
    head = _HEAD.format(
        title="The published projects, reproduced" if is_published else f"Results: {names}",
        machine=processor_name(),
        cores=allowed_cores(),
        minutes=(minutes := sum(s.wall_seconds for r in results for s in r.steps) / 60),
    )
    lines = [head + (_QUICK if options.quick else "")]
    folder = path.with_name(f"{path.stem}-plots")
    rows: list[dict[str, Any]] = []
    for result in results:
        project = result.project
        lines += ["", f"## {project.name}: {project.title}", ""]
        if options.stand_ins and project.uses_emnist:
            lines += [
                f"These are **not figures of EMNIST**: {' and '.join(options.stand_ins)} stand in "
                "for its official splits. To reproduce them on those, run `penstroke data "
                f"download` and `penstroke reproduce {project.name}`.",
                "",
            ]
        lines += _tables(result, rows)
        for name, caption, svg in _plots(result):
            write_text_atomically(folder / f"{name}.svg", svg.replace("currentColor", _GREY))
            lines += ["", f"*{caption}*", "", f"![{caption}]({folder.name}/{name}.svg)"]
        lines += ["", "Commands:", "", "```sh", *(one.step.line for one in result.steps), "```"]
    write_text_atomically(path, "\n".join(lines) + "\n")
    return {"figures": rows, "minutes": minutes}


def _tables(result: ProjectResult, rows: list[dict[str, Any]]) -> list[str]:
    """Return the tables of a project, and add their figures to `rows`."""
    done = [one for one in result.steps if not one.skipped]
    trainings = [one for one in done if not one.step.is_search]
    searches = [one for one in done if one.step.is_search]
    blocks = [_trainings(trainings, rows)] if trainings else []
    if claims := result.claims():
        blocks.append(claims)
    if searches:
        blocks.append(_searches(searches, rows))
    blocks += [
        [f"Skipped: `{one.step.line}`: {one.skipped}"] for one in result.steps if one.skipped
    ]
    if chosen := _chosen(result.steps):
        blocks += [["Settings that were not published, and what was chosen:"], chosen]
    return [line for block in blocks for line in [*block, ""]][:-1]


def _plots(result: ProjectResult) -> Iterator[tuple[str, str, str]]:
    """Yield a file name, a caption and an SVG for each plot.

    For a search its trials and the run of the best settings, for a training its first run.
    """
    for one in result.steps:
        if one.skipped:
            continue
        step = one.step
        name = f"{result.project.name}-{step.recipe}-{step.dataset}".replace("+", "-")
        caption = f"{step.recipe} on {step.dataset}"
        if step.is_search:
            study, search = one.open_study(), one.search
            trials = trial_lines(study)
            svg = search_plots.learning_curves(trials, search.best_trial, search.metric, study.sign)
            yield f"{name}-trials", f"{caption}: its trials by epoch", svg
            name, caption = f"{name}-best", f"{caption}: the best settings, trained"
        elif result.project.name in _WITH_CURVES:
            caption = f"{caption}: the first seed"
        else:
            continue
        run = one.runs[0]
        yield name, caption, learning_curves(run.history(), run.best_epoch())


def _trainings(ones: Sequence[StepResult], rows: list[dict[str, Any]]) -> list[str]:
    """Return a table with a line for each published figure of each recipe."""
    lines = _table_head("recipe", "data", "figure", "published", "measured", "lowest", "reached",
                        "curves", "training")  # fmt: skip
    for one in ones:
        runs = [run.summary() for run in one.runs]
        published = load_recipe(one.step.name).published
        seconds = statistics.mean(run.elapsed_seconds for run in runs)
        diagnoses = ", ".join(sorted({run.diagnosis or "–" for run in runs}))
        for figure, shown in _FIGURES.items():
            goal = getattr(published, figure, None)
            if getattr(runs[0], figure) is None or (goal is None and figure not in _ALWAYS_SHOWN):
                continue
            values = [getattr(run, figure) for run in runs]
            variation = seed_variation(values)
            row = _row(one, figure, values, goal)
            rows.append(row)
            is_first = figure == "test_accuracy"
            lines.append(_table_row(
                f"`{one.step.name}`" if is_first else "", one.step.dataset, shown.label,
                shown.text(goal), shown.text(variation.mean, variation.sd),
                shown.text(min(values)) if is_first else "", _reached(row),
                diagnoses if is_first else "", f"{seconds:.0f} s" if is_first else "",
            ))  # fmt: skip
    return lines


def _searches(results: Sequence[StepResult], rows: list[dict[str, Any]]) -> list[str]:
    lines = _table_head("search", "data", "trials", "best on validation", "with new seeds",
                        "test accuracy", "published", "reached", "wall time")  # fmt: skip
    settings = []
    for one in results:
        search, step = one.search, one.step
        shown = _ACCURACY if search.metric == "val_accuracy" else FigureFormat("loss", 1, 4)
        figure, goal = _published_figure(one)
        test_accuracy = search.test["test_accuracy"]
        measured = search.best_metric if figure == "val_accuracy" else test_accuracy
        row = _row(one, figure, [measured], goal)
        rows.append(row)
        confirmed = search.confirmed_mean if search.confirmed else None
        goal_format = _FIGURES[figure]
        lines.append(_table_row(
            f"`{step.recipe}`", step.dataset, str(search.trials), shown.text(search.best_metric),
            shown.text(confirmed, search.confirmed_sd), _ACCURACY.text(test_accuracy),
            "–" if goal is None else f"{goal_format.text(goal)} ({goal_format.label})",
            _reached(row), f"{one.wall_seconds / 60:.1f} min",
        ))  # fmt: skip
        values = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in search.best_settings.items()
        )
        settings.append(f"- `{step.recipe}` on {step.dataset}: {values}")
    return [*lines, "", "Best settings:", "", *settings]


def _published_figure(one: StepResult) -> tuple[str, float | None]:
    """Return the figure that was published for a search on this data set, and its value."""
    recipe = load_recipe(one.step.name)
    published = recipe.published if one.step.dataset == recipe.data.dataset else Published()
    if published.val_accuracy is not None:
        return "val_accuracy", published.val_accuracy
    return "test_accuracy", published.test_accuracy


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


def _reached(row: Mapping[str, Any]) -> str:
    if row["published"] is None:
        return "–"
    return f"{'yes' if row['is_reached'] else 'no'} ({row['reached']} of {len(row['values'])})"


def _chosen(ones: Sequence[StepResult]) -> list[str]:
    """Return the unpublished settings of each recipe; recipes with the same text share a line."""
    by_text: dict[str, list[str]] = {}
    for one in ones:
        name = one.step.recipe
        text = load_recipe(name).chosen
        if text and name not in by_text.setdefault(text, []):
            by_text[text].append(name)
    return [f"- {', '.join(f'`{n}`' for n in names)}: {text}" for text, names in by_text.items()]


def _table_head(*names: str) -> list[str]:
    return [_table_row(*names), "|---" * len(names) + "|"]


def _table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
