"""The page of what was published and what was measured: Markdown, and its plots beside it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from penstroke.config.recipes import Published, load_recipe
from penstroke.errors import RunError
from penstroke.evaluation.run_groups import compare_runs
from penstroke.evaluation.seed_variation import spread
from penstroke.files import write_text_atomically
from penstroke.machine import allowed_cores, processor_name
from penstroke.reports.reproduction_plots import plots_of

if TYPE_CHECKING:
    from penstroke.reproduction.commands import ProjectResult, StepResult
    from penstroke.reproduction.projects import Reproduction

if TYPE_CHECKING:
    from penstroke.runs.summaries import RunSummary


class Shown(NamedTuple):
    """How a figure is called and printed."""

    label: str
    scale: int
    digits: int
    unit: str

    def of(self, value: float | None) -> str:
        """Return one value as text."""
        return "–" if value is None else f"{self.scale * value:.{self.digits}f}{self.unit}"

    def over(self, values: Sequence[float]) -> str:
        """Return mean ± standard deviation, or the one value there is."""
        found = spread(values)
        return self.with_sd(found.mean, found.sd)

    def with_sd(self, mean: float, sd: float | None) -> str:
        """Return mean ± standard deviation; the mean alone where one value has no deviation."""
        if sd is None or math.isnan(sd):
            return self.of(mean)
        mean_text, sd_text = (f"{self.scale * v:.{self.digits}f}" for v in (mean, sd))
        return f"{mean_text} ± {sd_text}{self.unit}"


FIGURES = {
    "test_accuracy": Shown("test accuracy", 100, 2, " %"),
    "val_accuracy": Shown("validation accuracy", 100, 2, " %"),
    "test_accuracy_look_alikes_as_one": Shown("… look-alikes as one", 100, 2, " %"),
    "test_loss": Shown("test loss", 1, 4, ""),
    "test_auroc": Shown("test AUROC", 1, 4, ""),
    "test_f1": Shown("test F1", 1, 4, ""),
}
_ALWAYS = {"test_accuracy", "test_accuracy_look_alikes_as_one"}
"""Shown whether somebody published them or not."""
_IS_LOSS = {"test_loss"}
_HEAD = """# {title}

Written by `penstroke reproduce`; do not edit. Figures are mean ± standard deviation over training
seeds; the split into training and validation is the same for all of them. The test split is opened
once by each run, in the evaluation that ends it, and no setting was chosen on it. "Least" is the
lowest test accuracy of all seeds; "curves" is how the learning curves read. Times are of one
machine, which was shared: {machine}, {cores} cores. All commands together took {minutes:.0f}
minutes.
"""
_TASTE = """
**This is a taste** (`--quick`): few images, few epochs, one seed. Figures below the published
ones are to be expected; without `--quick` they are not.
"""


def write_page(
    path: Path, results: Sequence[ProjectResult], options: Reproduction
) -> dict[str, Any]:
    """Write the page, its plots in a folder beside it, and return all figures as plain values.

    Raises:
        StorageError: it cannot be written.
    """
    minutes = sum(step.wall_seconds for result in results for step in result.steps) / 60
    head = _HEAD.format(
        title=_title(results), machine=processor_name(), cores=allowed_cores(), minutes=minutes
    )
    lines = [head + (_TASTE if options.quick else "")]
    folder = path.with_name(f"{path.stem}-plots")
    rows: list[dict[str, Any]] = []
    for result in results:
        lines += ["", f"## {result.project.name}: {result.project.title}", ""]
        lines += [*_not_official(result, options), *_project(result, rows)]
        for name, what, svg in plots_of(result):
            write_text_atomically(folder / f"{name}.svg", svg)
            lines += ["", f"*{what}*", "", f"![{what}]({folder.name}/{name}.svg)"]
        lines += ["", "Its commands:", "", "```sh", *(one.step.line for one in result.steps), "```"]
    write_text_atomically(path, "\n".join(lines) + "\n")
    return {"figures": rows, "minutes": minutes}


def _title(results: Sequence[ProjectResult]) -> str:
    if any(result.project.is_published for result in results):
        return "The published projects, repeated"
    return "Results: " + ", ".join(result.project.name for result in results)


def _not_official(result: ProjectResult, options: Reproduction) -> list[str]:
    """Say where other images stand in for EMNIST's official splits."""
    if not options.stand_ins or not result.project.uses_emnist:
        return []
    return [
        f"These are **not figures of EMNIST**: {' and '.join(options.stand_ins)} stand in for its "
        f"official splits. On those, `penstroke data download` brings them and `penstroke "
        f"reproduce {result.project.name}` repeats this.",
        "",
    ]


def _project(result: ProjectResult, rows: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    done = [one for one in result.steps if not one.skipped]
    trainings = [one for one in done if not one.step.is_search]
    if trainings:
        lines += _trainings(trainings, rows)
    if result.project.name == "R1":
        lines += ["", *_compared(trainings)]
    if searches := [one for one in done if one.step.is_search]:
        lines += ["", *_searches(searches, rows)] if lines else _searches(searches, rows)
    lines += [f"\nSkipped: `{one.step.line}`: {one.skipped}" for one in result.steps if one.skipped]
    if chosen := _chosen(result.steps):
        lines += ["", "What was left open, and what was chosen:", "", *chosen]
    return lines


def _trainings(outcomes: Sequence[StepResult], rows: list[dict[str, Any]]) -> list[str]:
    """Return a table with a line for each published figure of each recipe."""
    lines = _headings("recipe", "data", "figure", "published", "measured", "least", "reached",
                      "curves", "training")  # fmt: skip
    for outcome in outcomes:
        runs = [run.summary() for run in outcome.runs]
        goals = load_recipe(outcome.step.name).published
        seconds = statistics.mean(run.elapsed_seconds for run in runs)
        for figure, shown in FIGURES.items():
            goal = getattr(goals, figure, None)
            if getattr(runs[0], figure) is None or (goal is None and figure not in _ALWAYS):
                continue
            values = [getattr(run, figure) for run in runs]
            rows.append(_row(outcome, figure, values, goal))
            is_first = figure == "test_accuracy"
            lines.append("| " + " | ".join((
                f"`{outcome.step.name}`" if is_first else "", outcome.step.dataset,
                shown.label, shown.of(goal), shown.over(values),
                shown.of(min(values)) if is_first else "",
                _reached(rows[-1]),
                _curves(runs) if is_first else "",
                f"{seconds:.0f} s" if is_first else "",
            )) + " |")  # fmt: skip
    return lines


def _headings(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def _curves(runs: Sequence[RunSummary]) -> str:
    return ", ".join(sorted({run.verdict or "–" for run in runs}))


def _row(
    outcome: StepResult, figure: str, values: Sequence[float], goal: float | None
) -> dict[str, Any]:
    """Return a figure as plain values; `reached` says how many seeds are not worse than `goal`."""
    sign = -1 if figure in _IS_LOSS else 1
    reached = None if goal is None else sum(sign * value >= sign * goal for value in values)
    mean = statistics.fmean(values)
    return {
        "command": outcome.step.line, "dataset": outcome.step.dataset, "figure": figure,
        "published": goal, "values": list(values), "mean": mean, "reached": reached,
        "is_reached": None if goal is None else sign * mean >= sign * goal,
    }  # fmt: skip


def _reached(row: Mapping[str, Any]) -> str:
    if row["published"] is None:
        return "–"
    word = "yes" if row["is_reached"] else "no"
    return f"{word} ({row['reached']} of {len(row['values'])})"


def _compared(outcomes: Sequence[StepResult]) -> list[str]:
    """Return what may be said of the second way against the first, the baseline."""
    by_name = {one.step.name: one.runs for one in outcomes}
    runs = [*by_name.get("baseline-mlp", []), *by_name.get("baseline-cnn", [])]
    try:
        return [claim.text for claim in compare_runs(runs).claims]
    except RunError as error:
        return [f"They could not be compared: {error}"]


def _searches(outcomes: Sequence[StepResult], rows: list[dict[str, Any]]) -> list[str]:
    accuracy = FIGURES["val_accuracy"]
    lines = _headings("search", "data", "trials", "best on validation", "with new seeds",
                      "test accuracy", "published", "reached", "wall time")  # fmt: skip
    settings = []
    for outcome in outcomes:
        found, step = outcome.search, outcome.step
        shown = accuracy if found.metric == "val_accuracy" else Shown("loss", 1, 4, "")
        figure, goal = _goal_of(outcome)
        test_accuracy = found.test["test_accuracy"]
        measured = found.best_metric if figure == "val_accuracy" else test_accuracy
        rows.append(_row(outcome, figure, [measured], goal))
        confirmed = "–"
        if found.confirmed:
            confirmed = shown.with_sd(found.confirmed_mean, found.confirmed_sd)
        lines.append("| " + " | ".join((
            f"`{step.recipe}`", step.dataset, str(found.trials), shown.of(found.best_metric),
            confirmed, accuracy.of(test_accuracy),
            "–" if goal is None else f"{FIGURES[figure].of(goal)} ({FIGURES[figure].label})",
            _reached(rows[-1]), f"{outcome.wall_seconds / 60:.1f} min",
        )) + " |")  # fmt: skip
        values = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                           for name, value in found.best_settings.items())  # fmt: skip
        settings.append(f"- `{step.recipe}` on {step.dataset}: {values}")
    return [*lines, "", "The best settings:", "", *settings]


def _goal_of(outcome: StepResult) -> tuple[str, float | None]:
    """Return the figure that was published of a search on this data set, and its value."""
    recipe = load_recipe(outcome.step.name)
    published = recipe.published if outcome.step.dataset == recipe.data.dataset else Published()
    if published.val_accuracy is not None:
        return "val_accuracy", published.val_accuracy
    return "test_accuracy", published.test_accuracy


def _chosen(outcomes: Sequence[StepResult]) -> list[str]:
    """Return what each recipe says was left open, those that say the same together."""
    by_text: dict[str, list[str]] = {}
    for outcome in outcomes:
        name = outcome.step.recipe
        text = load_recipe(name).chosen
        if text and name not in by_text.setdefault(text, []):
            by_text[text].append(name)
    return [f"- {', '.join(f'`{n}`' for n in names)}: {text}" for text, names in by_text.items()]
