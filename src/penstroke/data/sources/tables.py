"""Tables of labels: CSV with any usual delimiter, its columns known by their names."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence

from penstroke.errors import ConfigError, DataError, near_match

FILE_NAMES = ("file", "filename", "file_name", "path", "filepath", "file_path", "image",
              "image_path", "image", "img")  # fmt: skip
LABEL_NAMES = ("label", "labels", "class", "character", "char", "target", "symbol", "text", "y")
SPLIT_NAMES = ("split", "subset", "partition")
IMAGE_NAMES = ("image", "images", "img", "image", "png", "bytes")
_DELIMITERS = ",;\t|"

Row = tuple[str, str, str]
"""File, label, split."""


def pick_column(
    columns: Sequence[str], wanted: str | None, usual: Sequence[str], what: str, where: str
) -> str:
    """Return which of `columns` is meant: `wanted` if it is given, else the first of the `usual`.

    Args:
        columns: those that there are.
        wanted: what a person named, if anything.
        usual: names that such a column usually has, in lower case.
        what: that it holds, as an option is called: `label`, `file`, `image`.
        where: the file, for messages.

    Raises:
        ConfigError: there is no column `wanted`.
        DataError: none of the usual names is there.
    """
    there = ", ".join(repr(column) for column in columns) or "none"
    if wanted is not None:
        if wanted not in columns:
            raise ConfigError(
                f"--{what}-column: {where} has no column {wanted!r}{near_match(wanted, columns)}; "
                f"its columns are {there}"
            )
        return wanted
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    for name in usual:
        if name in by_name:
            return by_name[name]
    raise DataError(
        f"{where} has no column for the {what}; its columns are {there}: "
        f"--{what}-column says which it is (the first line of a CSV file names the columns)"
    )


def read_rows(
    content: bytes, where: str, *, file_column: str | None = None,
    label_column: str | None = None, encoding: str = "utf-8",
) -> tuple[list[Row], list[str]]:  # fmt: skip
    """Return each file with its label and split, and notes on what was passed over.

    Raises:
        ConfigError: a column that was named is not there, or the encoding is none.
        DataError: it cannot be decoded or read, lacks a column, or labels a file in two ways.
    """
    lines = _parsed(_decoded(content, where, encoding), where, (file_column, label_column))
    _, header = next(lines, (0, []))
    if not header:
        raise DataError(f"{where} is empty")
    file_at = header.index(pick_column(header, file_column, FILE_NAMES, "file", where))
    label_at = header.index(pick_column(header, label_column, LABEL_NAMES, "label", where))
    lower = [name.strip().lower() for name in header]
    split_at = next((lower.index(name) for name in SPLIT_NAMES if name in lower), None)
    first: dict[str, tuple[int, str, str]] = {}
    unlabelled = repeated = 0
    for number, cells in lines:
        cell = [cell.strip() for cell in cells] + [""] * len(header)
        name, label = cell[file_at], cell[label_at]
        split = "" if split_at is None else _split(cell[split_at], number, where)
        if not name or not label:
            unlabelled += any(cells)
        elif (before := first.setdefault(name, (number, label, split))) != (number, label, split):
            repeated += 1
            _refuse_contradiction(name, before, (label, split), number, where)
    if not first:
        raise DataError(f"{where} has columns, but no row with a file and a label")
    notes = [f"{count:,} rows of {where} {what}" for count, what in (
        (unlabelled, "without a file or a label were left out"),
        (repeated, "name a file once more, with the same label, and count once"),
    ) if count]  # fmt: skip
    return [(name, label, split) for name, (_, label, split) in first.items()], notes


def split_word(word: str) -> str | None:
    """Return "train" or "test" for a word of a column of splits; None if it is none."""
    from penstroke.data.sources.entries import split_among

    return split_among([word.strip()]) or ("" if not word.strip() else None)


def _split(word: str, number: int, where: str) -> str:
    split = split_word(word)
    if split is None:
        raise DataError(f"{where}, line {number}: the split {word!r} is neither train nor test")
    return split


def _refuse_contradiction(
    name: str, before: tuple[int, str, str], now: tuple[str, str], number: int, where: str
) -> None:
    line, *said = before
    if tuple(said) != now:
        raise DataError(
            f"{where}, line {number}: {name} is said to be {' '.join(now).strip()!r}, but "
            f"{' '.join(said).strip()!r} on line {line}"
        )


def _decoded(content: bytes, where: str, encoding: str) -> str:
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")
        text = content.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{where}, line {line}: byte 0x{content[error.start]:02x} is no {encoding}: save it as "
            "UTF-8, or name its encoding (--encoding cp1252)"
        ) from None
    except LookupError:
        raise ConfigError(f"--encoding: {encoding!r} is unknown; cp1252 is one") from None
    if "\0" in text:
        raise DataError(f"{where} is no table: it holds zero bytes")
    return text


def _parsed(
    text: str, where: str, named: tuple[str | None, str | None]
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells); the delimiter is the one that parts the header best."""
    head = next(iter(text.splitlines()), "")
    rows = {d: next(csv.reader([head], delimiter=d), []) for d in _DELIMITERS}
    known = {*FILE_NAMES, *LABEL_NAMES, *(name.lower() for name in named if name)}

    def fits(delimiter: str) -> tuple[int, int]:
        cells = rows[delimiter]
        return sum(cell.strip().lower() in known for cell in cells), len(cells)

    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_DELIMITERS, key=fits))
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}: {error}") from None
