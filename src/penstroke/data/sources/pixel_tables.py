"""Tables of pixels: one image in each row, its label among the cells, as on Kaggle and at UCI."""

import gzip
import io
import math
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from penstroke.data.archives import ZipReader
from penstroke.data.sources.contents import (
    LeftOut,
    Part,
    PixelFormat,
    Source,
    SourceOptions,
    Split,
    stamp_of,
)
from penstroke.data.sources.rows import labelled_rows
from penstroke.data.sources.tables import (
    FILE_NAMES,
    LABEL_NAMES,
    SPLIT_NAMES,
    encoding_of,
    pick_label_column,
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
_MAX_BYTES = 4_000_000_000  # of a table in a zip


class TableFile(NamedTuple):
    """A text file, or one in a zip."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The file's name alone."""
        return Path(self.member or self.path).name


class _Columns(NamedTuple):
    """Which cells of a row are what."""

    width: int
    first_line: int
    label: int | None  # None: it is the `first` or the last, as their values tell
    split: int | None
    writer: int | None = None
    numbering: tuple[int, ...] = ()
    first: int = 0  # that does not number the rows


def is_pixel_table(file: TableFile, options: SourceOptions) -> bool:
    """Return whether the text `file` has numbers in nearly all of its many columns."""
    try:
        with closing(_lines(file, _encoding(file, options))) as lines:
            rows = list(islice(lines, 2))
    except (OSError, UnicodeError, LookupError, EOFError):
        return False  # the one that reads it says why
    names = {cell.strip().lower() for cell in rows[0]} if rows else set()
    if not rows or len(rows[-1]) < _LEAST_COLUMNS or options.file_column or names & {*FILE_NAMES}:
        return False
    return sum(map(_is_number, rows[-1])) >= _NUMERIC_SHARE * len(rows[-1])


def list_pixel_table(
    file: TableFile, options: SourceOptions, split: Split = ""
) -> tuple[Part, list[LeftOut]]:
    """Return the images of a pixel table, their scale not known yet, and rows without a label.

    `split` is that of the file, for a table without a column of splits.

    Raises DataError if it has no column of labels, or no square number of pixels; ConfigError if
    a column that was named is not there.
    """
    encoding = _encoding(file, options)
    with explained(f"read {file}", DataError):
        try:
            with closing(_lines(file, encoding)) as lines:
                columns = _columns_of(list(islice(lines, 2)), str(file), options)
            with closing(_lines(file, encoding)) as lines:
                cells = [_cells(row, columns) for row in islice(lines, columns.first_line, None)]
        except (UnicodeError, EOFError) as error:
            raise DataError(f"{file} is not a table: {error}; try --encoding cp1252") from None
    label = columns.label
    if label is None:
        is_constant = len({first for first, *_ in cells}) == 1
        is_last = is_constant and len({last for _, last, *_ in cells}) > 1
        label = columns.width - 1 if is_last else columns.first
        cells = [[f, z, z if is_last else f, *rest] for f, z, _, *rest in cells]
    beside = (at for at in (columns.split, columns.writer) if at is not None)
    others = tuple(sorted({label, *columns.numbering, *beside}))
    side = _side(columns.width - len(others), str(file))
    pixels = PixelFormat(
        side,
        bool(options.transposed),
        first_line=columns.first_line,
        other_columns=others,
        encoding=encoding,
    )
    left_out: list[LeftOut] = []
    labels, splits, writers = ([cell[at] for cell in cells] for at in (2, 3, 4))
    if columns.split is None:
        splits = [split] * len(cells)
    refs = labelled_rows(labels, splits, f"row {{}} of {file.name}", left_out, writers)
    return Part(Source("csv", *file, pixels), refs, stamp_of(file.path)), left_out


def table_rows(file: TableFile, pixels: PixelFormat) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the pixels of each row; all nan where a row is not numbers."""
    with closing(_lines(file, pixels.encoding)) as lines:
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
    by = pick_writer_column(head, options, where)
    writer = None if by is None else head.index(by)
    numbering = tuple(at for at, name in enumerate(names) if name in _NUMBERING)
    label = None
    if options.label_column or set(names) & set(LABEL_NAMES):
        label = head.index(pick_label_column(head, options, where))
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
        "square number, such as 784 for 28×28: remove columns that are neither (row numbers), and "
        "write one-hot labels as one column"
    )


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _encoding(file: TableFile, options: SourceOptions) -> str:
    with _opened(file) as stream:
        return encoding_of(stream.read(2), options.encoding)


@contextmanager
def _opened(file: TableFile) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        if file.member:
            archive = stack.enter_context(ZipReader(file.path, max_file_bytes=_MAX_BYTES))
            stream = stack.enter_context(archive.open(file.member))
        else:
            stream = stack.enter_context(file.path.open("rb"))
        is_packed = file.name.lower().endswith(".gz")
        yield cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if is_packed else stream


def _lines(file: TableFile, encoding: str) -> Generator[list[str], None, None]:
    """Yield the cells of each line that is not blank; the first line shows what parts them."""
    with _opened(file) as content, io.TextIOWrapper(content, encoding=encoding) as stream:
        delimiter = ""
        while line := stream.readline(_MAX_LINE):
            line = line.replace('"', "").rstrip("\n")
            if not line.strip():
                continue
            delimiter = delimiter or max(_DELIMITERS, key=line.count)
            line = line if delimiter == "," else line.replace(",", ".")
            yield line.split() if delimiter == " " else line.split(delimiter)
