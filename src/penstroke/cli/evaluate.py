"""`penstroke evaluate`: a run on its splits, on corrupted and on external images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from penstroke.cli.console import (
    AS_JSON,
    exit_json,
    percent,
    print_table,
    progress_bar,
    say,
    show_left_out,
)
from penstroke.cli.image_arguments import CONFIDENCE_THRESHOLD, PRECISION, refuse_both
from penstroke.cli.options import JSON, RUN, option
from penstroke.errors import MissingExtraError

if TYPE_CHECKING:
    from penstroke.data.dataset import Images
    from penstroke.evaluation.evaluator import Evaluation
    from penstroke.evaluation.external import ExternalEvaluation
    from penstroke.evaluation.line_external import ExternalLineEvaluation
    from penstroke.evaluation.line_metrics import LineMetrics
    from penstroke.evaluation.robustness import Robustness
    from penstroke.evaluation.writer_metrics import WriterMetrics
    from penstroke.runs.run import Run


def command(
    run: str = RUN,
    corruptions: bool = option(
        "Also evaluate on corrupted and out-of-distribution images.", False, "--corruptions"),
    ood: str | None = option(
        "Data set whose other characters serve as out-of-distribution images too.", metavar="NAME"),
    external: list[str] | None = option(
        "External images to evaluate model.onnx on instead: a folder per class, a zip of them, or "
        "another source of `data import`; of lines with their texts. The test split stays sealed.",
        metavar="PATH"),
    ignored: str = option(
        "With --external: characters that cannot be told from the model's classes.", "",
        "--except", metavar="CHARS"),
    precision: float | None = PRECISION,
    confidence_threshold: float | None = CONFIDENCE_THRESHOLD,
    writer_folders: bool = option(
        "With --external: the folder above that of a class names the writer.", False,
        "--writer-folders"),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Evaluate a run on its test split, or on external images.

    Opens the test split, and writes predictions and a report. --precision and
    --confidence-threshold are for external images; what is measured with them is not kept.
    """
    from penstroke.runs.run import writable_run

    refuse_both(confidence_threshold, precision)
    if not external and (precision, confidence_threshold) != (None, None):
        raise typer.BadParameter(
            "is for external images: add --external PATH",
            param_hint="--confidence-threshold" if precision is None else "--precision",
        )

    chosen = writable_run(run)
    reads_lines = chosen.record.config.reads_lines
    if reads_lines and (corruptions or ood or ignored):
        option_used = "--corruptions" if corruptions else "--ood" if ood else "--except"
        raise typer.BadParameter(
            f"is for single characters; {chosen.name} reads lines", param_hint=option_used
        )
    if external:
        _evaluate_external(
            chosen, external, ignored, confidence_threshold, precision,
            writer_folders=writer_folders,
        )  # fmt: skip
        return
    ood_images = None
    if corruptions or ood:  # gathered first: a wrong name is refused before the test is opened
        from penstroke.evaluation.ood import gather_ood_images

        with progress_bar("gathering out-of-distribution images"):
            ood_images = gather_ood_images(chosen.record.data.classes, ood)
    if reads_lines:
        _evaluate_line_splits(chosen)
    else:
        _evaluate_splits(chosen, ood_images)


def _evaluate_external(
    run: Run, paths: list[str], ignored: str, confidence_threshold: float | None,
    precision: float | None, *, writer_folders: bool,
) -> None:  # fmt: skip
    from penstroke.data.sources.contents import SourceOptions
    from penstroke.data.sources.listing import list_source, read_images
    from penstroke.errors import ConfigError, DataError
    from penstroke.evaluation.line_external import ExternalLineEvaluation
    from penstroke.reports.model_card import write_card_page

    evaluate = _external_evaluator(run, ignored, confidence_threshold, precision)
    is_kept = confidence_threshold is None and precision is None
    try:
        options = SourceOptions(writer_folders=writer_folders, lines=run.record.config.reads_lines)
        listed = [(path, list_source(path, options)) for path in map(Path, paths)]
    except (ConfigError, DataError) as error:
        if "--" in str(error) and "--writer-folders" not in str(error):
            raise DataError(f"{error} (an option of `penstroke data import`)") from None
        raise
    sources = [(path.name, read_images(path, one), one.left_out) for path, one in listed]
    evaluations = []
    for source, samples, left_out in sources:
        with progress_bar(source, total=len(samples)) as update:
            evaluation = evaluate(
                samples, source, left_out=left_out,
                progress=lambda count, update=update: update(advance=count),
            )  # fmt: skip
        if is_kept:
            evaluation.save(run.path / "external")
        evaluations.append(evaluation)
    if is_kept and run.status == "finished":
        with contextlib.suppress(MissingExtraError):  # pages need no more than training does
            write_card_page(run, run.summary())
    exit_json({"run": str(run.path), "external": evaluations})
    for evaluation in evaluations:
        if isinstance(evaluation, ExternalLineEvaluation):
            _show_external_lines(evaluation)
        else:
            _show_external(evaluation)
        show_left_out("left out", [": ".join(file) for file in evaluation.left_out])
    if is_kept:
        say(f"\nnext: penstroke runs show {run.name} --card")


def _external_evaluator(
    run: Run, ignored: str, confidence_threshold: float | None, precision: float | None
) -> Callable[..., ExternalEvaluation | ExternalLineEvaluation]:
    """Return what evaluates the model of `run` on labelled images, of lines if it reads those."""
    threshold = {"confidence_threshold": confidence_threshold, "precision": precision}
    if run.record.config.reads_lines:
        from penstroke.evaluation.line_external import evaluate_external_lines
        from penstroke.inference.line_reader import LineReader

        return partial(evaluate_external_lines, LineReader.load(run.model_path, **threshold))
    from penstroke.evaluation.external import evaluate_external
    from penstroke.inference.recognizer import Recognizer

    recognizer = Recognizer.load(run.model_path, **threshold)
    return partial(evaluate_external, recognizer, ignored=ignored)


def _show_external(evaluation: ExternalEvaluation) -> None:
    low, high = evaluation.interval
    say(f"{evaluation.source}: {evaluation.images:,} images, accuracy "
        f"{percent(evaluation.accuracy)} (95 % interval {percent(low)} to {percent(high)}); "
        f"of the {evaluation.answered:,} answers {percent(evaluation.precision)} are right; "
        f"calibration error {percent(evaluation.calibration_error)}")  # fmt: skip
    rows = [
        (c.label, c.images, percent(c.right / c.images, 1), c.rejected, c.wrong,
         "  ".join(f"{label} {count}×" for label, count in c.read_as[:4]))
        for c in evaluation.classes
        if c.images
    ]  # fmt: skip
    print_table(("class", "images", "right", "rejected", "wrong", "read as"), rows, "1234")
    if evaluation.auroc is not None:
        score = evaluation.ood_score_auroc
        by_score = "" if score is None else f", by ood_score {score:.3f}"
        say(f"{evaluation.ood_images:,} images of other characters: "
            f"AUROC {evaluation.auroc:.3f}{by_score}")  # fmt: skip
    if evaluation.writers:
        _show_writers(evaluation.writers)


def _show_external_lines(evaluation: ExternalLineEvaluation) -> None:
    _show_lines({evaluation.source: evaluation.metrics})
    say(f"\nof the {evaluation.answered:,} lines that are answered "
        f"{percent(evaluation.precision)} are right")  # fmt: skip
    if evaluation.unknown_characters:
        say("the texts hold characters that the model does not have: "
            f"{' '.join(evaluation.unknown_characters)}")  # fmt: skip


def _show_lines(by_split: Mapping[str, LineMetrics]) -> None:
    """Print the figures of splits or sources, and their most frequent edits."""
    rows = [
        (name, f"{m.lines:,}", *(
            cell for rate in (m.exact, m.digits, m.cer)
            for cell in (percent(rate.value), f"{100 * rate.low:.2f}–{100 * rate.high:.2f}")
        ))
        for name, m in by_split.items()
    ]  # fmt: skip
    headings = ("", "lines", "exact", "95 %", "no signs", "95 %", "CER", "95 %")
    print_table(headings, rows, "1234567")
    for name, m in by_split.items():
        at_99 = next(one for one in m.coverage if one.precision == 0.99)
        say(f"\n{name}: at 99 % precision {percent(at_99.coverage)} of the lines are answered; "
            f"calibration error {percent(m.calibration_error)}")  # fmt: skip
        if m.writers > 1:
            say(f"intervals are over {m.writers:,} writers")
        edits = "  ".join(
            f"{_shown(e.text)} as {_shown(e.predicted)} {e.count}×" for e in m.edits[:8]
        )
        if edits:
            say(f"most frequent edits: {edits}")


def _shown(character: str) -> str:
    return {" ": "␣", "": "∅"}.get(character, character)


def _evaluate_line_splits(run: Run) -> None:
    from penstroke.reports.line_report import write_line_report
    from penstroke.runs.trained import evaluate_lines, summary_of_lines

    evaluation = evaluate_lines(run)
    summary = summary_of_lines(run, evaluation)
    page = write_line_report(run, evaluation, summary)
    metrics = {name: one.metrics for name, one in evaluation.splits.items()}
    exit_json({
        "run": str(run.path), **summary.to_dict(),
        "model": str(run.model_path), "report": str(page), "metrics": metrics,
    })  # fmt: skip
    _show_lines(metrics)
    say(f"\nreport  {page}")


def _evaluate_splits(run: Run, ood_images: Mapping[str, Images] | None) -> None:
    from penstroke.reports.run_report import write_run_report
    from penstroke.runs.trained import WRITERS_TABLE, evaluate, summary_of

    evaluation = evaluate(run)
    summary = summary_of(run, evaluation)
    facts = {
        "run": str(run.path), **summary.to_dict(),
        "model": str(run.model_path), "report": str(run.path / "report" / "index.html"),
        "metrics": evaluation.metrics, "test_intervals": evaluation.intervals,
        "writers": evaluation.writers, "confusable": evaluation.confusable,
        "diagnosis": evaluation.diagnosis,
    }  # fmt: skip
    if not AS_JSON.get():
        _show_splits(evaluation)
        if evaluation.writers:
            _show_writers(evaluation.writers)
            say(f"\nwriters  {run.path / WRITERS_TABLE}")
        say(f"\nreport  {facts['report']}")
    if ood_images is not None:
        from penstroke.evaluation.corruptions import CORRUPTIONS
        from penstroke.evaluation.robustness import evaluate_robustness
        from penstroke.reports.robustness_report import write_robustness_report

        test, total = evaluation.test_images, 1 + len(CORRUPTIONS) + len(ood_images)
        with progress_bar("corruptions", total=total) as update:
            robustness = evaluate_robustness(
                evaluation.network, test, ood_images, clean=evaluation.predictions["test"],
                progress=lambda _: update(advance=1),
            )  # fmt: skip
        page = str(write_robustness_report(run, robustness, test, ood_images))
        facts |= {"robustness": robustness, "robustness_report": page}
        if not AS_JSON.get():
            _show_robustness(robustness)
            say(f"\nrobustness  {page}")
    write_run_report(run, evaluation, summary)  # last: it has a link to the page of robustness
    exit_json(facts)


def _show_splits(evaluation: Evaluation) -> None:
    rows = [
        (split, f"{m.images:,}", percent(m.accuracy), f"{m.loss:.4f}", f"{m.auroc:.5f}",
         f"{m.f1:.4f}", percent(m.balanced_accuracy))
        for split, m in evaluation.metrics.items()
    ]  # fmt: skip
    headings = ("split", "images", "accuracy", "loss", "AUROC", "F1", "balanced")
    print_table(headings, rows, "123456")
    for split, m in evaluation.metrics.items():
        if m.absent:
            absent = ", ".join(m.absent)
            say(f"{split}: no images of {absent}; they count in accuracy and loss only")
    low, high = evaluation.intervals.accuracy
    raw, calibrated = evaluation.calibrations
    say(f"\ntest accuracy, 95 % interval: {100 * low:.2f} to {100 * high:.2f} %")
    say(f"calibration error: {percent(raw.ece)} uncalibrated, {percent(calibrated.ece)} at "
        f"temperature {evaluation.temperature:.3f}, which model.onnx has")  # fmt: skip
    if by_source := evaluation.calibration_error_by_source:
        errors = ", ".join(f"{name} {percent(error)}" for name, error in by_source.items())
        say(f"calibration error on validation images: {errors}")
    if evaluation.temperature_note:
        say(evaluation.temperature_note)
    if confusable := evaluation.confusable:
        groups = sorted(
            [(g.confused, " ".join(g.classes)) for g in confusable.groups], reverse=True
        )
        confused = ", ".join(f"{names} ({count})" for count, names in groups[:4])
        say(f"accuracy with confusable classes merged: {percent(confusable.accuracy)}; confused: "
            f"{confused}")  # fmt: skip
    if diagnosis := evaluation.diagnosis:
        say(f"learning curves: {diagnosis.name}; {diagnosis.reason}")
        say(f"to try next: {diagnosis.advice}")


def _show_writers(by_writer: WriterMetrics) -> None:
    low, high = by_writer.new_writer_interval
    say(f"\n{len(by_writer.writers):,} writers; accuracy on new writers, 95 % interval: "
        f"{100 * low:.2f} to {100 * high:.2f} % (the {by_writer.images:,} images say as much as "
        f"{by_writer.effective_images:,.0f} by as many writers)")  # fmt: skip
    say(f"worst tenth of writers: {percent(by_writer.worst_tenth)} "
        f"({percent(by_writer.worst_tenth_by_chance)} if mistakes fell at random)")  # fmt: skip
    if by_writer.also_trained_on:
        say(f"{by_writer.also_trained_on:,} of them wrote training or validation images too: the "
            "accuracy on new writers is lower")  # fmt: skip


def _show_robustness(robustness: Robustness) -> None:
    rows = [
        (r.name.replace("_", " "), percent(r.accuracy), percent(r.low), percent(r.high))
        for r in (robustness.clean, *robustness.corruptions)
    ]
    say("")
    mean = ("mean", percent(robustness.mean_accuracy), "", "")
    print_table(("corruption", "accuracy", "from", "to (95 %)"), [*rows, mean], "123")
    say("")
    rows = [
        (r.kind, f"{r.images:,}", f"{r.auroc:.4f}", percent(r.confidence, 1))
        for r in robustness.ood
    ]
    print_table(("out of distribution", "images", "AUROC", "confidence"), rows, "123")
