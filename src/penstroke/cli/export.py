"""`penstroke export`: a run in somebody else's format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from penstroke.cli.console import Json, print_json, say


class Target(StrEnum):
    """What a run can be exported to."""

    ONNX = "onnx"
    CSV = "csv"


def command(
    run: Annotated[str, typer.Argument(help="Name or path of a run: `penstroke runs list`.")],
    to: Annotated[Target, typer.Option(help="onnx: the model; csv: the history.")] = Target.ONNX,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    as_json: Json = False,
) -> None:
    """Write a run's model as one ONNX file, or its history as a table."""
    from penstroke.files import write_atomically
    from penstroke.runs import find_run
    from penstroke.workflow import export, history_csv

    found = find_run(run)
    path = output or Path(f"{found.name}.{to.value}")
    content = export(found) if to is Target.ONNX else history_csv(found)
    write_atomically(path, content)
    if as_json:
        print_json({"run": str(found.path), "file": str(path), "size_bytes": len(content)})
    else:
        say(f"{path}  {len(content) / 1e6:.2f} MB")
