"""`penstroke runs`: the trained runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import typer

from penstroke.cli.console import exit_json, note, percent, print_table, say
from penstroke.cli.options import JSON, argument, command_group, option

if TYPE_CHECKING:
    from penstroke.runs.record import Summary
    from penstroke.runs.run import Run
    from penstroke.search.study import Study

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
    name: str = argument("Name or path (see `penstroke runs list`).", metavar="RUN|STUDY"),
    card: bool = option("Model card in Markdown instead.", False, "--card"),
    as_json: bool = JSON,
) -> None:
    """Show a run: results, history and settings; or a study: the score of every seed."""
    from penstroke.runs.run import find_run
    from penstroke.search.study import Study

    if not card and (study := Study.find(name)):
        _show_study(study)
        return
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


@app.command("table")
def table_command(
    names: list[str] = argument("Names or paths of studies, runs or cross-validations.",
                                metavar="STUDY|RUN…"),
    by: list[str] | None = option(
        "Setting with a row for each of its values; may be repeated. By default those that differ, "
        "apart from the seed.", metavar="SETTING"),
    metric: str | None = option(
        "Figure, such as val_loss or test_f1; by default test_accuracy, of a study its score."),
    to: Literal["csv", "markdown", "latex", "svg"] | None = option(
        "Format; by default that of the file's name."),
    output: Path | None = option("File to write.", None, "--output", "-o"),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Show results by settings: mean, deviation and 95 % interval over seeds.

    Of a study, the trials that trained to the last epoch count, on validation images.
    """
    from penstroke.files import write_text_atomically
    from penstroke.reports.table_formats import SUFFIXES, cells, headings, render
    from penstroke.runs.grouping import tabulate

    form = to or (SUFFIXES.get(output.suffix) if output else None)
    if output and form is None:
        raise typer.BadParameter(
            f"{output}: give --to, or a name that ends in {' '.join(SUFFIXES)}"
        )
    chosen = _runs_of(names)
    table = tabulate(chosen.runs, by, metric or chosen.metric, chosen.parameters)
    text = render(table, form) if form else ""
    if output:
        write_text_atomically(output, text)
    written = {"file": str(output)} if output else {}
    exit_json({**table.to_dict(), "left_out": chosen.left_out, **written})
    if chosen.left_out:
        note(f"left out: {chosen.left_out} trials that did not train to the last epoch")
    if output:
        say(str(output))
    elif form:
        typer.echo(text, nl=False)
    else:
        right = "".join(map(str, range(len(table.by), len(table.by) + 4)))
        print_table(headings(table), cells(table), right)
        say("\n" + "\n".join(table.notes))


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


@dataclass(frozen=True)
class _Chosen:
    """The runs that names stand for; of studies also their parameters and metric."""

    runs: list[Run]
    parameters: list[str]
    metric: str | None
    left_out: int


def _runs_of(names: Sequence[str]) -> _Chosen:
    from penstroke.errors import StudyError
    from penstroke.runs.run import FoldRuns, Run, find_run
    from penstroke.search.study import Study

    runs: list[Run] = []
    studies: list[Study] = []
    left_out: set[tuple[str, int]] = set()
    for name in dict.fromkeys(names):
        if study := Study.find(name):
            found = [one for one in study.trial_runs() if one.phase == "search"]
            complete = [Run.open(Path(one.run)) for one in found if one.state == "complete"]
            if not complete:
                raise StudyError(f"{study.path}: no trial has trained to the last epoch yet")
            left_out |= {(name, one.trial) for one in found if one.state != "complete"}
            runs += complete
            studies.append(study)
        elif folds := FoldRuns.find(name):
            runs += map(Run.open, sorted(folds.path.glob("fold-*/")))
        else:
            runs.append(find_run(name))
    metrics = {study.record.search.metric for study in studies}
    parameters = [one for study in studies for one in study.space.parameters]
    return _Chosen(runs, parameters, metrics.pop() if len(metrics) == 1 else None, len(left_out))


def _show_study(study: Study) -> None:
    runs, search = study.trial_runs(), study.record.search
    facts = {"study": str(study.path), **_of_summary(study.result())}
    exit_json({**facts, "record": study.record, "trial_runs": runs})
    say(f"{study.path}  {facts['status']}, {study.size_bytes / 1e6:.1f} MB\n")
    headings = ("trial", "state", "seed", "fold", "epochs", search.metric, *study.space.parameters)
    rows = [
        (one.trial, one.state if one.phase == "search" else "new seed", one.seed,
         "–" if one.fold is None else one.fold, one.epochs,
         "–" if (score := getattr(one, search.metric)) is None else f"{score:.4f}",
         *(one.settings.get(name, "–") for name in study.space.parameters))
        for one in runs
    ]  # fmt: skip
    print_table(headings, rows, "02345")
    say(f"\n{study.record.to_toml()}")


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
