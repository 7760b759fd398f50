"""The report of a check: its findings, the images with their labels, the learning-rate curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.reports import plots
from penstroke.reports.contact_sheet import contact_sheet
from penstroke.reports.html import write_page

if TYPE_CHECKING:
    from penstroke.quality.checks import Finding, RangeTest, TrainingSetup


def write_check_report(
    path: Path,
    name: str,
    setup: TrainingSetup,
    findings: Sequence[Finding],
    range_test: RangeTest | None,
) -> Path:
    """Write the page to `path`; `range_test` if it was made."""
    return write_page(
        path,
        "check.html.j2",
        name=f"Check of {name}",
        setup=setup,
        findings=findings,
        range_test=range_test,
        curve=_plot_range(range_test, setup.config.train.learning_rate) if range_test else "",
        sheet=contact_sheet(setup.train),
    )


def _plot_range(test: RangeTest, learning_rate: float) -> str:
    """Return an SVG of the loss by learning rate, with the suggestion and the recipe's rate."""
    figure, (axis,) = plots.new_figure(5.4, 3.0)
    axis.plot(test.rates, test.losses, color=plots.BLUE, linewidth=1.6)
    for rate, colour, line, label in (
        (test.suggestion, plots.ORANGE, "--", "suggested"),
        (learning_rate, plots.INK, ":", "recipe"),
    ):
        axis.axvline(rate, color=colour, linestyle=line, linewidth=1.2, label=f"{label}: {rate:g}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    axis.xaxis.set_major_formatter("{x:g}")
    return plots.to_svg(figure)
