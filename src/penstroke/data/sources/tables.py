"""Tables of labels: CSV with any usual delimiter, its columns known by their names."""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penstroke.data.sources.contents import (
    LeftOut,
    SourceOptions,
    Split,
    parse_label,
    printable,
    split_of,
)
from penstroke.errors import ConfigError, DataError, near_match

FILE_NAMES = ("file", "filename", "file_name", "path", "filepath", "file_path", "image",
              "image_path", "picture", "img")  # fmt: skip
LABEL_NAMES = ("label", "labels", "class", "character", "char", "target", "symbol", "text", "y")
TEXT_NAMES = ("text", "transcription", "transcript", "ground_truth", *LABEL_NAMES)
WRITER_NAMES = ("writer", "writer_id", "writerid", "writers", "author")
GROUP_NAMES = (*WRITER_NAMES, "group", "group_id", "document", "form")
"""Of lines."""
SPLIT_NAMES = ("split", "subset", "partition")
IMAGE_NAMES = ("image", "images", "img", "picture", "png", "bytes")
_DELIMITERS = ",;\t|"
_SHOWN_COLUMNS = 12

Row = tuple[str, str, Split, str]
"""File, label, split, writer."""


class Table(NamedTuple):
    """What a table of labels says."""

    rows: list[Row]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]  # rows without a label or a file


def pick_column(
    columns: Sequence[str], wanted: str | None, usual: Sequence[str], what: str, where: str
) -> str:
    """Return which of `columns` is meant: `wanted` if it is given, else the first of the `usual`.

    `what` it holds is worded as in the option (`label`); `where` is the file, for messages. Raises
    ConfigError if there is no column `wanted`, DataError if none of the usual names is there.
    """
    names = ", ".join(repr(column) for column in columns[:_SHOWN_COLUMNS]) or "none"
    names += f" and {len(columns) - _SHOWN_COLUMNS:,} more" * (len(columns) > _SHOWN_COLUMNS)
    if wanted is not None:
        if wanted not in columns:
            raise ConfigError(
                f"--{what}-column: {where} has no column {wanted!r}{near_match(wanted, columns)}; "
                f"its columns are {names}"
            )
        return wanted
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    for name in usual:
        if name in by_name:
            return by_name[name]
    raise DataError(
        f"{where} has no column for the {what}; its columns are {names}: name one with "
        f"--{what}-column (the first line of a CSV file names the columns)"
    )


def pick_label_column(columns: Sequence[str], options: SourceOptions, where: str) -> str:
    """Return the column of labels, or of the texts of lines; see `pick_column`."""
    usual = TEXT_NAMES if options.lines else LABEL_NAMES
    return pick_column(columns, options.label_column, usual, "label", where)


def pick_writer_column(columns: Sequence[str], options: SourceOptions, where: str) -> str | None:
    """Return the column of writers, see `pick_column`; None if there is and should be none."""
    wanted, usual = options.writer_column, GROUP_NAMES if options.lines else WRITER_NAMES
    if wanted is None and not {*usual} & {name.strip().lower() for name in columns}:
        return None
    return pick_column(columns, wanted, usual, "writer", where)


def read_rows(content: bytes, where: str, options: SourceOptions) -> Table:
    """Return each file with its label and split, and what was left out.

    Raises ConfigError if a column that was named is not there, or the encoding is unknown;
    DataError if it cannot be decoded or read, lacks a column, or labels a file in two ways.
    """
    lines = _parsed(decoded(content, where, options.encoding), where, options)
    _, header = next(lines, (0, []))
    if not header:
        raise DataError(f"{where} is empty")
    file_at = header.index(pick_column(header, options.file_column, FILE_NAMES, "file", where))
    label_at = header.index(pick_label_column(header, options, where))
    lower = [name.strip().lower() for name in header]
    split_at = next((lower.index(name) for name in SPLIT_NAMES if name in lower), -1)
    writer_column = pick_writer_column(header, options, where)
    writer_at = -1 if writer_column is None else header.index(writer_column)
    first: dict[str, tuple[int, str, Split, str]] = {}
    repeated, left_out = 0, []
    for number, cells in lines:
        cell = [cell.strip() for cell in cells] + [""] * len(header)  # a short row, and no split
        name, label, line = (
            cell[file_at],
            options.label_of(cell[label_at]),
            f"{where}, line {number}",
        )
        if options.lines and any(cell[len(header) : len(cells)]):
            raise DataError(
                f"{line}: it has {len(cells)} cells, but there are {len(header)} columns: put "
                "double quotes around a text that holds the delimiter"
            )
        split, writer = parse_split(cell[split_at], line), parse_label(cell[writer_at])
        if not name or not label:
            if any(cells):
                left_out.append(_incomplete(name, cell[label_at], line, options))
        elif name not in first:
            first[name] = number, label, split, writer
        elif first[name][1:] == (label, split, writer):
            repeated += 1
        else:
            number, *before = first[name]
            raise DataError(
                f"{line}: {name} is labelled {_words(label, split, writer)!r}, but "
                f"{_words(*before)!r} on line {number}"
            )
    if not first:
        raise DataError(f"{where} has columns, but no row with a file and a label")
    again = f"{repeated:,} rows of {where} repeat a file with the same label, and count once"
    rows = [(name, label, split, who) for name, (_, label, split, who) in first.items()]
    return Table(rows, (again,) if repeated else (), tuple(left_out))


def _words(*cells: str) -> str:
    return " ".join(filter(None, cells))


def _incomplete(name: str, label: str, line: str, options: SourceOptions) -> LeftOut:
    if not name:
        return LeftOut(printable(line), "names no file")
    why = f"has no {options.label_word} ({label or 'an empty cell'}; {printable(line)})"
    return LeftOut(printable(name), why)


def parse_split(word: str, where: str) -> Split:
    """Return the split that a cell names, "" if it is empty; DataError if it names none."""
    split = split_of([word.strip()])
    if parse_label(word) and not split:
        raise DataError(f"{where}: the split {word!r} is neither train nor test")
    return split


def encoding_of(start: bytes, encoding: str) -> str:
    """Return the encoding of a table that begins with `start`; a byte order mark is left out."""
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding


def decoded(content: bytes, where: str, encoding: str) -> str:
    """Return the text of a file called `where`; DataError if it has another encoding."""
    try:
        text = content.decode(encoding_of(content[:2], encoding))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{where}, line {line}: byte 0x{content[error.start]:02x} is not {encoding}: save it "
            "as UTF-8, or give its encoding (--encoding cp1252)"
        ) from None
    except LookupError:
        raise ConfigError(f"--encoding: {encoding!r} is unknown; try cp1252") from None
    if "\0" in text:
        raise DataError(f"{where} is not text: it holds zero bytes")
    return text


def _parsed(text: str, where: str, options: SourceOptions) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells); the delimiter is the one that parts the header best."""
    head = next(iter(text.splitlines()), "")
    named = filter(None, (options.file_column, options.label_column, options.writer_column))
    known = {*FILE_NAMES, *TEXT_NAMES, *map(str.lower, named)}

    def fits(delimiter: str) -> tuple[int, int]:
        cells = next(csv.reader([head], delimiter=delimiter), [])
        return sum(cell.strip().lower() in known for cell in cells), len(cells)

    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=fits))
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}: {error}") from None
