"""A review of what was read: which field is next, who looks at it, and what people change."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from penstroke.errors import ConfigError, DataError, ReviewError, StorageError
from penstroke.files import explained, lock, reason
from penstroke.forms.admission import refusal
from penstroke.forms.answers import Change, FieldAnswer, PageAnswer
from penstroke.forms.answers_folder import (
    AnswersFolder,
    in_force,
    in_order,
    table,
    with_changes,
    write_table,
)
from penstroke.forms.description import FormField

HELD_SECONDS = 180.0
"""For which a field is kept from others, since the person was given it."""
MAX_VALUE = 1000
"""Characters of a value."""


class Place(NamedTuple):
    """A field of a page."""

    page: str
    field: str


@dataclass(frozen=True)
class Person:
    """Who reviews: a name, and the browser tab, for two may have one name."""

    who: str
    session: str


@dataclass(frozen=True)
class FieldInReview:
    """A field of a page as it is now.

    Attributes:
        answer: what was read.
        value: what holds: what a person gave, or what was read.
        is_open: whether a person should look at it, and none has.
        revision: how many changes it has had.
        changed: the change that holds, if any.
        held_by: who else looks at it now.
        refusal: what of the form the value does not keep to.
    """

    page: PageAnswer
    field: FormField
    answer: FieldAnswer
    value: str
    is_open: bool
    revision: int
    changed: Change | None
    held_by: str | None
    refusal: str | None


@dataclass(frozen=True)
class Progress:
    """How far a review is: fields that a person should look at, and those nobody has yet.

    `people` looked at a field in the last minutes; `held` of the open fields are with others.
    """

    to_review: int
    open: int
    open_by_field: dict[str, int]
    people: tuple[str, ...]
    held: int


class Review:
    """The review of one folder of answers, by several people at once; safe in threads.

    Pages that are read meanwhile appear. Every change is written before it holds.

    Raises:
        ConfigError: there is no such folder, or nothing was read in it yet.
        DataError: a file of it is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = AnswersFolder(path)
        if not (self.folder.path / "form.toml").exists():
            raise ConfigError(
                f"{path} is not a folder of answers: `penstroke form read` writes one beside the "
                "table"
            )
        self.form = self.folder.form
        self._fields = {field.name: field for field in self.form.fields}
        self._lock = threading.RLock()
        self._log = self.folder.changes()
        self._in_force = in_force(self._log)
        self._revisions = Counter(Place(one.page, one.field) for one in self._log)
        self._held: dict[Place, tuple[Person, float]] = {}
        self._seen: dict[str, float] = {}
        self._size = -1
        self._is_exported = False
        self._refresh()
        if not self.pages:
            raise ConfigError(f"{path}: no page has been read yet: `penstroke form read`")

    def progress(self, person: Person | None = None) -> Progress:
        """Return how far it is, as `person` sees it."""
        with self._lock:
            self._refresh()
            now = time.monotonic()
            return Progress(
                len(self._to_review), len(self._open),
                dict(Counter(place.field for place in self._open)),
                tuple(sorted(who for who, at in self._seen.items() if at > now - HELD_SECONDS)),
                sum(self._holder(place, person) is not None for place in self._held
                    if place in self._open),
            )  # fmt: skip

    def next(
        self, person: Person, *, field: str | None = None, after: Place | None = None,
        open_only: bool = True,
    ) -> FieldInReview | None:  # fmt: skip
        """Give `person` the field after another, the most doubtful first; None: there is none.

        Only open fields, of this name, that nobody else has; after the last follows the first.
        """
        with self._lock:
            self._refresh()
            start = self._ranks[after] + 1 if after in self._ranks else 0
            for place in (*self._order[start:], *self._order[:start]):
                if (
                    (not open_only or place in self._open)
                    and field in (None, place.field)
                    and self._holder(place, person) is None
                ):
                    return self.look_at(person, place)
            self._release(person)
            return None

    def look_at(self, person: Person, place: Place) -> FieldInReview:
        """Give `person` this field, unless somebody has it, and return it as it is."""
        with self._lock:
            page, answer = self._known(place)
            self._release(person)
            held_by = self._holder(place, person)
            if held_by is None:
                self._held[place] = person, time.monotonic() + HELD_SECONDS
            changes = self._in_force.get(place)
            changed = changes[-1] if changes else None
            value = changed.new or "" if changed else answer.value
            field = self._fields[place.field]
            return FieldInReview(
                page, field, answer, value, place in self._open, self._revisions[place], changed,
                held_by, refusal(field, value),
            )  # fmt: skip

    def change(
        self, person: Person, place: Place, value: str, *, revision: int, is_confirmed: bool = False
    ) -> None:
        """Record that `person`, who saw the field at this `revision`, says that it holds `value`.

        ReviewError: the page or field is not known; somebody changed it meanwhile; the value is too
        long; or the form does not admit it, and the person has not confirmed it.
        """
        value = value.strip()
        with self._lock:
            now = self.look_at(person, place)
            if now.revision != revision:
                by = f"{now.changed.who} gave {now.value!r}" if now.changed else "it was taken back"
                raise ReviewError("changed", f"this field was changed meanwhile: {by}")
            if len(value) > MAX_VALUE or not value.isprintable():
                raise ReviewError(
                    "invalid", f"a value is one line of at most {MAX_VALUE:,} characters"
                )
            why = refusal(now.field, value)
            if why is not None and not is_confirmed:
                raise ReviewError("not_admitted", why)
            self._append(Change(person.who, _now(), *place, now.value, value))

    def undo(self, person: Person) -> Place:
        """Take back the last change by `person` that holds, and return where it was.

        ReviewError: there is none.
        """
        with self._lock:
            for change in reversed(self._log):
                place = Place(change.page, change.field)
                holds = self._in_force.get(place)
                is_own = change.who == person.who and place in self._ranks
                if is_own and holds and holds[-1] is change:
                    self._append(Change(person.who, _now(), *place, change.new or "", None))
                    return place
            raise ReviewError("unknown", f"{person.who} has no change that can be taken back")

    def table(self) -> tuple[list[str], list[dict[str, str]]]:
        """Return the columns and rows of the table as it is now."""
        return table(self.form, self.reviewed())

    def reviewed(self) -> list[PageAnswer]:
        """Return the pages with what people changed."""
        with self._lock:
            self._refresh()
            return with_changes(self.pages.values(), self._in_force)

    def export(self) -> Path:
        """Write the table beside the folder, as CSV and JSON, and return the path of the CSV."""
        with self._lock:
            path = self.folder.table_path
            write_table(path, self.form, self.reviewed())
            self._is_exported = True
            return path

    def export_if_changed(self) -> None:
        """Write the table if it was changed since it was written."""
        if not self._is_exported and self._log:
            self.export()

    def image(self, page: str) -> bytes:
        """Return the registered page, as WebP. ReviewError: it is not known, or not there."""
        known = self.pages.get(page)
        if known is None or known.image is None:
            raise ReviewError("unknown", f"there is no page {page[:100]!r} with an image")
        path = self.folder.path / "pages" / Path(known.image).name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ReviewError("unknown", f"cannot read {path}: {reason(error)}") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from reviewing the folder; ConfigError where one does."""
        with explained(f"lock {self.folder.path}", StorageError):
            try:
                descriptor = lock(self.folder.path / ".review.lock")
            except BlockingIOError:
                raise ConfigError(
                    f"{self.folder.path} is being reviewed already: several people can use the "
                    "address that was printed there"
                ) from None
        try:
            yield
        finally:
            os.close(descriptor)

    def _refresh(self) -> None:
        """Read the pages again where some were added."""
        path = self.folder.path / "pages.jsonl"
        size = path.stat().st_size if path.exists() else 0
        if size == self._size:
            return
        self._size = size
        self.pages = {page.id: page for page in self.folder.pages()}
        ranked = sorted(
            (not _is_doubtful(self._fields[name], answer), answer.probability, in_order(page),
             Place(page.id, name))
            for page in self.pages.values()
            for name, answer in (page.fields or {}).items()
            if name in self._fields
        )  # fmt: skip
        self._order = [place for *_, place in ranked]
        self._ranks = {place: rank for rank, place in enumerate(self._order)}
        self._to_review = {place for is_sure, *_, place in ranked if not is_sure}
        self._open = {place for place in self._to_review if not self._in_force.get(place)}

    def _known(self, place: Place) -> tuple[PageAnswer, FieldAnswer]:
        if place not in self._ranks:
            raise ReviewError("unknown", f"{place.page[:100]!r} has no field {place.field!r}")
        page = self.pages[place.page]
        if page.fields is None:
            raise DataError(f"nothing was read of {page.source}, page {page.source_page}")
        return page, page.fields[place.field]

    def _append(self, change: Change) -> None:
        place = Place(change.page, change.field)
        self.folder.append_change(change)
        self._log.append(change)
        self._in_force = in_force(self._log)
        self._revisions[place] += 1
        self._is_exported = False
        if self._in_force.get(place):
            self._open.discard(place)
        elif place in self._to_review:
            self._open.add(place)

    def _holder(self, place: Place, person: Person | None) -> str | None:
        """Return who else looks at a field."""
        holder, until = self._held.get(place, (None, 0.0))
        is_held = holder not in (None, person) and until > time.monotonic()
        return holder.who if holder and is_held else None

    def _release(self, person: Person) -> None:
        self._seen[person.who] = time.monotonic()
        self._held = {place: held for place, held in self._held.items() if held[0] != person}


def _is_doubtful(field: FormField, answer: FieldAnswer) -> bool:
    """Return whether a person should look at the answer."""
    return answer.status in ("doubtful", "rejected") or (
        answer.status == "empty" and field.required
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
