"""Rows of a stream that can only be read forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from penstroke.errors import ImageError

T = TypeVar("T")


class SequentialReader(Generic[T]):
    """Rows by their number; fast when they are read in order.

    Args:
        open_rows: starts at the first row.
        damage: what reading may raise. Rows behind damage are never tried again.
    """

    def __init__(
        self, open_rows: Callable[[], Iterator[T]], damage: tuple[type[Exception], ...]
    ) -> None:
        self._open_rows = open_rows
        self._damage: tuple[type[Exception], ...] = (StopIteration, *damage)
        self._rows, self._next = open_rows(), 0
        self._broken: tuple[int, str] | None = None

    def row(self, place: int) -> T:
        """Return row `place`.

        Raises:
            ImageError: it, or a row before it, cannot be read.
        """
        if self._broken and place >= self._broken[0]:
            raise ImageError(f"cannot be read: {self._broken[1]}")
        if place < self._next:
            self._rows, self._next = self._open_rows(), 0
        try:
            while self._next < place:
                next(self._rows)
                self._next += 1
            value = next(self._rows)
        except self._damage as error:
            self._broken = self._next, str(error) or "it is cut short"
            raise ImageError(f"cannot be read: {self._broken[1]}") from None
        self._next += 1
        return value
