"""`penstroke evaluate`: a run on its splits, on corrupted and on external images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.console import Json, RunName, percent, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from penstroke.data.dataset import Images
    from penstroke.evaluation.evaluator import Evaluation
    from penstroke.evaluation.external import Hands
    from penstroke.evaluation.metrics import Metrics
    from penstroke.evaluation.robustness import Robustness
    from penstroke.runs.run import Run


def command(
    run: RunName,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions", help="Also evaluate on corrupted and out-of-distribution images."
        ),
    ] = False,
    ood: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Data set whose other characters serve as out-of-distribution images too.",
        ),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="External images to evaluate model.onnx on instead: a folder per class, or a zip "
            "of them. The test split stays sealed.",
        ),
    ] = None,
    confusable: Annotated[
        str,
        typer.Option(
            "--except",
            metavar="CHARS",
            help="With --external: characters that cannot be told from the model's classes.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Evaluate a run on its test split, or on external images.

    Opens the test split, and writes predictions and a report.
    """
    if external:
        _judge_hands(run, external, confusable, as_json)
    else:
        others = _gather(run, ood) if corruptions or ood else None
        _judge_splits(run, others, as_json)


def _judge_splits(name: str, others: Mapping[str, Images] | None, as_json: bool) -> None:
    from penstroke.reports.run_report import write_report
    from penstroke.runs.run import find_run
    from penstroke.runs.trained import evaluate, summary_of

    run = find_run(name)
    judged = evaluate(run)
    report = str(write_report(run, judged))
    figures = {"run": str(run.path), **summary_of(run, judged).to_dict()}
    everything = {**figures, "model": str(run.model_path), "report": report, **_details(judged)}
    if not as_json:
        _show_splits(judged.metrics)
        _show_trust(judged)
        say(f"\nreport  {report}")
    if others is not None:
        found, page = _judge_robustness(run, judged, others)
        everything |= {"robustness": found.to_dict(), "robustness_report": page}
        if not as_json:
            _show_robustness(found)
            say(f"\nrobustness  {page}")
    if as_json:
        print_json(everything)


def _judge_hands(name: str, paths: list[str], look_alikes: str, as_json: bool) -> None:
    from penstroke.data.sources.listing import read_labelled_images
    from penstroke.evaluation.external import judge_hands
    from penstroke.inference.recognizer import Recognizer
    from penstroke.reports.model_card import keep_hands
    from penstroke.runs.run import find_run

    run = find_run(name)
    recognizer = Recognizer.load(run.model_path)
    sources = [(path.name, list(read_labelled_images(path))) for path in map(Path, paths)]
    found = []
    with progress_bar() as bar:
        for source, samples in sources:
            task = bar.add_task(source, total=len(samples))
            judged = judge_hands(
                recognizer, samples, source, look_alikes=look_alikes,
                progress=lambda count, task=task: bar.advance(task, count),  # type: ignore[misc]
            )  # fmt: skip
            keep_hands(run, judged)
            found.append(judged)
    if as_json:
        print_json({"run": str(run.path), "hands": [one.to_dict() for one in found]})
        return
    for one in found:
        _show_hands(one)
    say(f"\nnext: penstroke runs show {run.name} --card")


def _show_hands(found: Hands) -> None:
    low, high = found.interval
    say(f"{found.source}: {percent(found.accuracy)} of {found.images:,} images read rightly "
        f"(95 %: {percent(low)} to {percent(high)})")  # fmt: skip
    rows = [
        (c.label, c.images, percent(c.right / c.images, 1), c.rejected, c.wrong,
         "  ".join(f"{label} {count}×" for label, count in c.taken_for[:4]))
        for c in found.classes
        if c.images
    ]  # fmt: skip
    print_table(("class", "images", "right", "not sure", "wrong", "taken for"), rows, "1234")
    if found.auroc is not None:
        ood_score = found.ood_score_auroc
        say(f"{found.strangers:,} images of other characters: AUROC {found.auroc:.3f}"
            + ("" if ood_score is None else f", by ood_score {ood_score:.3f}"))  # fmt: skip


def _gather(run: str, strangers: str | None) -> dict[str, Images]:
    """Return images of no character; a wrong name is refused before the test split is opened."""
    from penstroke.evaluation.ood import gather_strangers
    from penstroke.runs.run import find_run

    known = find_run(run).record.data.classes
    with progress_bar() as bar:
        bar.add_task("gathering strangers", total=None)
        return gather_strangers(known, strangers)


def _judge_robustness(
    run: Run, judged: Evaluation, others: Mapping[str, Images]
) -> tuple[Robustness, str]:
    from penstroke.evaluation.corruptions import CORRUPTIONS
    from penstroke.evaluation.robustness import judge_robustness, write_page

    test = judged.test_images
    with progress_bar() as bar:
        task = bar.add_task("corruptions", total=1 + len(CORRUPTIONS) + len(others))
        found = judge_robustness(
            judged.network, test, others, clean=judged.predictions["test"],
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
            percent(m.balanced_accuracy),
        )
        for split, m in metrics.items()
    ]
    headings = ("split", "images", "accuracy", "loss", "AUROC", "F1", "balanced")
    print_table(headings, rows, "123456")
    for split, m in metrics.items():
        if m.absent:
            absent = ", ".join(m.absent)
            say(f"{split}: no image of {absent}; left out of all but accuracy and loss")


def _details(judged: Evaluation) -> dict[str, Any]:
    return {
        "metrics": {name: found.to_dict() for name, found in judged.metrics.items()},
        "test_intervals": asdict(judged.intervals),
        "look_alikes": asdict(judged.look_alikes) if judged.look_alikes else None,
        "verdict": asdict(judged.verdict) if judged.verdict else None,
    }


def _show_trust(judged: Evaluation) -> None:
    """Show how sure the figures are, how to read the curves, and whether confidence is earned."""
    low, high = judged.intervals.accuracy
    raw, scaled = judged.calibrations
    say(f"\ntest accuracy, 95 % interval: {100 * low:.2f} to {100 * high:.2f} %")
    say(f"calibration error: {percent(raw.ece)} as it is, {percent(scaled.ece)} at temperature "
        f"{judged.temperature:.3f}, which model.onnx has")  # fmt: skip
    if judged.look_alikes:
        mistaken = [(g.mistaken, " ".join(g.classes)) for g in judged.look_alikes.groups]
        named = ", ".join(f"{names} ({count})" for count, names in sorted(mistaken)[::-1][:4])
        say(f"look-alikes taken as one: {percent(judged.look_alikes.accuracy)}; mistaken for each "
            f"other: {named}")  # fmt: skip
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
