"""`penstroke runs`: the trained runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from penstroke.cli.console import exit_json, note, percent, print_table, say
from penstroke.cli.options import JSON, RUN, argument, command_group, option

if TYPE_CHECKING:
    from penstroke.runs.record import Summary
    from penstroke.runs.run import Run

Facts = dict[str, Any]
Opened = TypeVar("Opened")

app = command_group("runs", "List, show and remove runs.")


@app.command("list")
def list_command(as_json: bool = JSON) -> None:
    """List the runs, the studies and the cross-validations, oldest first."""
    from penstroke.files import runs_root
    from penstroke.runs.record import finish_removals
    from penstroke.runs.run import FoldRuns, Run
    from penstroke.search.study import Study

    finish_removals()
    runs = [_facts("run", path, Run.open, _of_run) for path in Run.paths()]
    runs.sort(key=lambda facts: str(facts.get("created", "")))
    studies = [
        _facts("study", path, Study.open, lambda study: _of_summary(study.result()))
        for path in Study.paths()
    ]
    folds = [
        _facts("folds", path, FoldRuns.open, lambda folds: _of_summary(folds.summary()))
        for path in FoldRuns.paths()
    ]
    exit_json({"runs": runs, "studies": studies, "cross_validations": folds})
    if not runs and not studies and not folds:
        say(f"no runs in {runs_root()}; `penstroke train` creates one")
    if runs:
        headings: tuple[str, ...] = (
            "run", "data set", "status", "epochs", "validation", "test", "size")  # fmt: skip
        print_table(headings, map(_run_row, runs), "3456")
    if studies:
        headings = ("study", "status", "trials", "validation", "new seeds", "test")
        say("")
        print_table(headings, map(_study_row, studies), "2345")
    if folds:
        headings = ("cross-validation", "data set", "status", "folds", "images", "accuracy")
        say("")
        print_table(headings, map(_folds_row, folds), "345")
    for one in (*runs, *studies, *folds):
        if "reason" in one:
            say(f"\n{one['reason']}")


@app.command("show")
def show_command(
    name: str = RUN,
    card: bool = option("Model card in Markdown instead.", False, "--card"),
    as_json: bool = JSON,
) -> None:
    """Show a run: results, history and settings."""
    from penstroke.runs.run import find_run

    run = find_run(name)
    if card:
        from penstroke.reports.model_card import write_card

        typer.echo(write_card(run))
        return
    facts, history = {"run": str(run.path), **_of_run(run)}, run.history()
    exit_json({**facts, "record": run.record, "history": history})
    say(f"{run.path}  {run.status}, {run.size_bytes / 1e6:.1f} MB\n")
    rows = [
        (line["epoch"], f"{line['train_loss']:.4f}", percent(line["train_accuracy"]),
         f"{line['val_loss']:.4f}" if "val_loss" in line else "–",
         percent(line.get("val_accuracy")),
         "kept" if line["epoch"] == history[-1]["best_epoch"] else "")
        for line in history
    ]  # fmt: skip
    print_table(("epoch", "train loss", "accuracy", "val loss", "accuracy", ""), rows, "01234")
    for key, value in (run.summary().to_dict() if run.status == "finished" else {}).items():
        say(f"{key:16} {value:.5g}" if isinstance(value, float) else f"{key:16} {value}")
    say(f"\n{run.record.to_toml()}")


@app.command("rm")
def remove_command(
    names: list[str] = argument("Names or paths of runs.", metavar="RUN…"),
    yes: bool = option("Remove without asking.", False, "--yes", "-y"),
    as_json: bool = JSON,
) -> None:
    """Remove runs, studies or cross-validations with all their files."""
    from penstroke.runs.record import finish_removals
    from penstroke.runs.run import FoldRuns, Run, find_run
    from penstroke.search.study import Study

    finish_removals()
    kinds = (Study, FoldRuns, Run)
    chosen = [
        next((found for kind in kinds if (found := kind.find_or_damaged(name))), None)
        or find_run(name)  # which says that there is none
        for name in names
    ]
    size = sum(one.size_bytes for one in chosen) / 1e6
    paths = [str(one.path) for one in chosen]
    if not yes:
        typer.confirm(f"remove {', '.join(paths)} ({size:.1f} MB)?", abort=True, err=True)
    for one in chosen:
        if one.path.absolute().is_symlink():
            note(f"{one.path} is a link: its files stay in {one.path.resolve()}")
        one.remove()
    exit_json({"removed": paths})
    say(f"removed {', '.join(paths)}")


def _facts(
    word: str, path: Path, read: Callable[[Path], Opened], facts: Callable[[Opened], Facts]
) -> Facts:
    """Return what the list says of the directory at `path`, or why it cannot be read."""
    from penstroke.errors import PenstrokeError

    try:
        return {word: str(path), **facts(read(path))}
    except PenstrokeError as error:
        return {word: str(path), "status": "damaged", "summary": {}, "reason": str(error)}


def _of_run(run: Run) -> Facts:
    return {
        "status": run.status, "created": run.record.created,
        "dataset": run.record.config.data.dataset, "epochs": len(run.history()),
        "size_bytes": run.size_bytes,
        "summary": run.summary() if run.status == "finished" else {},
    }  # fmt: skip


def _of_summary(summary: Summary | None) -> Facts:
    return {"status": "finished" if summary else "unfinished", "summary": summary or {}}


def _run_row(facts: Facts) -> Sequence[object]:
    s, size = facts["summary"], facts.get("size_bytes")
    return (
        Path(facts["run"]).name, facts.get("dataset", "–"), facts["status"],
        facts.get("epochs", "–"), percent(s.val_accuracy if s else None),
        percent(s.test_accuracy if s else None), "–" if size is None else f"{size / 1e6:.1f} MB",
    )  # fmt: skip


def _study_row(facts: Facts) -> Sequence[object]:
    r = facts["summary"]
    metric = r.best_metric if r and r.metric == "val_accuracy" else None
    confirmed = r.confirmed_mean if r and r.confirmed and metric is not None else None
    test = r.test.get("test_accuracy") if r else None
    return (
        Path(facts["study"]).name, facts["status"], r.trials if r else "–", percent(metric),
        percent(confirmed), percent(test),
    )  # fmt: skip


def _folds_row(facts: Facts) -> Sequence[object]:
    s, name = facts["summary"], Path(facts["folds"]).name
    if not s:
        return name, "–", facts["status"], "–", "–", "–"
    return name, s.dataset, facts["status"], s.folds, s.images, percent(s.accuracy)
