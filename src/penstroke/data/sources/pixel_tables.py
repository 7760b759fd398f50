"""Tables of pixels: one image in each row, its label among the cells, as on Kaggle and at UCI."""

import gzip
import io
import math
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from penstroke.data.sources.contents import (
    LeftOut,
    Part,
    PixelFormat,
    Source,
    SourceOptions,
    stamp_of,
)
from penstroke.data.sources.rows import labelled_rows
from penstroke.data.sources.tables import (
    FILE_NAMES,
    LABEL_NAMES,
    SPLIT_NAMES,
    encoding_of,
    pick_column,
    pick_writer_column,
)
from penstroke.errors import ConfigError, DataError
from penstroke.files import explained

_DELIMITERS = ",;\t| "
_NUMBERING = ("", "id", "index", "unnamed: 0")
"""Columns that pandas and others write beside the data."""
_LEAST_COLUMNS = 26
_NUMERIC_SHARE = 0.9
_MAX_LINE = 20_000_000  # characters


class _Columns(NamedTuple):
    """Which cells of a row are what."""

    width: int
    first_line: int
    label: int | None  # None: it is the `first` or the last, as their values tell
    split: int | None
    writer: int | None = None
    numbering: tuple[int, ...] = ()
    first: int = 0  # that does not number the rows


def is_pixel_table(path: Path, options: SourceOptions) -> bool:
    """Return whether the text file `path` has numbers in nearly all of its many columns."""
    try:
        with closing(_lines(path, _encoding(path, options))) as lines:
            rows = list(islice(lines, 2))
    except (OSError, UnicodeError, LookupError, EOFError):
        return False  # the one that reads it says why
    names = {cell.strip().lower() for cell in rows[0]} if rows else set()
    if not rows or len(rows[-1]) < _LEAST_COLUMNS or options.file_column or names & {*FILE_NAMES}:
        return False
    return sum(map(_is_number, rows[-1])) >= _NUMERIC_SHARE * len(rows[-1])


def list_pixel_table(path: Path, options: SourceOptions) -> tuple[Part, list[LeftOut]]:
    """Return the images of a pixel table, their scale not known yet, and rows without a label.

    Raises DataError if it has no column of labels, or no square number of pixels; ConfigError if
    a column that was named is not there.
    """
    encoding = _encoding(path, options)
    with explained(f"read {path}", DataError):
        try:
            with closing(_lines(path, encoding)) as lines:
                columns = _columns_of(list(islice(lines, 2)), str(path), options)
            with closing(_lines(path, encoding)) as lines:
                cells = [_cells(row, columns) for row in islice(lines, columns.first_line, None)]
        except (UnicodeError, EOFError) as error:
            raise DataError(f"{path} is not a table: {error}; try --encoding cp1252") from None
    label = columns.label
    if label is None:
        is_constant = len({first for first, *_ in cells}) == 1
        is_last = is_constant and len({last for _, last, *_ in cells}) > 1
        label = columns.width - 1 if is_last else columns.first
        cells = [[f, z, z if is_last else f, *rest] for f, z, _, *rest in cells]
    beside = (at for at in (columns.split, columns.writer) if at is not None)
    others = tuple(sorted({label, *columns.numbering, *beside}))
    side = _side(columns.width - len(others), str(path))
    pixels = PixelFormat(
        side, bool(options.transposed), first_line=columns.first_line, other_columns=others
    )
    left_out: list[LeftOut] = []
    labels, splits, writers = ([cell[at] for cell in cells] for at in (2, 3, 4))
    refs = labelled_rows(labels, splits, f"row {{}} of {path.name}", left_out, writers)
    return Part(Source("csv", path, encoding, pixels), refs, stamp_of(path)), left_out


def table_rows(path: Path, encoding: str, pixels: PixelFormat) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the pixels of each row; all nan where a row is not numbers."""
    with closing(_lines(path, encoding)) as lines:
        for cells in islice(lines, pixels.first_line, None):
            for column in reversed(pixels.other_columns):
                del cells[column : column + 1]
            yield _numbers(cells, math.prod(pixels.shape))


def _numbers(cells: list[str], count: int) -> npt.NDArray[np.float64]:
    """Return the cells as numbers; all nan, which no image is, if they are not `count` numbers."""
    try:
        values = np.array(cells, np.float64)
    except ValueError:
        values = np.empty(0)
    return values if len(values) == count else np.full(count, np.nan)


def _cells(row: list[str], columns: _Columns) -> list[str]:
    """Return the first, the last, the label's, the split's and the writer's cell."""
    at = (columns.label, columns.split, columns.writer)
    named = [row[column] if column is not None and column < len(row) else "" for column in at]
    return [row[min(columns.first, len(row) - 1)], row[-1], *named]


def _columns_of(rows: list[list[str]], where: str, options: SourceOptions) -> _Columns:
    head = [cell.strip() for cell in rows[0]]
    is_named = sum(not _is_number(cell) for cell in head) > 1 or len(set(head)) == len(head)
    if not is_named:
        if option := (options.label_column and "label") or (options.writer_column and "writer"):
            raise ConfigError(
                f"--{option}-column: {where} has no line with the names of its columns"
            )
        return _Columns(len(head), 0, None, None)
    names = [name.lower() for name in head]
    split = next((names.index(name) for name in SPLIT_NAMES if name in names), None)
    by = pick_writer_column(head, options.writer_column, where)
    writer = None if by is None else head.index(by)
    numbering = tuple(at for at, name in enumerate(names) if name in _NUMBERING)
    label = None
    if options.label_column or set(names) & set(LABEL_NAMES):
        label = head.index(pick_column(head, options.label_column, LABEL_NAMES, "label", where))
    elif _is_square(len(head) - len(numbering) - (split is not None) - (writer is not None)):
        raise DataError(
            f"{where} has {len(head):,} columns of pixels, but none of labels: import the table "
            "that has them (Kaggle's train.csv, not its test.csv)"
        )
    first = next((at for at in range(len(head)) if at not in numbering), 0)
    return _Columns(len(head), 1, label, split, writer, numbering, first)


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count


def _side(count: int, where: str) -> tuple[int, ...]:
    if _is_square(count):
        return (math.isqrt(count),) * 2
    if count % 3 == 0 and _is_square(count // 3):
        return (*(math.isqrt(count // 3),) * 2, 3)
    raise DataError(
        f"{where} has {count:,} columns besides the label; pixels of square images would be a "
        "square number, such as 784 for 28×28"
    )


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _encoding(path: Path, options: SourceOptions) -> str:
    with _opened(path) as stream:
        return encoding_of(stream.read(2), options.encoding)


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def _lines(path: Path, encoding: str) -> Generator[list[str], None, None]:
    """Yield the cells of each line that is not blank; the first line shows what parts them."""
    with io.TextIOWrapper(_opened(path), encoding=encoding) as stream:
        delimiter = ""
        while line := stream.readline(_MAX_LINE):
            line = line.replace('"', "").rstrip("\n")
            if not line.strip():
                continue
            delimiter = delimiter or max(_DELIMITERS, key=line.count)
            line = line if delimiter == "," else line.replace(",", ".")
            yield line.split() if delimiter == " " else line.split(delimiter)
