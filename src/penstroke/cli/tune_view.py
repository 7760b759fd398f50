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

    from penstroke.search.runner import Standing
    from penstroke.search.study import Study
    from penstroke.search.workflow import Asked
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


def show_plan(asked: Asked, workers: int, as_json: bool) -> None:
    """Show brackets, rungs and cost of a search that is not begun."""
    from penstroke.search.workflow import plan_asked

    config, search, estimate = plan_asked(asked, workers)
    seconds = estimate.seconds / workers
    if as_json:
        brackets = [
            [{"trials": rung.trials, "epochs": rung.epochs} for rung in bracket.rungs]
            for bracket in estimate.brackets
        ]
        print_json({
            "method": search.method, "brackets": brackets, "trials": estimate.trials,
            "max_epochs": config.train.epochs, "epochs": estimate.epochs,
            "multiply_adds": estimate.multiply_adds, "worker_seconds": estimate.seconds,
            "workers": workers, "seconds": seconds,
        })  # fmt: skip
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
        f"{estimate.multiply_adds:.2g} multiply-adds; about {duration(estimate.seconds)} of one "
        f"worker, {duration(seconds)} with {workers}"
    )
    if search.method == "asha":
        say("asha promotes as scores come in: about so many trials reach each rung")


def show_plans(name: str, ones: Sequence[tuple[Any, Asked]], workers: int, as_json: bool) -> None:
    """Show the cost of a study for each value, and of all together."""
    from penstroke.search.workflow import plan_asked

    plans = [(value, plan_asked(asked, workers)[2]) for value, asked in ones]
    seconds = sum(estimate.seconds for _, estimate in plans)
    if as_json:
        studies = [
            {name: value, "trials": e.trials, "epochs": e.epochs, "worker_seconds": e.seconds}
            for value, e in plans
        ]
        print_json({"each": name, "studies": studies, "worker_seconds": seconds,
                    "workers": workers, "seconds": seconds / workers})  # fmt: skip
        return
    rows = [(value, e.trials, f"{e.epochs:,}", duration(e.seconds / workers)) for value, e in plans]
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
def live_table(study: Study, workers: int) -> Iterator[Callable[[Standing], None]]:
    """Yield a function that shows the standing, drawn anew in place; nothing without a terminal.

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

        def watch(standing: Standing) -> None:
            nonlocal drawn
            now = time.monotonic()
            if now - drawn > _REDRAWN_EVERY_SECONDS:
                drawn = now
                live.update(_table(study, standing, planned, now - start, workers), refresh=True)

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


def _table(study: Study, standing: Standing, planned: int, elapsed: float, workers: int) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    done = standing.epochs_trained
    table.add_row("running", ", ".join(
        f"trial {work.trial} to epoch {work.epochs}" for work in standing.running[:workers]
    ))  # fmt: skip
    table.add_row("epochs", f"{done:,} of {planned:,} that were left")
    left = max(planned - done, 0) * elapsed / done if done else None
    table.add_row("left", "about " + duration(left) if left is not None else "…")
    if standing.best is not None:
        trial, values, metric = standing.best
        table.add_row("best so far", f"trial {trial}: {study.record.search.metric} {metric:.4f}")
        table.add_row("", settings_line(values))
    if standing.failed:
        table.add_row("failed", f"{standing.failed} trials; reasons are kept")
    return table


def settings_line(values: Mapping[str, Any]) -> str:
    """Return settings in one line."""
    return "  ".join(f"{name}={value}" for name, value in values.items())


def show_figures(figures: dict[str, Any], as_json: bool) -> None:
    """Show how a search ended, and the next command to try."""
    if as_json:
        print_json(figures)
        return
    metric = "val_accuracy" if "best_val_accuracy" in figures else "val_loss"
    say(f"\ntrials            {figures['trials']}: {figures['complete']} to the last epoch, "
        f"{figures['pruned']} given up, {figures['failed']} failed")  # fmt: skip
    say(f"best              trial {figures['best_trial']}, "
        f"{metric} {figures[f'best_{metric}']:.4f}")  # fmt: skip
    for name, value in figures["best_settings"].items():
        say(f"                  {name} = {value}")
    if f"confirmed_{metric}" in figures:
        sd = figures["confirmed_sd"]
        spread = f" ± {sd:.4f}" if sd == sd and sd is not None else ""
        seeds = (
            "1 seed" if figures["confirmed_seeds"] == 1 else f"{figures['confirmed_seeds']} seeds"
        )
        say(f"with new seeds    {metric} {figures[f'confirmed_{metric}']:.4f}{spread} "
            f"({seeds}): the best of many is partly luck")  # fmt: skip
    say(f"test accuracy     {percent(figures['test_accuracy'])}, opened once")
    say(f"best recipe       {figures['best_recipe']}")
    say(f"model             {figures['model']}")
    if "report" in figures:
        say(f"report            {figures['report']}")
    say(f"\nnext: {program()} train {figures['best_recipe']} --seeds 5")


def show_each(name: str, found: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Show a row for each study."""
    if as_json:
        print_json({"each": name, "studies": list(found)})
        return
    metric = "val_accuracy" if "best_val_accuracy" in found[0] else "val_loss"
    keys = sorted({key for one in found for key in one["best_settings"]})
    rows = [
        (one[name], *(one["best_settings"].get(key, "–") for key in keys),
         f"{one[f'best_{metric}']:.4f}", f"{one.get(f'confirmed_{metric}', float('nan')):.4f}",
         percent(one["test_accuracy"]))
        for one in found
    ]  # fmt: skip
    headings = (name, *keys, metric, "new seeds", "test accuracy")
    print_table(headings, rows, "".join(map(str, range(len(headings)))))


def show_interrupted(study: Study) -> None:
    """Show the best so far, and how to go on."""
    best = study.best()
    if best is not None:
        trial, values, metric = best
        say(f"stopped; best so far: trial {trial}, {study.record.search.metric} {metric:.4f}, "
            f"{settings_line(values)}", as_json=True)  # fmt: skip
    say(f"`{program()} tune {study.path}` goes on", as_json=True)
