"""What every command shares: tables and progress for people, one JSON object for machines."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout, the rest on stderr.")
]
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def say(text: str, *, as_json: bool = False) -> None:
    """Print a line for people; on stderr where stdout belongs to a machine."""
    typer.echo(text, err=as_json)


def print_json(value: Mapping[str, Any]) -> None:
    """Print the one object; what JSON has no word for (nan) becomes null."""
    typer.echo(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], right: str = "") -> None:
    """Print a plain table; columns whose index stands in `right` are aligned so ("12")."""
    lines = [[str(cell) for cell in row] for row in rows]
    everything = [list(headings), *lines]
    widths = [max(len(line[k]) for line in everything) for k in range(len(headings))]
    for line in everything:
        cells = (
            cell.rjust(width) if str(k) in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        typer.echo("  ".join(cells).rstrip())


def options_typed(context: typer.Context) -> dict[str, str]:
    """Return the options that stand on the command line, as typed, by their parameter's name."""
    return {
        option.name: option.opts[0]
        for option in context.command.params
        if option.name
        and option.opts[0].startswith("-")
        and getattr(context.get_parameter_source(option.name), "name", "") == "COMMANDLINE"
    }


@contextlib.contextmanager
def progress_bar(*columns: str) -> Iterator[Progress]:
    """Show a bar with an estimate on stderr; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *map(TextColumn, columns),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:  # fmt: skip
        yield progress


def program() -> str:
    """Return how this program is called from here: by its name, or by its path."""
    return "penstroke" if shutil.which("penstroke") else sys.argv[0]


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as a person reads it."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def seconds_of(text: str | None) -> float | None:
    """Read a time as it is given on the command line: 90s, 20m or 2h; None stays None."""
    if text is None:
        return None
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * _SECONDS[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise typer.BadParameter(f"{text!r}: write it as 90s, 20m or 2h")
    return seconds
