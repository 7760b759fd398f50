"""The page of a check: verdicts, the images with their labels, and the learning-rate curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.files import write_text_atomically
from penstroke.reports import plots
from penstroke.reports.contact_sheet import contact_sheet
from penstroke.reports.html import render

if TYPE_CHECKING:
    from penstroke.quality.checks import Finding
    from penstroke.quality.learning_rate_range import RangeTest
    from penstroke.quality.training_setup import TrainingSetup


def write_page(
    path: Path, name: str, setup: TrainingSetup, found: Sequence[Finding], rates: RangeTest | None
) -> None:
    """Write the page to `path`; `rates` where the range test was made."""
    cards = [("training images", f"{len(setup.train):,}")]
    if found:
        failed = sum(one.outcome == "fail" for one in found)
        cards += [("checks", str(len(found))), ("failed", str(failed))]
    if rates:
        cards.append(("suggested learning rate", f"{rates.suggestion:g}"))
    write_text_atomically(path, render(
        "check.html.j2",
        name=f"Check of {name}", dataset=setup.config.data.dataset, cards=cards, found=found,
        sheet=plots.data_uri(contact_sheet(setup.train)), rates=rates,
        curve=_curve(rates, setup.config.train.learning_rate) if rates else "",
        record=setup.config.to_toml(),
    ))  # fmt: skip


def _curve(test: RangeTest, rate: float) -> str:
    """Return an SVG of the loss over the rate, with the suggestion and the recipe's own."""
    figure, (axis,) = plots.new_figure(7.0, 3.2)
    axis.plot(test.rates, test.losses, color=plots.TRAINING, linewidth=1.6)
    axis.axvline(test.suggestion, color=plots.VALIDATION, linestyle="--", linewidth=1.2,
                 label=f"suggested: {test.suggestion:g}")  # fmt: skip
    axis.axvline(
        rate, color=plots.INK, linestyle=":", linewidth=1.2, label=f"the recipe's: {rate:g}"
    )
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    axis.grid(alpha=0.2, color=plots.INK)
    axis.legend(frameon=False, fontsize=9, labelcolor=plots.INK)
    return plots.to_svg(figure)
