"""`penstroke reproduce`: published projects repeated, beside their published results."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstroke.cli.console import Json, print_json, say, seconds_of

if TYPE_CHECKING:
    from penstroke.reproduction.commands import ProjectResult
    from penstroke.reproduction.projects import Project, Step


def command(
    projects: Annotated[
        list[str],
        typer.Argument(metavar="R0 … R4|all", help="Projects to repeat; also presets and letters."),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Few images and epochs: minutes instead of hours.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Number of training seeds per recipe.")] = 3,
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Time for each search of the published space of R2.")
    ] = "5m",
    digits: Annotated[
        str, typer.Option(help="Data set of digits for R2 and letters.")
    ] = "emnist-digits",
    letters: Annotated[
        str, typer.Option(help="Data set of letters for R2 and letters.")
    ] = "emnist-letters",
    page: Annotated[Path, typer.Option(metavar="FILE", help="Markdown page to write.")] = Path(
        "results.md"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List of the commands only.")] = False,
    as_json: Json = False,
) -> None:
    """Repeat published projects and compare the results.

    Each step is a command of its own. The same call resumes where it was interrupted.
    """
    from penstroke.reproduction.projects import Reproduction, find_projects, steps_of

    seconds_of(budget)  # refused here, rather than by a search an hour later
    options = Reproduction(seeds=seeds, quick=quick, budget=budget, digits=digits, letters=letters)
    plan = {project: steps_of(project, options) for project in find_projects(projects)}
    if dry_run:
        lines = {p.name: [step.line for step in steps] for p, steps in plan.items()}
        if as_json:
            print_json({"commands": lines})
        else:
            say("\n".join(line for several in lines.values() for line in several))
        return
    from penstroke.data.loading import load_dataset
    from penstroke.files import check_writable
    from penstroke.reports.reproduction_page import write_reproduction_page

    check_writable(page)  # also refused here
    for name in options.stand_ins:
        load_dataset(name)
    figures = write_reproduction_page(page, _run(plan), options)
    if as_json:
        print_json({"page": str(page), **figures})
    else:
        say(f"\n{page.read_text()}\nwritten to {page}")


def _run(plan: Mapping[Project, list[Step]]) -> list[ProjectResult]:
    """Run all steps of all parts, saying where it is."""
    from penstroke.reproduction.commands import ProjectResult, reproduce

    numbers = itertools.count(1)
    total = sum(map(len, plan.values()))

    def watch(step: Step) -> None:
        say(f"\n[{next(numbers)} of {total}] {step.line}", as_json=True)

    try:
        return [ProjectResult(project, reproduce(s, watch)) for project, s in plan.items()]
    except KeyboardInterrupt:
        say("interrupted: the same command goes on", as_json=True)
        raise typer.Exit(130) from None
