"""Repeat the published set-ups over several seeds and write docs/results.md: `make results`.

Every run is an ordinary run directory under runs/, so that a second call only fills in what is new.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from penstroke.evaluation.spread import spread as spread_over_seeds
from penstroke.machine import processor_name
from penstroke.recipes import Recipe, load_recipe, shipped_recipes
from penstroke.workflow import finish, prepare

PRESETS = {"fast": 10, "balanced": 5, "best": 5}
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
FIGURES = {
    "test_accuracy": ("test accuracy", 100, 2, " %"),
    "val_accuracy": ("validation accuracy", 100, 2, " %"),
    "test_loss": ("test loss", 1, 4, ""),
    "test_auroc": ("test AUROC", 1, 4, ""),
    "test_f1": ("test F1", 1, 4, ""),
}
HEAD = """# The published set-ups, repeated

Written by `make results`; do not edit. Each recipe is run as it is shipped, over {seeds} training
seeds, on MNIST; measured figures are mean ± standard deviation over the seeds. The split into
training and validation is the same for all seeds. The test split is opened once for each run, by
the evaluation that ends it; no setting was chosen on it. "Least" is the lowest of the {seeds} test
accuracies: where it is not below the published figure, every seed reached it.

Machine: {machine}.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    recipes = {name: load_recipe(name) for name in shipped_recipes()}
    published = {n: r for n, r in recipes.items() if r.reference and r.search is None}
    names = sorted(published, key=lambda name: (published[name].reference, name))
    found = {name: [measure(name, seed) for seed in range(seeds)] for name in names}
    presets = {
        name: [measure(name, seed, "data.dataset=mnist") for seed in range(count)]
        for name, count in PRESETS.items()
    }
    PAGE.write_text(page(published, found, names, seeds) + preset_section(presets))
    print(f"wrote {PAGE}")
    return 0


def measure(name: str, seed: int, *changes: str) -> dict[str, Any]:
    """Return the figures of one seed of a recipe, trained now or before."""
    prepared = prepare(load_recipe(name, [f"train.seed={seed}", *changes]).run_config(), stem=name)
    if prepared.run.status != "finished":
        for epoch in prepared.train():
            print(f"\r{name} seed {seed}: epoch {epoch.metrics['epoch']}", end="", file=sys.stderr)
        finish(prepared, report=False)
    figures = prepared.run.summary()
    print(f"\r{name} seed {seed}: test accuracy {figures['test_accuracy']:.4f}", file=sys.stderr)
    return figures


def page(
    recipes: dict[str, Recipe],
    found: dict[str, list[dict[str, Any]]],
    names: list[str],
    seeds: int,
) -> str:
    """Return the page: the accuracies side by side, the other figures, and what was chosen."""
    lines = [HEAD.format(seeds=seeds, machine=processor_name())]
    lines += ["| set-up | recipe | published | measured | least | reached | training time |",
              "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name in names:
        accuracies = [run["test_accuracy"] for run in found[name]]
        seconds = [run["elapsed_seconds"] for run in found[name]]
        goal = recipes[name].published.test_accuracy
        reached = "–" if goal is None else verdict(accuracies, goal)
        lines.append(
            f"| {recipes[name].reference} | `{name}` | {shown(goal, 'test_accuracy')} | "
            f"{spread(accuracies, 'test_accuracy')} | {shown(min(accuracies), 'test_accuracy')} | "
            f"{reached} | {statistics.mean(seconds):.0f} s |"
        )
    lines += ["", "## The other published figures", "",
              "| recipe | figure | published | measured |", "|---|---|---|---|"]  # fmt: skip
    for name in names:
        for figure in FIGURES:
            goal = getattr(recipes[name].published, figure)
            if goal is not None and figure != "test_accuracy":
                measured = [run[figure] for run in found[name]]
                label, value = FIGURES[figure][0], shown(goal, figure)
                lines.append(f"| `{name}` | {label} | {value} | {spread(measured, figure)} |")
    lines += ["", "## What was left open, and what was chosen", ""]
    lines += [f"- `{name}`: {recipes[name].title}. {recipes[name].chosen}" for name in names]
    return "\n".join(lines) + "\n"


def preset_section(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of the presets, chosen on validation pictures (docs/lab.md)."""
    lines = [
        "", "## The presets on MNIST", "",
        "| preset | seeds | validation accuracy | test accuracy | least | training time |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, runs in found.items():
        validation = spread([run["val_accuracy"] for run in runs], "val_accuracy")
        accuracies = [run["test_accuracy"] for run in runs]
        seconds = statistics.mean(run["elapsed_seconds"] for run in runs)
        lines.append(
            f"| `{name}` | {len(runs)} | {validation} | {spread(accuracies, 'test_accuracy')} | "
            f"{shown(min(accuracies), 'test_accuracy')} | {seconds:.0f} s |"
        )
    return "\n".join(lines) + "\n"


def verdict(accuracies: list[float], goal: float) -> str:
    """Say how many seeds reached the published figure, and whether the mean did."""
    reached = sum(accuracy >= goal for accuracy in accuracies)
    word = "yes" if statistics.mean(accuracies) >= goal else "no"
    return f"{word} ({reached} of {len(accuracies)})"


def spread(values: list[float], figure: str) -> str:
    _, scale, digits, unit = FIGURES[figure]
    found = spread_over_seeds(values)
    deviation = found.sd if found.count > 1 else 0.0
    return f"{scale * found.mean:.{digits}f} ± {scale * deviation:.{digits}f}{unit}"


def shown(value: float | None, figure: str) -> str:
    _, scale, digits, unit = FIGURES[figure]
    return "–" if value is None else f"{scale * value:.{digits}f}{unit}"


if __name__ == "__main__":
    sys.exit(main())
