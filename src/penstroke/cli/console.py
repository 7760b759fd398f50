"""What the commands print: lines, tables, progress bars and JSON."""

import contextlib
import dataclasses
import datetime
import functools
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import typer

AS_JSON = ContextVar("as_json", default=False)
"""Whether the command answers in JSON."""


def set_json(as_json: bool) -> bool:
    """Set `AS_JSON`; the callback of --json."""
    AS_JSON.set(as_json)
    return as_json


def say(text: str) -> None:
    """Print a line for people; on stderr where stdout belongs to a machine."""
    typer.echo(text, err=AS_JSON.get())


def note(text: str) -> None:
    """Print a line on stderr."""
    typer.echo(text, err=True)


def exit_json(value: Mapping[str, Any], exit_code: int = 0) -> None:
    """With --json, print one object and end the command; without, do nothing.

    A dataclass becomes an object too, and NaN and infinity, which JSON does not have, null.
    """
    if AS_JSON.get():
        typer.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))
        raise typer.Exit(exit_code)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], right: str = "") -> None:
    """Print a plain table; the columns whose indices are in `right` ("12") are right-aligned."""
    lines = [[str(cell) for cell in line] for line in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.rjust if str(k) in right else str.ljust for k in range(len(headings))]
    for line in lines:
        cells = (pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def show_left_out(what: str, lines: Sequence[str]) -> None:
    """Print how many things were left out, and the first of them; nothing if there are none."""
    if lines:
        more = [f"and {len(lines) - 5:,} more"] if len(lines) > 5 else []
        say("\n  ".join([f"\n{what}: {len(lines):,}", *lines[:5], *more]))


@contextlib.contextmanager
def progress_bar(
    text: str, *columns: str, total: float | None = None, hint: str = "", **task: Any
) -> Iterator[Callable[..., None]]:
    """Show a bar with the time left, once it is known; nothing where stderr is not a terminal.

    Yields a function that takes what rich's `Progress.update` takes: advance, completed, total.
    With a `hint` on how to resume, Ctrl-C prints it and ends the command.
    """
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class TimeColumn(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            left, elapsed = task.time_remaining, task.elapsed or 0.0
            return Text(f"{_clock(elapsed)} so far" if left is None else f"{_clock(left)} left")

    bar = rich.Progress(
        rich.SpinnerColumn(), rich.TextColumn("{task.description}"), rich.BarColumn(),
        *map(rich.TextColumn, columns), TimeColumn(), console=Console(stderr=True), transient=True,
        disable=not sys.stderr.isatty(), redirect_stdout=sys.stdout.isatty(),
    )  # fmt: skip
    try:
        with bar:
            yield functools.partial(bar.update, bar.add_task(text, total=total, **task))
    except KeyboardInterrupt:
        if not hint:
            raise
        note(hint)
        raise typer.Exit(130) from None


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


def program() -> str:
    """Return how this program is called from here: by its name, or by its path."""
    return "penstroke" if shutil.which("penstroke") else sys.argv[0]


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction as a percentage."""
    return "–" if fraction is None else f"{100 * fraction:.{digits}f} %"


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    elif dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
