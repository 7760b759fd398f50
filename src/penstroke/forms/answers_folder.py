"""The folder beside the table: the form, what was read page by page, and what people changed."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from penstroke.errors import DataError
from penstroke.files import (
    append_lines,
    csv_of,
    explained,
    write_atomically,
    write_text_atomically,
)
from penstroke.forms.answers import Change, FieldAnswer, PageAnswer
from penstroke.forms.description import Form, read_form
from penstroke.forms.page_images import Grey

Line = TypeVar("Line")


class AnswersFolder:
    """What was read of a pile of pages, on disk; it grows page by page.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def table_path(self) -> Path:
        """The table, beside the folder."""
        return self.path.with_name(f"{self.path.absolute().name}.csv")

    @property
    def form(self) -> Form:
        """The form that was read. ConfigError: there is none."""
        return read_form(self.path / "form.toml")

    @property
    def precision(self) -> float:
        """What it was read with. DataError: the folder is not one of answers."""
        path = self.path / "reading.json"
        try:
            with explained(f"read {path}", DataError):
                return float(json.loads(path.read_bytes())["precision"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged: {error}") from error

    def begin(self, form: Form, precision: float) -> None:
        """Create the folder for `form`, or continue one of the same form and precision.

        DataError: it holds answers to another form, some that were read otherwise, or other files.
        """
        path = self.path / "form.toml"
        if not path.exists():
            if self.path.exists() and any(self.path.iterdir()):
                raise DataError(
                    f"{self.path} is there already, but does not hold answers: choose another "
                    "--output"
                )
            reading = {"precision": precision}
            write_text_atomically(self.path / "reading.json", json.dumps(reading) + "\n")
            write_text_atomically(path, form.to_toml())
        elif path.read_text("utf-8") != form.to_toml():
            raise DataError(
                f"{self.path} holds answers to another form, or to this one before it was changed: "
                "choose another --output, or remove the folder"
            )
        elif self.precision != precision:
            raise DataError(
                f"{self.path} was read with --precision {self.precision:g}: use that, or choose "
                "another --output"
            )

    def pages(self) -> list[PageAnswer]:
        """Return the pages as they were read, without changes; a line cut short is left out."""
        return list(self._lines("pages.jsonl", PageAnswer.from_dict))

    def changes(self) -> list[Change]:
        """Return what people changed, in order."""
        return list(self._lines("changes.jsonl", lambda plain: Change(**plain)))

    def append(self, page: PageAnswer) -> None:
        """Add a page, durably."""
        append_lines(self.path / "pages.jsonl", _line(page.to_dict()))

    def append_change(self, change: Change) -> None:
        """Add a change, durably."""
        append_lines(self.path / "changes.jsonl", _line(dataclasses.asdict(change)))

    def write_image(self, page_id: str, image: Grey) -> str:
        """Write a registered page, and return the name of its file."""
        from PIL import Image

        name = f"pages/{page_id}.webp"
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "webp", quality=60, method=0)
        write_atomically(self.path / name, stream.getvalue())
        return name

    def reviewed_pages(self) -> list[PageAnswer]:
        """Return the pages with what people changed: the value that they gave is accepted."""
        return with_changes(self.pages(), in_force(self.changes()))

    def _lines(self, name: str, made_of: Callable[[dict[str, Any]], Line]) -> Iterator[Line]:
        path = self.path / name
        if not path.exists():
            return
        with explained(f"read {path}", DataError):
            lines = path.read_bytes().split(b"\n")[:-1]
        for number, line in enumerate(lines, start=1):
            try:
                yield made_of(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{path}, line {number} is damaged: {error}") from error


def in_force(changes: Iterable[Change]) -> dict[tuple[str, str], list[Change]]:
    """Return the changes that were not taken back, by page and field; the last is what holds."""
    found: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in changes:
        of_field = found[change.page, change.field]
        if change.new is not None:
            of_field.append(change)
        elif of_field:
            of_field.pop()
    return found


def with_changes(
    pages: Iterable[PageAnswer], changes: Mapping[tuple[str, str], Sequence[Change]]
) -> list[PageAnswer]:
    """Return `pages` with the `changes` in force; those of unknown pages and fields are without."""
    given: dict[str, dict[str, str]] = defaultdict(dict)
    for (page, field), of_field in changes.items():
        if of_field:
            given[page][field] = of_field[-1].new or ""
    return [_with_given(page, given.get(page.id, {})) for page in pages]


def write_table(path: Path, form: Form, pages: Sequence[PageAnswer]) -> None:
    """Write what was read of `pages` to `path`, as CSV, and all of it beside it, as JSON."""
    columns, rows = table(form, pages)
    content = {
        "form": form.name, "version": form.version, "rows": rows,
        "pages": [page.to_dict() for page in pages],
    }  # fmt: skip
    write_text_atomically(
        path.with_suffix(".json"), json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    )
    write_atomically(path, csv_of(columns, rows))


def table(form: Form, pages: Iterable[PageAnswer]) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of what was read: a row for each person or sheet.

    Pages of one person are one row. Where pages name no person, a sheet begins with each page that
    the one before has already, in the order of their files. `doubtful` names the fields that a
    person should look at, and `missing_pages` those that are not there.
    """
    sheets = _sheets([page for page in pages if page.fields is not None])
    names = [field.name for field in form.fields]
    rows = []
    for sheet in sheets:
        answers = {
            name: one
            for page in sorted(sheet, key=is_written)  # a blank one hides nothing
            for name, one in (page.fields or {}).items()
        }
        missing = {*range(1, form.page_count + 1)} - {page.form_page for page in sheet}
        doubtful = [
            name for name in names
            if name in answers and answers[name].status in ("doubtful", "rejected")
        ]  # fmt: skip
        rows.append({
            "person": sheet[0].person or "",
            **{name: answers[name].value if name in answers else "" for name in names},
            "doubtful": " ".join(doubtful),
            "missing_pages": " ".join(map(str, sorted(missing))),
            "source": "; ".join(f"{page.source}, page {page.source_page}" for page in sheet),
        })  # fmt: skip
    has_people = any(row["person"] for row in rows)
    several = ["missing_pages"] if form.page_count > 1 else []
    return [*["person"] * has_people, *names, "doubtful", *several, "source"], rows


def _sheets(pages: Sequence[PageAnswer]) -> list[list[PageAnswer]]:
    sheets: list[list[PageAnswer]] = []
    of_person: dict[str, list[PageAnswer]] = {}
    current: list[PageAnswer] = []
    for page in sorted(pages, key=in_order):
        if page.person is not None:
            sheet = of_person.setdefault(page.person, [])
        else:
            if not current or any(page.form_page == one.form_page for one in current):
                current = []
            sheet = current
        if not sheet:
            sheets.append(sheet)
        sheet.append(page)
    return sheets


def is_written(page: PageAnswer) -> bool:
    """Return whether anything was read in the fields of `page`."""
    return any(answer.value for answer in (page.fields or {}).values())


def in_order(page: PageAnswer) -> tuple[list[tuple[int, str]], int]:
    """Return what sorts pages as people number them: scan2.png before scan10.png."""
    return natural(page.source), page.source_page


def natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them."""
    parts = re.split(r"(\d+)", name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]


def _with_given(page: PageAnswer, values: dict[str, str]) -> PageAnswer:
    if page.fields is None or not values:
        return page
    fields = {
        name: _given(answer, values[name]) if name in values else answer
        for name, answer in page.fields.items()
    }
    return dataclasses.replace(page, fields=fields)


def _given(answer: FieldAnswer, value: str) -> FieldAnswer:
    return dataclasses.replace(
        answer, value=value, probability=1.0, status="accepted" if value else "empty"
    )


def _line(plain: dict[str, Any]) -> str:
    return json.dumps(plain, ensure_ascii=False) + "\n"
