"""`penstroke form`: paper to table."""

from __future__ import annotations

import csv
from pathlib import Path

from penstroke.cli.console import exit_json, say
from penstroke.cli.options import JSON, OVERWRITE, argument, command_group, option
from penstroke.errors import ConfigError
from penstroke.files import explained, write_text_atomically

app = command_group("form", "Describe, print and read forms.")

FORM = argument("Description of the form.", metavar="FORM.toml", exists=True, dir_okay=False)


@app.command("new")
def new_command(
    path: Path = argument("File to write.", metavar="FORM.toml"),
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Write the description of an example form, with comments, to be changed."""
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists; --overwrite replaces it")
    text = (Path(__file__).parents[1] / "forms/example.toml").read_text("utf-8")
    write_text_atomically(path, text)
    exit_json({"form": str(path)})
    say(f"form  {path}; next: penstroke form print {path} -o {path.with_suffix('.pdf').name}")


@app.command("print")
def print_command(
    form: Path = FORM,
    output: Path = option("PDF to write.", ..., "--output", "-o", metavar="FILE.pdf"),
    people: str | None = option(
        "CSV file of people, a form for each; FILE.csv:COLUMN names the column that tells them "
        "apart, else it is the first.", None, "--for", metavar="FILE.csv",
    ),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Make a PDF of a form to be printed: black on white, at its full size."""
    from penstroke.forms.description import read_form
    from penstroke.forms.printing import print_form

    pages = print_form(read_form(form), output, _people(people) if people else [])
    exit_json({"pdf": str(output), "pages": pages})
    say(f"pdf  {output}, {pages} {'page' if pages == 1 else 'pages'}; print at 100 %, not “to fit”")


def _people(source: str) -> list[str]:
    name, _, column = source.partition(":") if not Path(source).exists() else (source, "", "")
    with explained(f"read {name}", ConfigError):
        rows = list(csv.DictReader(Path(name).read_text("utf-8-sig").splitlines()))
    if not rows:
        raise ConfigError(f"{name} has no rows below its heading")
    column = column or next(iter(rows[0]))
    if column not in rows[0]:
        raise ConfigError(f"{name} has no column {column!r}; it has {', '.join(rows[0])}")
    people = [(row[column] or "").strip() for row in rows]
    for number, person in enumerate(people, start=2):
        if not person or people.index(person) != number - 2:
            why = f"{person!r} again" if person else f"no {column}"
            raise ConfigError(f"{name}, line {number}: {why}; each form is for one person")
    return people
