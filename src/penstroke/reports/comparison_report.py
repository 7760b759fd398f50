"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penstroke.evaluation.run_groups import Comparison, Way
from penstroke.files import runs_root, write_text_atomically
from penstroke.reports import plots
from penstroke.reports.html import render

_MOST_NAMED = 3


def write_comparison(comparison: Comparison) -> Path:
    """Write the page and return its path."""
    names = "-vs-".join(way.runs[0].name for way in comparison.ways[:_MOST_NAMED])
    path = runs_root() / "comparisons" / names / "index.html"
    columns = [way.column() for way in comparison.ways]
    write_text_atomically(path, render(
        "comparison.html.j2",
        name=" · ".join(way.name for way in comparison.ways),
        dataset=comparison.dataset, images=comparison.images,
        cards=[(way.name, f"{100 * way.mean('accuracy'):.2f} %") for way in comparison.ways],
        ways=comparison.ways, columns=columns, figures=list(columns[0]),
        claims=comparison.claims,
        plot=_accuracies(comparison.ways),
    ))  # fmt: skip
    return path


def _accuracies(ways: Sequence[Way]) -> str:
    """Return an SVG: the accuracy of each run, and the interval of each way."""
    figure, (axis,) = plots.new_figure(7.0, 0.9 + 0.5 * len(ways))
    for row, way in enumerate(ways):
        low, high = (100 * end for end in way.accuracy_interval)
        axis.plot([low, high], [row, row], "-", color=plots.TRAINING, linewidth=5, alpha=0.35)
        axis.plot([100 * one.accuracy for one in way.metrics], [row] * len(way.runs), "o",
                  color=plots.TRAINING, markersize=5)  # fmt: skip
    axis.set_yticks(range(len(ways)), [way.name for way in ways])
    axis.set(xlabel="test accuracy, %", ylim=(len(ways) - 0.4, -0.6))
    axis.grid(alpha=0.2, color=plots.INK, axis="x")
    return plots.to_svg(figure)
