"""`penstroke reproduce`: published projects repeated, beside their published results."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from penstroke.cli.console import exit_json, note, say
from penstroke.cli.options import JSON, argument, option, seconds_of
from penstroke.files import check_writable

if TYPE_CHECKING:
    from penstroke.reproduction import Step


def command(
    projects: list[str] = argument(
        "Projects to repeat; also presets and letters.", metavar="R0 … R4|all"),
    quick: bool = option("Few images and epochs: minutes instead of hours.", False, "--quick"),
    seeds: int = option("Number of training seeds per recipe.", 3, min=1),
    budget: str = option(
        "Time for each search of the published space of R2.", "5m", metavar="TIME"),
    digits: str = option("Data set of digits for R2 and letters.", "emnist-digits"),
    letters: str = option("Data set of letters for R2 and letters.", "emnist-letters"),
    page: Path = option("Markdown page to write.", Path("results.md"), metavar="FILE"),
    dry_run: bool = option("List of the commands only.", False, "--dry-run"),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Repeat published projects and compare the results.

    Each step is a command of its own. The same call resumes where it was interrupted.
    """
    from penstroke.reproduction import Reproduction, find_projects, steps_of

    seconds_of(budget)  # refused here, rather than by a search an hour later
    options = Reproduction(seeds=seeds, quick=quick, budget=budget, digits=digits, letters=letters)
    plan = {project: steps_of(project, options) for project in find_projects(projects)}
    if dry_run:
        lines = {p.name: [step.line for step in steps] for p, steps in plan.items()}
        exit_json({"commands": lines})
        say("\n".join(itertools.chain(*lines.values())))
        return
    from penstroke.data.loading import load_dataset
    from penstroke.reports.reproduction_page import write_reproduction_page
    from penstroke.reproduction import ProjectResult, reproduce

    check_writable(page)  # also refused here
    for name in options.stand_ins:
        load_dataset(name)
    numbers, total = itertools.count(1), sum(map(len, plan.values()))

    def watch(step: Step) -> None:
        note(f"\n[{next(numbers)} of {total}] {step.line}")

    try:
        results = [ProjectResult(project, reproduce(s, watch)) for project, s in plan.items()]
    except KeyboardInterrupt:
        note("interrupted: the same command resumes")
        raise typer.Exit(130) from None
    exit_json({"page": str(page), **write_reproduction_page(page, results, options)})
    say(f"\n{page.read_text()}\nwritten to {page}")
