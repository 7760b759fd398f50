"""`penstroke form read --grid`: tables and sudokus, a photo each."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from penstroke.cli.console import say
from penstroke.cli.image_arguments import answer_each, expand, open_recognizer
from penstroke.errors import MissingExtraError
from penstroke.files import write_text_atomically
from penstroke.inference.bundled import DEFAULT_MODEL

if TYPE_CHECKING:
    from penstroke.forms.grid_reading import GridRules

_WORKING_SIDE = 2400
_MOST_LINES = 200


def read_grids(
    images: Sequence[str], grid: str, rules: GridRules | None, output: Path | None
) -> NoReturn:
    """Read the grid in each of `images`, print or write a table of each, and end the command."""
    try:
        import cv2  # noqa: F401 - to say at once what is missing
    except ImportError as error:
        raise MissingExtraError.for_extra("forms", error.name) from error
    rows, columns = _size(grid)
    recognizer = open_recognizer(DEFAULT_MODEL)

    def answer(name: str, source: bytes | Path) -> dict[str, Any]:
        import numpy as np

        from penstroke.forms.grid_reading import read_grid
        from penstroke.forms.grids import find_grid
        from penstroke.preprocessing.decoding import read_grey

        grey = np.rint(255 * read_grey(source, working_side=_WORKING_SIDE)).astype(np.uint8)
        reading = read_grid(find_grid(grey, rows, columns), recognizer, rules)
        return {"image": name, "status": "ok", **reading.to_dict()}

    def keep(answers: list[dict[str, Any]]) -> None:
        if output:
            write_text_atomically(output, _table(answers))

    answer_each(expand(images), answer, partial(_show, output=output), DEFAULT_MODEL, keep)
    raise typer.Exit


def _size(grid: str) -> tuple[int | None, int | None]:
    if grid == "auto":
        return None, None
    match = re.fullmatch(r"(\d{1,3})[x×](\d{1,3})", grid)
    if not match or not all(1 < int(side) <= _MOST_LINES for side in match.groups()):
        raise typer.BadParameter(
            f"{grid!r} is not ROWSxCOLUMNS, each from 2 to {_MOST_LINES}, such as 9x9, nor auto",
            param_hint="--grid",
        )
    return int(match[1]), int(match[2])


def _table(answers: list[dict[str, Any]]) -> str:
    """Return a row for each row of each grid: image, row, its cells."""
    text = io.StringIO()
    writer = csv.writer(text)
    columns = max((answer["columns"] for answer in answers if "table" in answer), default=0)
    writer.writerow(["image", "row", *range(1, columns + 1)])
    for answer in answers:
        for number, row in enumerate(answer.get("table", []), start=1):
            writer.writerow([answer["image"], number, *row])
    return text.getvalue()


def _show(answers: list[dict[str, Any]], output: Path | None) -> None:
    for answer in answers:
        if "table" not in answer:
            say(f"{answer['image']}: {answer.get('error', 'not read')}")
            continue
        doubtful = [cell for cell in answer["values"] if cell["status"] == "doubtful"]
        sure = f"{answer['probability']:.1%} sure of all of it"
        rules = " · breaks the rules: each cell was read for itself"
        say(f"{answer['image']}  {answer['rows']}x{answer['columns']}  {sure}"
            f"{rules if answer['obeys_rules'] is False else ''}")  # fmt: skip
        width = max(len(value) for row in answer["table"] for value in row) or 1
        for row in answer["table"] if output is None else ():
            say("  " + " ".join((value or "·").rjust(width) for value in row))
        if doubtful:
            places = ", ".join(
                f"row {cell['row'] + 1} column {cell['column'] + 1} {cell['value']!r} "
                f"({cell['probability']:.0%})" for cell in doubtful[:5]
            )  # fmt: skip
            more = f", and {len(doubtful) - 5} more" if len(doubtful) > 5 else ""
            say(f"  doubtful: {places}{more}")
    if output:
        say(f"table  {output}")
