"""`penstroke read`: lines of writing, such as numbers and words, from images and pages."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from penstroke.cli.console import percent, print_table, say
from penstroke.cli.image_arguments import (
    CONFIDENCE_THRESHOLD,
    IMAGES,
    PRECISION,
    answer_each,
    expand,
    model_option,
    refuse_both,
)
from penstroke.cli.options import JSON, given_options, option, takes
from penstroke.files import write_text_atomically
from penstroke.inference.bundled import default_reader
from penstroke.inference.check_digits import CheckDigitName

if TYPE_CHECKING:
    from penstroke.inference.constraints import Constraint
    from penstroke.inference.line_reader import LineReader
    from penstroke.inference.readings import PageReading
    from penstroke.inference.recognizer import Recognizer
    from penstroke.preprocessing.decoding import ImageLike

_OF_LINE_READERS = ("one_line", "format", "choices", "check_digit", "dictionary")


@dataclass(frozen=True)
class ReadOptions:
    """What `penstroke read` is called with."""

    images: list[str] = IMAGES
    model: str = model_option(default_reader())
    one_line: bool = option("Read each image as one line, without looking for lines.", False)
    format: str | None = option(
        r"Regular expression of what a line may say, as '\d{1,3}([.,]\d{3})*'.", metavar="REGEX"
    )
    choices: Path | None = option(
        "Text file of what lines may say, one a line.", metavar="FILE", exists=True, dir_okay=False
    )
    check_digit: CheckDigitName | None = option("Check digit that numbers have.")
    dictionary: Path | None = option(
        "Text file of likely words, one a line, each with a tab and its frequency or without.",
        metavar="FILE",
        exists=True,
        dir_okay=False,
    )
    precision: float | None = PRECISION
    confidence_threshold: float | None = CONFIDENCE_THRESHOLD
    top: int = option("Number of alternatives listed for what is doubtful.", 3, min=1)
    csv: Path | None = option("Table of what was read, a row a line.", metavar="OUT")
    overlay: Path | None = option(
        "Folder, or one .svg, for the images with the recognised text on them."
    )
    as_json: bool = JSON  # fmt: skip


@takes(ReadOptions)
def command(options: ReadOptions) -> None:
    """Read lines of writing: numbers, words, or a page of them.

    A format, a list of choices, a check digit and a dictionary may be combined. With a model of
    single characters, these must stand apart or just touch.
    """
    read = _reader(options)
    names = expand(options.images)
    overlays = iter(_overlay_paths(names, options.overlay) if options.overlay else ())

    def answer(name: str, source: bytes | Path) -> dict[str, Any]:
        from penstroke.inference.overlay import overlay_svg
        from penstroke.preprocessing.ink import DEFAULT_INK

        path = next(overlays, None)
        page = read(source)
        result = {"image": name, "status": "ok" if page.lines else "empty", **page.to_dict()}
        if path is not None:
            write_text_atomically(path, overlay_svg(page, source, DEFAULT_INK))
            result["overlay"] = str(path)
        return result

    def keep(answers: list[dict[str, Any]]) -> None:
        if options.csv:
            write_text_atomically(options.csv, _table(answers))

    answer_each(names, answer, partial(_show, options=options), options.model, keep)


def _reader(options: ReadOptions) -> Callable[[ImageLike], PageReading]:
    """Return what reads an image with the model and the constraints of `options`."""
    from penstroke.inference.line_reader import LineReader, load_model
    from penstroke.runs.run import find_model

    refuse_both(options.confidence_threshold, options.precision)
    model = load_model(
        find_model(options.model),
        confidence_threshold=options.confidence_threshold, precision=options.precision,
    )  # fmt: skip
    if not isinstance(model, LineReader):
        return _character_reader(model, options)
    constraint = _constraint(options, model)
    read = model.read_line if options.one_line else model.read_page
    return partial(read, constraint=constraint, count=options.top)


def _character_reader(
    recognizer: Recognizer, options: ReadOptions
) -> Callable[[ImageLike], PageReading]:
    from penstroke.inference.character_lines import read_page

    given = given_options(options)
    if unused := [given[name] for name in _OF_LINE_READERS if name in given]:
        raise typer.BadParameter(
            f"{options.model} reads one character at a time; this needs a model that reads whole "
            "lines: --model numbers, or a run of `penstroke train numbers`",
            param_hint=unused[0],
        )
    return partial(read_page, recognizer)


def _constraint(options: ReadOptions, reader: LineReader) -> Constraint | None:
    from penstroke.inference.constraints import (
        AllOf,
        CheckDigit,
        Choices,
        Dictionary,
        Format,
        compiled,
    )

    constraints: list[Constraint] = []
    if options.format is not None:
        constraints.append(Format(options.format))
    if options.choices:
        choices = Choices.read(options.choices)
        if choices.duplicates:
            say(f"{options.choices}: given several times: {', '.join(choices.duplicates[:5])}")
        constraints.append(choices)
    if options.check_digit:
        constraints.append(CheckDigit(options.check_digit))
    if options.dictionary:
        constraints.append(Dictionary.read(options.dictionary))
    if not constraints:
        return None
    constraint = constraints[0] if len(constraints) == 1 else AllOf(tuple(constraints))
    compiled(constraint, reader.alphabet)  # says what is wrong before any image is read
    return constraint


def _overlay_paths(names: list[str], target: Path) -> list[Path]:
    """Return where each overlay is written: into a folder, or to the one file."""
    if target.suffix.lower() == ".svg":
        if len(names) > 1:
            raise typer.BadParameter(
                "one .svg, but several images: name a folder", param_hint="--overlay"
            )
        return [target]
    paths: list[Path] = []
    for name in names:
        stem = "stdin" if name == "-" else Path(name).name
        path, number = target / f"{stem}.svg", 2
        while path in paths:
            path, number = target / f"{stem}-{number}.svg", number + 1
        paths.append(path)
    return paths


def _table(answers: list[dict[str, Any]]) -> str:
    """Return the lines of all images as CSV; an image without lines has one row."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("file", "line", "text", "probability", "status", "box"))
    for answer in answers:
        for number, line in enumerate(answer.get("lines", ()), start=1):
            writer.writerow((
                answer["image"], number, line["text"], f"{line['probability']:.6f}",
                line["status"], " ".join(map(str, line["box"])),
            ))  # fmt: skip
        if not answer.get("lines"):
            writer.writerow((answer["image"], "", "", "", answer["status"], ""))
    return stream.getvalue()


def _show(answers: list[dict[str, Any]], options: ReadOptions) -> None:
    rows: list[tuple[object, ...]] = []
    for answer in answers:
        if answer["status"] == "empty":
            rows.append((answer["image"], "", "", "", "no ink found"))
        for number, line in enumerate(answer.get("lines", ()), start=1):
            confidence = percent(line["probability"], 1)
            doubts = "; ".join(_doubts(line, options.top))
            rows.append((answer["image"], number, line["text"], confidence, doubts))
    if rows:
        print_table(("image", "line", "text", "confidence", "alternatives"), rows, "13")
    for answer in answers:
        if "overlay" in answer:
            say(f"overlay  {answer['overlay']}")
    if options.csv:
        say(f"table  {options.csv}")


def _doubts(line: dict[str, Any], top: int) -> Iterator[str]:
    """Yield what else a doubtful line may say, or its doubtful characters by their number."""
    if line["alternatives"]:
        if line["status"] == "rejected":
            others = (f"{one['text']} {percent(one['probability'], 1)}"
                      for one in line["alternatives"])  # fmt: skip
            yield "not sure: or " + " or ".join(others)
        return
    if line["status"] == "rejected" and not line["characters"]:
        yield "nothing that is allowed fits"
    for number, character in enumerate(line["characters"], start=1):
        if character["status"] == "rejected":
            likely = sorted(character["probabilities"].items(), key=lambda item: -item[1])
            others = (f"{label} {percent(p, 1)}" for label, p in likely[:top])
            yield f"{number}: {' or '.join(others)}"
