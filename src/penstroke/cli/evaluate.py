"""`penstroke evaluate`: judge a run on all three splits, and on spoilt pictures if asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.console import Json, percent, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from penstroke.datasets import Images
    from penstroke.evaluation import Evaluation, Metrics
    from penstroke.evaluation.robustness import Robustness


def command(
    run: Annotated[str, typer.Argument(help="Name or path of a run: `penstroke runs list`.")],
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="Also judge spoilt pictures and strangers.")
    ] = False,
    strangers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Judge as well characters of this data set that the run does not know.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a run's network; opens the test split, writes predictions and report."""
    from penstroke.evaluation import evaluate
    from penstroke.workflow import summary_of

    others = _gather(run, strangers) if corruptions or strangers else None
    judged = evaluate(run)
    figures = {"run": str(judged.run.path), **summary_of(judged)}
    figures["report"] = str(judged.write_report())
    everything = {**figures, **_details(judged)}
    if not as_json:
        _show_splits(judged.metrics)
        _show_trust(judged)
        say(f"\nreport  {figures['report']}")
    if others is not None:
        found, page = _judge_robustness(judged, others)
        everything |= {"robustness": found.to_dict(), "robustness_report": page}
        if not as_json:
            _show_robustness(found)
            say(f"\nrobustness  {page}")
    if as_json:
        print_json(everything)


def _gather(run: str, strangers: str | None) -> dict[str, Images]:
    """Return pictures of no character; a wrong name is refused before the test split is opened."""
    from penstroke.evaluation.strangers import gather_strangers
    from penstroke.runs import find_run

    known = find_run(run).record.data.classes
    with progress_bar() as bar:
        bar.add_task("gathering strangers", total=None)
        return gather_strangers(known, strangers)


def _judge_robustness(judged: Evaluation, others: Mapping[str, Images]) -> tuple[Robustness, str]:
    from penstroke.evaluation.corruptions import CORRUPTIONS
    from penstroke.evaluation.robustness import judge_robustness, write_page

    run, test = judged.run, judged.test_pictures
    with progress_bar() as bar:
        task = bar.add_task("corruptions", total=1 + len(CORRUPTIONS) + len(others))
        found = judge_robustness(
            run, test, others, clean=judged.predictions["test"],
            progress=lambda _: bar.advance(task),
        )  # fmt: skip
    return found, str(write_page(run, found, test, others))


def _show_splits(metrics: Mapping[str, Metrics]) -> None:
    rows = [
        (
            split,
            f"{m.images:,}",
            percent(m.accuracy),
            f"{m.loss:.4f}",
            f"{m.auroc:.5f}",
            f"{m.f1:.4f}",
        )
        for split, m in metrics.items()
    ]
    print_table(("split", "images", "accuracy", "loss", "AUROC", "F1"), rows, "12345")
    for split, m in metrics.items():
        if m.absent:
            say(f"{split}: no picture of {', '.join(m.absent)}; left out of AUROC and F1")


def _details(judged: Evaluation) -> dict[str, Any]:
    return {
        "metrics": {name: found.to_dict() for name, found in judged.metrics.items()},
        "test_intervals": asdict(judged.intervals),
        "verdict": asdict(judged.verdict) if judged.verdict else None,
    }


def _show_trust(judged: Evaluation) -> None:
    """Show how sure the figures are, how to read the curves, and whether confidence is earned."""
    low, high = judged.intervals.accuracy
    raw, scaled = judged.calibrations
    say(f"\ntest accuracy, 95 % interval: {100 * low:.2f} to {100 * high:.2f} %")
    say(f"calibration error: {percent(raw.ece)} as it is, {percent(scaled.ece)} at temperature "
        f"{judged.temperature:.3f}, which model.onnx has")  # fmt: skip
    if judged.verdict:
        say(f"learning curves: {judged.verdict.name}; {judged.verdict.reason}")
        say(f"to try next: {judged.verdict.advice}")


def _show_robustness(found: Robustness) -> None:
    rows: list[tuple[Any, ...]] = [
        (r.name.replace("_", " "), percent(r.accuracy), percent(r.low), percent(r.high))
        for r in (found.clean, *found.corruptions)
    ]
    say("")
    print_table(
        ("corruption", "accuracy", "from", "to (95 %)"),
        [*rows, ("mean", percent(found.mean_accuracy), "", "")],
        "123",
    )
    say("")
    print_table(
        ("no character", "images", "AUROC", "confidence"),
        [(r.kind, f"{r.images:,}", f"{r.auroc:.4f}", percent(r.confidence, 1))
         for r in found.rejections],
        "123",
    )  # fmt: skip
