"""`penstroke check`: the usual mistakes, found before training."""

import shlex

import typer

from penstroke.cli.console import exit_json, print_table, progress_bar, say
from penstroke.cli.options import DATASET, JSON, SET, argument, changes_from, option, stem_of


def command(
    recipe: str = argument("Shipped recipe, or a .toml file.", "fast"),
    dataset: str | None = DATASET,
    rates: bool = option(
        "Learning-rate range test, and the check of the rate.",
        False,
        "--lr",
    ),
    changes: list[str] | None = SET,
    as_json: bool = JSON,
) -> None:
    """Check a recipe before training; exit code 1 if a check fails.

    Nothing is kept but the page: every check trains a copy.
    """
    from penstroke.config.recipes import load_recipe
    from penstroke.data.loading import load_dataset
    from penstroke.errors import ConfigError
    from penstroke.files import runs_root
    from penstroke.quality.checks import TrainingSetup, check, range_test
    from penstroke.reports.check_report import write_check_report

    config = load_recipe(recipe, changes_from(changes, {"data.dataset": dataset})).run_config()
    if config.reads_lines:
        raise ConfigError(
            f"{recipe} reads lines, but the checks are for recipes of single characters: train for "
            "one epoch instead (`penstroke train --epochs 1`)"
        )
    setup = TrainingSetup.from_config(config, load_dataset(config.data))
    with progress_bar("checking") as update:
        # The recipe's own rate is judged by the same check, so that both commands agree.
        findings = check(setup, lambda: update(advance=1), "learning rate" if rates else None)
        ranges = range_test(setup, lambda: update(advance=1)) if rates else None
    name = stem_of(recipe) + ("-lr" if rates else "")
    page = runs_root() / "checks" / name / "index.html"
    write_check_report(page, name, setup, findings, ranges)
    exit_code = int(any(one.outcome == "fail" for one in findings))
    facts = {"range_test": ranges} if ranges else {}
    exit_json({"recipe": recipe, "findings": findings, **facts, "report": str(page)}, exit_code)
    if findings:
        print_table(("check", "", "result"), [(f.name, f.outcome, f.text) for f in findings])
    for one in findings:
        if one.advice:
            say(f"\n{one.name}: {one.advice}")
    if ranges:
        say(f"suggested train.learning_rate: {ranges.suggestion:g}\n{ranges.reason}")
    say(f"\nreport  {page}")
    if all(one.outcome == "pass" for one in findings) and not rates:
        words = [recipe, *(["--dataset", dataset] if dataset else [])]
        words += [word for one in changes or [] for word in ("--set", one)]
        say(f"next: penstroke train {shlex.join(words)}")
    raise typer.Exit(exit_code)
