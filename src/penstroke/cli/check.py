"""`penstroke check`: the usual mistakes, found before training."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstroke.cli.console import (
    Changes,
    Dataset,
    Json,
    changes_from,
    print_json,
    print_table,
    progress_bar,
    say,
    stem_of,
)

if TYPE_CHECKING:
    from penstroke.quality.checks import Finding
    from penstroke.quality.learning_rate_range import RangeTest
    from penstroke.quality.training_setup import TrainingSetup


def command(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe, or a .toml file.")] = "fast",
    dataset: Dataset = None,
    rates: Annotated[
        bool, typer.Option("--lr", help="Learning-rate range test, with its curve.")
    ] = False,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Check a recipe before training; exit code 1 if a check fails.

    Nothing is kept but the page: every check trains a copy.
    """
    from penstroke.config.recipes import load_recipe
    from penstroke.data.loading import load_dataset
    from penstroke.quality.checks import check
    from penstroke.quality.learning_rate_range import range_test
    from penstroke.quality.training_setup import TrainingSetup

    settings = changes_from(changes, {"data.dataset": dataset})
    config = load_recipe(recipe, settings).run_config()
    setup = TrainingSetup.from_config(config, load_dataset(config.data))
    with progress_bar() as bar:
        task = bar.add_task("checking", total=None)
        found = [] if rates else check(setup, lambda: bar.advance(task))
        tested = range_test(setup, lambda: bar.advance(task)) if rates else None
    page = _write_page(recipe, setup, found, tested)
    changed = [*(["--dataset", dataset] if dataset else []),
               *(word for one in changes or [] for word in ("--set", one))]  # fmt: skip
    if as_json:
        range_facts = {"range_test": tested} if tested else {}
        print_json({"recipe": recipe, "findings": found, **range_facts, "report": str(page)})
    else:
        _show([recipe, *changed], found, tested, page)
    if any(one.outcome == "fail" for one in found):
        raise typer.Exit(1)


def _write_page(
    recipe: str, setup: TrainingSetup, found: Sequence[Finding], rates: RangeTest | None
) -> Path:
    from penstroke.files import runs_root
    from penstroke.reports.check_report import write_check_report

    name = stem_of(recipe) + ("-lr" if rates else "")
    path = runs_root() / "checks" / name / "index.html"
    write_check_report(path, name, setup, found, rates)
    return path


def _show(
    checked: Sequence[str], found: Sequence[Finding], rates: RangeTest | None, page: Path
) -> None:
    if found:
        print_table(("check", "", "result"),
                    [(one.name, one.outcome, one.text) for one in found])  # fmt: skip
        for one in found:
            if one.advice:
                say(f"\n{one.name}: {one.advice}")
    if rates:
        say(f"suggested train.learning_rate: {rates.suggestion:g}")
        say(f"{rates.reason}")
    say(f"\nreport  {page}")
    if all(one.outcome == "pass" for one in found) and not rates:
        say(f"next: penstroke train {shlex.join(checked)}")
