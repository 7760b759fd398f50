"""What `penstroke tune` shows."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstroke.cli.console import percent, print_json, print_table, program, progress_bar, say

if TYPE_CHECKING:
    from rich.table import Table

    from penstroke.search.result import SearchResult
    from penstroke.search.runner import SearchStatus
    from penstroke.search.study import Study
    from penstroke.search.workflow import SearchRequest
    from penstroke.training.loop import Epoch

_REDRAWN_EVERY_SECONDS = 0.5


def describe(study: Study, workers: int) -> str:
    """Return what is about to be searched."""
    from penstroke.search.workflow import planned_epochs

    record = study.record
    about = "about " if record.search.method == "asha" else ""
    return (
        f"{study.path}: {record.search.method} over {len(study.space.parameters)} parameters, up "
        f"to {record.max_epochs} epochs a trial, {about}{planned_epochs(study):,} in all; "
        f"{record.data.train_images:,} images, {record.resolved.precision}, "
        f"{workers} worker{'s' if workers > 1 else ''}"
    )


def show_plan(request: SearchRequest, workers: int, as_json: bool) -> None:
    """Show brackets, rungs and cost of a search that is not begun."""
    from penstroke.search.workflow import plan_search

    config, search, estimate = plan_search(request, workers)
    seconds = estimate.worker_seconds / workers
    if as_json:
        facts = {"method": search.method, "max_epochs": config.train.epochs, "workers": workers}
        print_json({**facts, **estimate.to_dict(), "seconds": seconds})
        return
    rows = []
    for number, bracket in enumerate(estimate.brackets, 1):
        for index, rung in enumerate(bracket.rungs):
            rows.append((number if index == 0 else "", index + 1, rung.trials, rung.epochs,
                         bracket.epochs if index == 0 else ""))  # fmt: skip
    headings = ("bracket", "rung", "trials", "epochs each", "epochs of the bracket")
    print_table(headings, rows, "01234")
    say(
        f"\n{search.method}: {estimate.trials} trials, {estimate.epochs:,} epochs, "
        f"{estimate.multiply_adds:.2g} multiply-adds; about {duration(estimate.worker_seconds)} of "
        f"one worker, {duration(seconds)} with {workers}"
    )
    if search.method == "asha":
        say("asha promotes as scores come in: about so many trials reach each rung")


def show_plans(
    name: str, ones: Sequence[tuple[Any, SearchRequest]], workers: int, as_json: bool
) -> None:
    """Show the cost of a study for each value, and of all together."""
    from penstroke.search.workflow import plan_search

    plans = [(value, plan_search(request, workers)[2]) for value, request in ones]
    seconds = sum(estimate.worker_seconds for _, estimate in plans)
    if as_json:
        studies = [
            {
                name: value,
                "trials": e.trials,
                "epochs": e.epochs,
                "worker_seconds": e.worker_seconds,
            }
            for value, e in plans
        ]
        print_json({"each": name, "studies": studies, "worker_seconds": seconds,
                    "workers": workers, "seconds": seconds / workers})  # fmt: skip
        return
    rows = [
        (value, e.trials, f"{e.epochs:,}", duration(e.worker_seconds / workers))
        for value, e in plans
    ]
    print_table((name, "trials", "epochs", f"time with {workers}"), rows, "0123")
    say(f"\n{len(rows)} studies; about {duration(seconds)} of one worker, "
        f"{duration(seconds / workers)} with {workers}")  # fmt: skip


def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def live_table(study: Study, workers: int) -> Iterator[Callable[[SearchStatus], None]]:
    """Yield a function that shows the status, drawn anew in place; nothing without a terminal.

    It is drawn when called, not by a thread: workers are forked from this process.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.live import Live

    from penstroke.search.workflow import planned_epochs

    start, drawn = time.monotonic(), 0.0
    # What a search that goes on finds done, costs nothing any more.
    before = study.epochs_trained()
    planned = planned_epochs(study) - before
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

        def watch(status: SearchStatus) -> None:
            nonlocal drawn
            now = time.monotonic()
            if now - drawn > _REDRAWN_EVERY_SECONDS:
                drawn = now
                live.update(_table(study, status, planned, now - start, workers), refresh=True)

        yield watch


@contextlib.contextmanager
def counting_bar(text: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield a function that moves a bar on by one; no bar where there is nothing to do."""
    with progress_bar() as bar:
        task = bar.add_task(text, total=total, visible=total > 0)
        yield lambda: bar.advance(task)


@contextlib.contextmanager
def training_bar(text: str) -> Iterator[Callable[[Epoch, int], None]]:
    """Yield a function that is told each epoch, and how many there will be."""
    with progress_bar() as bar:
        task = bar.add_task(text, total=None)
        yield lambda epoch, total: bar.update(task, completed=epoch.metrics["epoch"], total=total)


def _table(study: Study, status: SearchStatus, planned: int, elapsed: float, workers: int) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    done = status.epochs_trained
    table.add_row("running", ", ".join(
        f"trial {work.trial} to epoch {work.epochs}" for work in status.running[:workers]
    ))  # fmt: skip
    table.add_row("epochs", f"{done:,} of {planned:,} that were left")
    left = max(planned - done, 0) * elapsed / done if done else None
    table.add_row("left", "about " + duration(left) if left is not None else "…")
    if status.best is not None:
        best = status.best
        metric = f"{study.record.search.metric} {best.metric:.4f}"
        table.add_row("best so far", f"trial {best.number}: {metric}")
        table.add_row("", settings_line(best.settings))
    if status.failed:
        table.add_row("failed", f"{status.failed} trials; reasons are kept")
    return table


def settings_line(values: Mapping[str, Any]) -> str:
    """Return settings in one line."""
    return "  ".join(f"{name}={value}" for name, value in values.items())


def show_result(result: SearchResult, as_json: bool) -> None:
    """Show how a search ended, and the next command to try."""
    if as_json:
        print_json(result.to_dict())
        return
    say(f"\ntrials            {result.trials}: {result.complete} to the last epoch, "
        f"{result.pruned} pruned, {result.failed} failed")  # fmt: skip
    say(f"best              trial {result.best_trial}, {result.metric} {result.best_metric:.4f}")
    for name, value in result.best_settings.items():
        say(f"                  {name} = {value}")
    if count := len(result.confirmed):
        sd = f" ± {result.confirmed_sd:.4f}" if count > 1 else ""
        seeds = "1 seed" if count == 1 else f"{count} seeds"
        say(f"with new seeds    {result.metric} {result.confirmed_mean:.4f}{sd} "
            f"({seeds}): the best of many is partly luck")  # fmt: skip
    say(f"test accuracy     {percent(result.test['test_accuracy'])}, opened once")
    say(f"best recipe       {result.best_recipe}")
    say(f"model             {result.model}")
    if result.report:
        say(f"report            {result.report}")
    say(f"\nnext: {program()} train {result.best_recipe} --seeds 5")


def show_each(name: str, results: Sequence[tuple[Any, SearchResult]], as_json: bool) -> None:
    """Show a row for each study."""
    if as_json:
        studies = [{name: value, **result.to_dict()} for value, result in results]
        print_json({"each": name, "studies": studies})
        return
    keys = sorted({key for _, result in results for key in result.best_settings})
    rows = [
        (value, *(result.best_settings.get(key, "–") for key in keys),
         f"{result.best_metric:.4f}", f"{result.confirmed_mean:.4f}",
         percent(result.test["test_accuracy"]))
        for value, result in results
    ]  # fmt: skip
    headings = (name, *keys, results[0][1].metric, "new seeds", "test accuracy")
    print_table(headings, rows, "".join(map(str, range(len(headings)))))


def show_interrupted(study: Study) -> None:
    """Show the best so far, and how to go on."""
    best = study.best()
    if best is not None:
        say(f"stopped; best so far: trial {best.number}, {study.record.search.metric} "
            f"{best.metric:.4f}, {settings_line(best.settings)}", as_json=True)  # fmt: skip
    say(f"`{program()} tune {study.path}` goes on", as_json=True)
