"""`penstroke form`: paper to table."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from penstroke.cli.console import (
    AS_JSON,
    exit_json,
    percent,
    print_table,
    program,
    progress_bar,
    say,
    show_left_out,
)
from penstroke.cli.options import JSON, OVERWRITE, argument, command_group, option
from penstroke.errors import ConfigError
from penstroke.files import check_writable, write_atomically, write_text_atomically

if TYPE_CHECKING:
    from penstroke.forms.form_reader import PileSummary

app = command_group("form", "Describe, print, read and review forms.")

FORM = argument("Description of the form.", metavar="FORM.toml", exists=True, dir_okay=False)


@app.command("new")
def new_command(
    path: Path = argument("File to write.", metavar="FORM.toml"),
    paper: Literal["A4", "Letter"] = option("Paper size.", "A4"),
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:
    """Write the description of an example form, with comments, to be changed."""
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists; --overwrite replaces it")
    text = (Path(__file__).parents[1] / "forms/example.toml").read_text("utf-8")
    if paper == "Letter":
        text = text.replace('paper = "A4"                  # or "Letter"', 'paper = "Letter"')
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

    everyone = _people(people) if people else []
    columns = "{task.completed:,.0f} of {task.total:,.0f}"
    with progress_bar("printing", columns, total=max(1, len(everyone))) as update:
        pages = print_form(read_form(form), output, everyone, lambda done: update(completed=done))
    exit_json({"pdf": str(output), "pages": pages})
    say(f"pdf  {output}, {pages} {'page' if pages == 1 else 'pages'}; print at 100 %, not “to fit”")


@app.command("read")
def read_command(
    form: Path = argument(
        "Description of the form; with --grid, the first photo.", metavar="FORM.toml", exists=True
    ),
    scans: list[Path] | None = argument(
        "Images, TIFFs, PDFs, or folders of them.", None, metavar="SCANS…"
    ),
    output: Path | None = option(
        "Table to write, answers.csv by default; the folder of its name, without .csv, keeps the "
        "pages for the review.", None, "--output", "-o", metavar="FILE.csv",
    ),
    grid: str | None = option(
        "Read the largest grid of cells in each photo, without a form, such as 9x9; auto: its rows "
        "and columns are counted.", metavar="ROWSxCOLUMNS",
    ),
    rules: Literal["sudoku"] | None = option(
        "With --grid: rules that all cells obey together."
    ),
    precision: float = option(
        "Least share of right ones among the fields that are accepted; all others are doubtful.",
        0.99, min=0.5, max=0.9999,
    ),
    workers: int | None = option("Processes; one for each core by default.", None, min=1),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Read scanned or photographed pages of a form into a table.

    What is in the table's folder already is not read again, so that the same command continues
    after Ctrl-C, or adds new scans.
    """
    if grid:
        from penstroke.cli.form_grids import read_grids

        read_grids([str(path) for path in (form, *(scans or ()))], grid, rules, output)
    if not scans or rules:
        what = "no scans to read" if not scans else "--rules is for --grid"
        raise typer.BadParameter(what, param_hint="SCANS…" if not scans else "--rules")
    from penstroke.forms.description import read_form
    from penstroke.forms.form_reader import Pile
    from penstroke.machine import allowed_cores

    output = output or Path("answers.csv")
    if output.suffix.lower() != ".csv":
        raise ConfigError(f"--output {output}: the table is a .csv")
    check_writable(output)
    with closing(Pile(read_form(form), scans, output, precision)) as pile:
        hint = f"stopped; the same command continues: {pile.folder.path} keeps what was read"
        with progress_bar("reading", "{task.completed}/{task.total} pages", total=len(pile.items),
                          hint=hint) as update:  # fmt: skip
            for _ in pile.read(workers or allowed_cores()):
                update(advance=1)
        summary = pile.finish()
    exit_code = 0 if summary.read else 1
    exit_json({"csv": str(output), "json": str(output.with_suffix(".json")),
               "folder": str(pile.folder.path), **summary.to_dict()}, exit_code)  # fmt: skip
    _show_summary(summary, precision)
    say(f"\ntable  {output}; pages  {pile.folder.path}")
    raise typer.Exit(exit_code)


def _show_summary(summary: PileSummary, precision: float) -> None:
    by_problem = Counter(page.problem or "" for page in summary.problems)
    why = "; ".join(f"{name.replace('_', ' ')}: {count}" for name, count in by_problem.items())
    print_table(("pages", "count", ""), [
        ("read", summary.read, ""), ("not read", len(summary.problems), why),
    ], "1")  # fmt: skip
    say("")
    total = sum(summary.fields.values()) or 1
    print_table(("fields", "count", "share"), [
        (status, count, percent(count / total, 1)) for status, count in summary.fields.items()
    ], "12")  # fmt: skip
    errors = summary.expected_errors
    say(
        f"\nexpected errors among the accepted and empty: {errors.mean:.1f} "
        f"({errors.low} to {errors.high}), at a precision of {precision:g}"
    )
    if summary.not_shown:
        names = ", ".join(summary.not_shown)
        say(f"always doubtful, as a precision of {precision:g} was not shown for them: {names}")
    show_left_out("pages not read", [
        f"{page.source}, page {page.source_page}: {page.detail}" for page in summary.problems
    ])  # fmt: skip
    show_left_out("files that are copies of others", summary.copies)


@app.command("review")
def review_command(
    answers: Path = argument("Folder of answers, which form read writes beside the table."),
    host: str = option("Address to listen on; beyond this machine a token is required.",
                       "127.0.0.1"),
    port: int = option("Port; 0 is any free one.", 8001, min=0, max=65535),
    token: str | None = option(
        "Token required of callers; generated where needed.", envvar="PENSTROKE_TOKEN"),
    allow_host: list[str] | None = option("Further host name of the service.", metavar="NAME"),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Show doubtful fields beside their images on a local page, to be accepted or corrected.

    Several people can use the page at once. Every change is appended to changes.jsonl in the
    folder; the table is written when all is done, on demand, and when the service stops (Ctrl-C).
    """
    from penstroke.cli.serve import show_to_others
    from penstroke.forms.review import Review
    from penstroke.serve.review_service import serve_review
    from penstroke.serve.server import Listening
    from penstroke.serve.service_settings import ServiceSettings

    settings = ServiceSettings.parse({
        "host": host, "port": port, "allow_hosts": [name.lower() for name in allow_host or ()],
        **({"token": token} if token else {}),
    })  # fmt: skip
    review = Review(answers)
    progress = review.progress()

    def on_listening(listening: Listening) -> None:
        facts = {"url": listening.url, "token": listening.token, "page": listening.page}
        if AS_JSON.get():
            typer.echo(json.dumps({**facts, "open": progress.open}, ensure_ascii=False))
            return
        say(f"{progress.open:,} of {progress.to_review:,} fields to review\npage  {listening.page}")
        if not settings.is_local:
            show_to_others(listening)

    serve_review(review, settings, on_listening)


@app.command("export-training")
def export_training_command(
    answers: Path = argument("Folder of answers, which people reviewed."),
    output: Path = option("Folder to write.", ..., "--output", "-o", metavar="FOLDER"),
    as_json: bool = JSON,
) -> None:
    """Write what people accepted or corrected as labelled images, with writers, to be imported.

    The folder gets characters.csv, of boxes, and lines.csv, each with the images that it names.
    """
    from penstroke.forms.answers_folder import AnswersFolder
    from penstroke.forms.training_data import write_training_data

    done = write_training_data(AnswersFolder(answers), output)
    exit_json(done.to_dict())
    say(f"{done.characters:,} characters and {done.lines:,} lines of {done.writers:,} writers")
    show_left_out("left out", done.left_out)
    if done.characters_table:
        say(f"\nnext: {program()} data import NAME {done.characters_table}\n"
            f"      {program()} train --init-from digits --dataset NAME")  # fmt: skip
    if done.lines_table:
        say(f"\nnext: {program()} data import LINES {done.lines_table} --lines\n"
            f"      {program()} train numbers --dataset LINES")  # fmt: skip


def _people(source: str) -> list[str]:
    from penstroke.forms.description import column_of

    name, _, column = source.partition(":") if not Path(source).exists() else (source, "", "")
    column, people = column_of(Path(name), column)
    for number, person in enumerate(people, start=2):
        if not person or people.index(person) != number - 2:
            why = f"{person!r} again" if person else f"no {column}"
            raise ConfigError(f"{name}, line {number}: {why}; each form is for one person")
    return people


@app.command("sheet")
def sheet_command(
    output: Path = option("PDF to write.", ..., "--output", "-o", metavar="FILE.pdf"),
    classes: Literal["digits", "letters", "characters"] = option("What is written.", "digits"),
    rows: int | None = option("Rows of 20 boxes; by default one for each class.", min=1, max=200),
    writer: str = option("Who will write; else the file's name says it.", "", metavar="NAME"),
    paper: Literal["A4", "Letter"] = option("Size of the paper.", "A4"),
    as_json: bool = JSON,
) -> None:
    """Make a sheet to collect handwriting on: each row says what is to be written in its boxes.

    `penstroke data import NAME PHOTOS --sheet` makes a data set of its photos or scans.
    """
    from penstroke.forms.printing import print_form
    from penstroke.forms.sheets import sheet_form

    form = sheet_form(classes, rows, paper)
    pages = print_form(form, output, [writer] if writer else [])
    exit_json({"pdf": str(output), "pages": pages})
    say(f"pdf   {output}, {pages} {'page' if pages == 1 else 'pages'}; print at 100 %, and fill it")
    say("next  penstroke data import NAME PHOTOS --sheet")


@app.command("detect")
def detect_command(
    sources: list[Path] = argument(
        "A blank copy (picture, scan or PDF, of one page or more); or four or more filled copies "
        "of one page.", metavar="PAGE…", exists=True, dir_okay=False,
    ),
    output: Path = option("Description to write.", ..., "--output", "-o", metavar="FORM.toml"),
    copies: bool | None = option(
        "Whether all pages are filled copies of one; by default those of several files are.", None,
        "--copies/--pages",
    ),
    overwrite: bool = OVERWRITE,
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Find the boxes, tables and lines of somebody else's form, and describe them as a form.

    Beside the description there are two pictures: the blank form, by whose print scans are
    registered, and a preview with the names of the fields, which are then to be renamed.
    """
    from tempfile import TemporaryDirectory

    from PIL import Image

    from penstroke.forms.detection import common_page, detect_form, detect_page, preview
    from penstroke.forms.page_images import page_images

    images = [image for source in sources for _, image in page_images(source)]
    is_pile = len(sources) > 1 if copies is None else copies
    if is_pile:
        with TemporaryDirectory() as folder:
            images = [common_page(images, Path(folder))]
    pages = [detect_page(image) for image in images]
    blank = output.with_name(f"{output.stem}-blank.{'tif' if len(pages) > 1 else 'png'}")
    form = detect_form(pages, re.sub(r"[^A-Za-z0-9_-]", "-", output.stem) or "form", blank.name)
    number = (f"-{page}" for page in range(1, len(pages) + 1)) if len(pages) > 1 else iter([""])
    previews = {
        output.with_name(f"{output.stem}-preview{next(number)}.png"):
        Image.fromarray(preview(page, form.on_page(index))[:, :, ::-1])
        for index, page in enumerate(pages, start=1)
    }  # fmt: skip
    for path in (output, blank, *previews):
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} exists; --overwrite replaces it")
    first, *others = (Image.fromarray(page.image) for page in pages)
    stream = BytesIO()
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(stream, "TIFF" if others else "PNG", **more)
    write_atomically(blank, stream.getvalue())
    for path, picture in previews.items():
        stream = BytesIO()
        picture.save(stream, "PNG")
        write_atomically(path, stream.getvalue())
    write_text_atomically(output, form.to_toml())
    exit_json({
        "form": str(output), "blank": str(blank), "previews": [*map(str, previews)],
        "fields": [field.to_dict() for field in form.fields],
    })  # fmt: skip
    print_table(
        ("field", "type", "boxes", "page", "left mm", "top mm"),
        [(f.name, f.type, len(f.boxes), f.page, f.boxes[0].left, f.boxes[0].top)
         for f in form.fields],
        "2345",
    )  # fmt: skip
    say(f"form     {output}: rename the fields there")
    say(f"preview  {', '.join(map(str, previews))}")
