"""`penstroke runs`: the trained runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.console import Json, RunName, percent, print_json, print_table, say

if TYPE_CHECKING:
    from penstroke.runs.run import FoldRuns, Run

app = typer.Typer(
    name="runs",
    help="List, show and remove runs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """List the runs, the studies and the cross-validations, oldest first."""
    from penstroke.files import runs_root
    from penstroke.runs.run import list_folds, list_runs, list_studies
    from penstroke.search.result import SearchResult

    runs, studies, folds = list_runs(), list_studies(), list_folds()
    if as_json:
        results = [(path, SearchResult.read(path)) for path in studies]
        facts = [{"study": str(p), "summary": r.to_dict() if r else {}} for p, r in results]
        by_fold = [{"folds": str(one.path), "summary": _summary(one)} for one in folds]
        print_json({
            "runs": [_facts(run) for run in runs], "studies": facts, "cross_validations": by_fold
        })  # fmt: skip
        return
    if not runs and not studies and not folds:
        say(f"no runs in {runs_root()}; `penstroke train` creates one")
        return
    if runs:
        _show_runs(runs)
    if studies:
        say("")
        _show_studies(studies)
    if folds:
        say("")
        _show_folds(folds)


def _show_folds(folds: list[FoldRuns]) -> None:
    rows = []
    for one in folds:
        summary = one.summary()
        rows.append(
            (one.name, summary.dataset, "finished", summary.folds, summary.images,
             percent(summary.accuracy))
            if summary
            else (one.name, "–", "unfinished", "–", "–", percent(None))
        )  # fmt: skip
    headings = ("cross-validation", "data set", "status", "folds", "images", "accuracy")
    print_table(headings, rows, "345")


def _show_studies(studies: list[Path]) -> None:
    from penstroke.search.result import SearchResult

    rows = []
    for path in studies:
        result = SearchResult.read(path)
        is_accuracy = result is not None and result.metric == "val_accuracy"
        rows.append(
            (path.name, "finished", result.trials,
             percent(result.best_metric if is_accuracy else None),
             percent(result.confirmed_mean if is_accuracy and result.confirmed else None),
             percent(result.test.get("test_accuracy")))
            if result
            else (path.name, "unfinished", "–", percent(None), percent(None), percent(None))
        )  # fmt: skip
    headings = ("study", "status", "trials", "validation", "new seeds", "test")
    print_table(headings, rows, "2345")


def _show_runs(runs: list[Run]) -> None:
    rows = []
    for run in runs:
        summary = run.summary() if run.status == "finished" else None
        rows.append((
            run.name, run.record.config.data.dataset, run.status, len(run.history()),
            percent(summary.val_accuracy if summary else None),
            percent(summary.test_accuracy if summary else None),
            f"{run.size_bytes / 1e6:.1f} MB",
        ))  # fmt: skip
    headings = ("run", "data set", "status", "epochs", "validation", "test", "size")
    print_table(headings, rows, "3456")


@app.command("show")
def show_command(
    name: RunName,
    card: Annotated[bool, typer.Option("--card", help="Model card in Markdown instead.")] = False,
    as_json: Json = False,
) -> None:
    """Show a run: results, history and settings."""
    from penstroke.runs.run import find_run

    run = find_run(name)
    if card:
        from penstroke.reports.model_card import write_card

        typer.echo(write_card(run))
        return
    if as_json:
        print_json({**_facts(run), "record": run.record.to_dict(), "history": run.history()})
        return
    say(f"{run.path}  {run.status}, {run.size_bytes / 1e6:.1f} MB\n")
    history = run.history()
    rows = [
        (line["epoch"], f"{line['train_loss']:.4f}", percent(line["train_accuracy"]),
         f"{line['val_loss']:.4f}" if "val_loss" in line else "–",
         percent(line.get("val_accuracy")),
         "kept" if line["epoch"] == history[-1]["best_epoch"] else "")
        for line in history
    ]  # fmt: skip
    print_table(("epoch", "train loss", "accuracy", "val loss", "accuracy", ""), rows, "01234")
    for key, value in _summary(run).items():
        say(f"{key:16} {value:.5g}" if isinstance(value, float) else f"{key:16} {value}")
    say(f"\n{run.record.to_toml()}")


@app.command("rm")
def remove_command(
    names: Annotated[list[str], typer.Argument(metavar="RUN…", help="Names or paths of runs.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Remove runs, studies or cross-validations with all their files."""
    from penstroke.runs.run import find_folds, find_run
    from penstroke.search.study import find_study

    found = [find_study(name) or find_folds(name) or find_run(name) for name in names]
    size = sum(run.size_bytes for run in found) / 1e6
    listed = ", ".join(str(run.path) for run in found)
    if not yes:
        typer.confirm(f"remove {listed} ({size:.1f} MB)?", abort=True, err=True)
    for run in found:
        run.remove()
    if as_json:
        print_json({"removed": [str(run.path) for run in found]})
    else:
        say(f"removed {listed}")


def _summary(run: Run | FoldRuns) -> dict[str, Any]:
    """Return the final figures; empty while it is unfinished."""
    is_finished = (run.path / "summary.json").exists()
    summary = run.summary() if is_finished else None
    return summary.to_dict() if summary else {}


def _facts(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "status": run.status,
        "created": run.record.created,
        "dataset": run.record.config.data.dataset,
        "epochs": len(run.history()),
        "size_bytes": run.size_bytes,
        "summary": _summary(run),
    }
