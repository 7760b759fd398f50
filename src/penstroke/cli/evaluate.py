"""`penstroke evaluate`: judge a run on all three splits."""

from __future__ import annotations

from typing import Annotated

import typer

from penstroke.cli.console import Json, percent, print_json, print_table, say


def command(
    run: Annotated[str, typer.Argument(help="Name or path of a run: `penstroke runs list`.")],
    as_json: Json = False,
) -> None:
    """Judge a run's network; opens the test split, writes predictions and report."""
    from penstroke.evaluation import evaluate
    from penstroke.workflow import summary_of

    judged = evaluate(run)
    figures = {"run": str(judged.run.path), **summary_of(judged)}
    figures["report"] = str(judged.write_report())
    if as_json:
        print_json({**figures, "metrics": {k: m.to_dict() for k, m in judged.metrics.items()}})
        return
    rows = [
        (
            split,
            f"{m.images:,}",
            percent(m.accuracy),
            f"{m.loss:.4f}",
            f"{m.auroc:.5f}",
            f"{m.f1:.4f}",
        )
        for split, m in judged.metrics.items()
    ]
    print_table(("split", "images", "accuracy", "loss", "AUROC", "F1"), rows, "12345")
    for split, metrics in judged.metrics.items():
        if metrics.absent:
            say(f"{split}: no picture of {', '.join(metrics.absent)}; left out of AUROC and F1")
    say(f"\nreport  {figures['report']}")
