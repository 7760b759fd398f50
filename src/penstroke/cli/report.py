"""`penstroke report`: the page about a run."""

from __future__ import annotations

from typing import Annotated

import typer

from penstroke.cli.console import Json, print_json, say


def command(
    run: Annotated[str, typer.Argument(help="Name or path of a run: `penstroke runs list`.")],
    as_json: Json = False,
) -> None:
    """Write a run's page: curves, confusion matrix, worst mistakes, samples."""
    from penstroke.evaluation import evaluate

    judged = evaluate(run)
    path = judged.write_report()
    if as_json:
        print_json({"run": str(judged.run.path), "report": str(path)})
    else:
        say(str(path))
