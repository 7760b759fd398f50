"""`penstroke report`: the report of a run or a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstroke.cli.console import Json, print_json, say


def command(
    name: Annotated[
        str, typer.Argument(metavar="RUN|STUDY", help="Name or path (see `penstroke runs list`).")
    ],
    as_json: Json = False,
) -> None:
    """Write the HTML report of a run or a study."""
    folder, page = _of_study(name) or _of_run(name)
    if as_json:
        print_json({"run": str(folder), "report": str(page)})
    else:
        say(str(page))


def _of_study(name: str) -> tuple[Path, Path] | None:
    from penstroke.search.study import find_study
    from penstroke.search.workflow import result_so_far

    study = find_study(name)
    if study is None:
        return None
    from penstroke.reports.search_report import write_search_report

    return study.path, write_search_report(study, result_so_far(study))


def _of_run(name: str) -> tuple[Path, Path]:
    from penstroke.reports.run_report import write_run_report
    from penstroke.runs.run import find_run
    from penstroke.runs.trained import evaluate

    run = find_run(name)
    return run.path, write_run_report(run, evaluate(run))
