"""Sources whose images are numbered rows: what reads them, and gives them their labels."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from penstroke.data.sources.contents import Content, ImageRef, LeftOut, SourceOptions, parse_label
from penstroke.data.sources.tables import parse_split
from penstroke.errors import ImageError


@dataclass
class SequentialReader:
    """The rows of a stream that can only be read forward: fast when they are read in order.

    Reading may raise `damage`; rows behind damage are never tried again. `content_of` turns a row
    into an image, or raises ImageError.
    """

    open_rows: Callable[[], Iterator[Any]]
    damage: tuple[type[Exception], ...]
    content_of: Callable[[Any], Content] = lambda row: row

    def __post_init__(self) -> None:
        self._rows, self._next = self.open_rows(), 0
        self._broken_at, self._problem = math.inf, ""
        self.damage = (StopIteration, *self.damage)

    def __call__(self, place: int) -> Content:
        """Return the image in row `place`."""
        if place < self._next:
            self._rows, self._next = self.open_rows(), 0
        try:
            while self._next <= place < self._broken_at:
                row = next(self._rows)
                self._next += 1
        except self.damage as error:
            self._broken_at, self._problem = self._next, str(error) or "it is cut short"
        if place >= self._broken_at:
            raise ImageError(f"cannot be read: {self._problem}")
        return self.content_of(row)


def labelled_rows(
    labels: list[Any],
    splits: Sequence[Any],
    name: str,
    left_out: list[LeftOut],
    writers: Sequence[Any] | None = None,
    options: SourceOptions | None = None,
) -> tuple[ImageRef, ...]:
    """Return the rows with a label as images, and add the others to `left_out`.

    `name` is a row's name, with {} for its number, from 0 on.
    """
    refs, options = [], options or SourceOptions()
    writers = [""] * len(labels) if writers is None else writers
    for row, (value, split, writer) in enumerate(zip(labels, splits, writers, strict=True)):
        shown = name.format(row)
        if label := options.label_of(value):
            word = parse_split("" if split is None else str(split), shown)
            refs.append(ImageRef(shown, label, label, word, row, writer=parse_label(writer)))
        else:
            left_out.append(LeftOut(shown, f"has no {options.label_word} ({value!s})"))
    return tuple(refs)
