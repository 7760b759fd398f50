"""What the commands share: options, tables, progress bars and JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

Options = TypeVar("Options")
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Name or path of a run (see `penstroke runs list`).")
]
DatasetName = Annotated[
    str, typer.Argument(metavar="DATASET", help="Data set (see `penstroke data list`).")
]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="Data set (see `penstroke data list`).")
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="List of training images to leave out, as `data audit` writes it."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any setting by its dotted name; may be repeated."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what already exists.")]
Report = Annotated[bool, typer.Option(help="HTML report with plots.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout, messages on stderr.")
]
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Decorate a command that takes its options as one frozen dataclass, built once by Typer."""

    def decorate(function: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            function(options(**values))

        hints = get_type_hints(options, include_extras=True)
        parameters = [
            one.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, one in inspect.signature(options).parameters.items()
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = hints
        command.__doc__ = function.__doc__
        return command

    return decorate


def changes_from(assignments: Iterable[str] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted names: the `options` that were given, then those of `--set`."""
    from penstroke.config.toml import parse_assignments

    given = {name: value for name, value in options.items() if value is not None}
    return given | parse_assignments(assignments or ())


def excluded_images(path: Path | None) -> list[int] | None:
    """Return the setting `data.exclude` of the list at `path`; None where it is empty.

    Raises:
        ConfigError: the file cannot be read, or a line of it is not a position.
    """
    if path is None:
        return None
    from penstroke.quality.exclusion import read_list

    return read_list(path) or None


def stem_of(recipe: str) -> str:
    """Return the beginning of the names of runs of `recipe`, a name or a path."""
    return recipe.rstrip("/").rpartition("/")[2].removesuffix(".toml")


def say(text: str, *, as_json: bool = False) -> None:
    """Print a line for people; on stderr where stdout belongs to a machine."""
    typer.echo(text, err=as_json)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object; a dataclass becomes one too, and NaN, which JSON does not have, null."""
    typer.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], right: str = "") -> None:
    """Print a plain table; the columns whose indices are in `right` ("12") are right-aligned."""
    lines = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            cell.rjust(width) if str(k) in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        typer.echo("  ".join(cells).rstrip())


@contextlib.contextmanager
def progress_bar(*columns: str) -> Iterator[Progress]:
    """Show a progress bar with the time left on stderr; nothing where that is not a terminal."""
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


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction as a percentage."""
    return "–" if fraction is None else f"{100 * fraction:.{digits}f} %"


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of a time given as 90s, 20m or 2h; None stays None."""
    if text is None:
        return None
    try:
        seconds = float(text[:-1]) * _SECONDS[text[-1:]]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise typer.BadParameter(f"{text!r} is not a time: write it as 90s, 20m or 2h")
    return seconds


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
