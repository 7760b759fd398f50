"""`penstroke runs`: the trained runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from penstroke.cli.console import exit_json, percent, print_table, say
from penstroke.cli.options import JSON, RUN, argument, command_group, option

if TYPE_CHECKING:
    from penstroke.runs.run import Run

app = command_group("runs", "List, show and remove runs.")


@app.command("list")
def list_command(as_json: bool = JSON) -> None:
    """List the runs, the studies and the cross-validations, oldest first."""
    from penstroke.files import runs_root
    from penstroke.runs.run import FoldRuns, Run
    from penstroke.search.study import SearchResult, Study

    runs = sorted(Run.all(), key=lambda run: run.record.created)
    # As paths: opening a study would import Optuna.
    studies = [(path, SearchResult.read(path)) for path in Study.paths()]
    folds = [(one, one.summary()) for one in FoldRuns.all()]
    exit_json({
        "runs": [_facts(run) for run in runs],
        "studies": [{"study": str(path), "summary": r or {}} for path, r in studies],
        "cross_validations": [{"folds": str(one.path), "summary": s or {}} for one, s in folds],
    })  # fmt: skip
    if not runs and not studies and not folds:
        say(f"no runs in {runs_root()}; `penstroke train` creates one")
    if runs:
        summaries = [run.summary() if run.status == "finished" else None for run in runs]
        rows: list[tuple[object, ...]] = [
            (run.name, run.record.config.data.dataset, run.status, len(run.history()),
             percent(s.val_accuracy if s else None), percent(s.test_accuracy if s else None),
             f"{run.size_bytes / 1e6:.1f} MB")
            for run, s in zip(runs, summaries, strict=True)
        ]  # fmt: skip
        print_table(
            ("run", "data set", "status", "epochs", "validation", "test", "size"), rows, "3456"
        )
    if studies:
        say("")
        rows = []
        for path, r in studies:
            metric = r.best_metric if r and r.metric == "val_accuracy" else None
            confirmed = r.confirmed_mean if r and r.confirmed and metric is not None else None
            test = r.test.get("test_accuracy") if r else None
            rows.append((
                path.name, "finished" if r else "unfinished", r.trials if r else "–",
                percent(metric), percent(confirmed), percent(test),
            ))  # fmt: skip
        print_table(("study", "status", "trials", "validation", "new seeds", "test"), rows, "2345")
    if folds:
        say("")
        rows = [
            (one.name, s.dataset, "finished", s.folds, s.images, percent(s.accuracy))
            if s
            else (one.name, "–", "unfinished", "–", "–", "–")
            for one, s in folds
        ]
        headings = ("cross-validation", "data set", "status", "folds", "images", "accuracy")
        print_table(headings, rows, "345")


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
    exit_json({**_facts(run), "record": run.record, "history": run.history()})
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
    from penstroke.runs.run import FoldRuns, find_run
    from penstroke.search.study import Study

    chosen = [Study.find(name) or FoldRuns.find(name) or find_run(name) for name in names]
    size = sum(one.size_bytes for one in chosen) / 1e6
    paths = [str(one.path) for one in chosen]
    if not yes:
        typer.confirm(f"remove {', '.join(paths)} ({size:.1f} MB)?", abort=True, err=True)
    for one in chosen:
        one.remove()
    exit_json({"removed": paths})
    say(f"removed {', '.join(paths)}")


def _facts(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.path), "status": run.status, "created": run.record.created,
        "dataset": run.record.config.data.dataset, "epochs": len(run.history()),
        "size_bytes": run.size_bytes,
        "summary": run.summary() if run.status == "finished" else {},
    }  # fmt: skip
