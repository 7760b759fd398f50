"""`penstroke export`: a run in other formats."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstroke.cli.console import Json, RunName, print_json, say

if TYPE_CHECKING:
    from penstroke.runs.run import Run


class Target(StrEnum):
    """What a run can be exported to."""

    ONNX = "onnx"
    CSV = "csv"
    WEB = "web"


def command(
    run: RunName,
    to: Annotated[
        Target,
        typer.Option(help="Format: onnx (the model), csv (the history) or web (an offline page)."),
    ] = Target.ONNX,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; for web, the folder.")
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For web: ONNX Runtime Web as an npm .tgz, to avoid the download."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a run as an ONNX file, a table or an offline page."""
    from penstroke.files import write_atomically
    from penstroke.runs.run import find_run, history_csv

    found = find_run(run)
    if to is Target.WEB:
        _export_web(found, output or Path(f"{found.name}-web"), runtime, as_json)
        return
    path = output or Path(f"{found.name}.{to.value}")
    content = found.model_file() if to is Target.ONNX else history_csv(found)
    write_atomically(path, content)
    if as_json:
        print_json({"run": str(found.path), "file": str(path), "size_bytes": len(content)})
    else:
        say(f"{path}  {len(content) / 1e6:.2f} MB")


def _export_web(run: Run, folder: Path, runtime: Path | None, as_json: bool) -> None:
    from penstroke.serve.offline_export import export_web

    size = export_web(run.path, folder, runtime)
    if as_json:
        print_json({"run": str(run.path), "folder": str(folder), "size_bytes": size})
    else:
        say(f"{folder}  {size / 1e6:.1f} MB, of which ONNX Runtime Web is most\n"
            f"next: python -m http.server --bind 127.0.0.1 --directory {folder}")  # fmt: skip
