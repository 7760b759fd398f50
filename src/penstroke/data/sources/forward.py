"""Images in one long row that can only be read forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from penstroke.errors import ImageError

T = TypeVar("T")


class Forward(Generic[T]):
    """Rows by their number; quick where they are asked for in their order.

    Args:
        rows: begins at the first row.
        damage: what reading on may raise. Rows behind damage are never tried again.
    """

    def __init__(
        self, rows: Callable[[], Iterator[T]], damage: tuple[type[Exception], ...]
    ) -> None:
        self._begin = rows
        self._damage: tuple[type[Exception], ...] = (StopIteration, *damage)
        self._rows, self._next = rows(), 0
        self._broken: tuple[int, str] | None = None

    def row(self, place: int) -> T:
        """Return row `place`.

        Raises:
            ImageError: it cannot be read, or stands behind what cannot.
        """
        if self._broken and place >= self._broken[0]:
            raise ImageError(f"cannot be read: {self._broken[1]}")
        if place < self._next:
            self._rows, self._next = self._begin(), 0
        try:
            while True:
                found = next(self._rows)
                self._next += 1
                if self._next > place:
                    return found
        except self._damage as error:
            self._broken = self._next, str(error) or "it is cut short"
            raise ImageError(f"cannot be read: {self._broken[1]}") from None
