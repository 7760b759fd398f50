"""Forms read page by page, and piles of them into a folder of answers."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

from penstroke.errors import ConfigError, DataError, FormPageError, ImageError, WorkerError
from penstroke.files import explained, lock, sha256_of_file
from penstroke.forms.answers import PageAnswer, PageProblem
from penstroke.forms.answers_folder import AnswersFolder, is_written, natural, write_table
from penstroke.forms.description import Form, read_form
from penstroke.forms.field_reading import FieldReader
from penstroke.forms.page_images import SUFFIXES, Grey, count_pages, page_image
from penstroke.forms.precision import (
    DEFAULT_PRECISION,
    ExpectedErrors,
    Promise,
    expected_errors,
    kind_of,
)
from penstroke.forms.registration import RegisteredPage, register
from penstroke.workers import map_unordered

_ID_DIGITS = 16


class FormReader:
    """Reads scanned or photographed pages of a form.

    `form` is a description, or the path of one; `precision` the least share of right ones among
    the fields that are accepted.

    ConfigError: the form asks for something that cannot be read, or the precision is not one.

    Examples:
        >>> from penstroke.forms import FormReader
        >>> reader = FormReader("exam.toml")  # doctest: +SKIP
        >>> page = reader.read("scan.png")  # doctest: +SKIP
        >>> page.fields["student_number"].value  # doctest: +SKIP
        '2031964'
    """

    def __init__(self, form: Form | str | Path, *, precision: float = DEFAULT_PRECISION) -> None:
        self.form = form if isinstance(form, Form) else read_form(form)
        self._fields = FieldReader(self.form, Promise(precision))

    def read(self, image: Grey | str | Path, page: int = 1) -> PageAnswer:
        """Return what a page says: a grey image (H, W) uint8, or a page, from 1, of a file.

        A page that cannot be read is not an error: its `problem` says why.
        """
        name = "" if not isinstance(image, str | Path) else str(image)
        item = PageItem("", name, page)
        return self.read_registered(item, None if name else image)[0]  # type: ignore[arg-type]

    def read_registered(
        self, item: PageItem, image: Grey | None = None
    ) -> tuple[PageAnswer, RegisteredPage | None]:
        """Return what a page says, and the page registered, if it could be."""
        answer = PageAnswer(item.id, item.source, item.number)
        try:
            if image is None:
                image = page_image(Path(item.source), item.number)
            page = register(image, self.form)
            fields = self._fields.read(page)
        except FormPageError as error:
            return replace(
                answer, problem=cast(PageProblem, error.problem), detail=str(error)
            ), None
        except ImageError as error:
            return replace(answer, problem="damaged", detail=str(error)), None
        except Exception as error:  # of libraries, on files that nobody made like this before
            detail = f"reading it failed: {type(error).__name__}: {error}"
            return replace(answer, problem="damaged", detail=detail), None
        return replace(
            answer, form_page=page.form_page, person=page.person,
            registration_error_mm=round(page.error_mm, 3), fields=fields,
        ), page  # fmt: skip


class PageItem(NamedTuple):
    """A page to be read: its id, its file, and its number there from 1."""

    id: str
    source: str
    number: int


@dataclass(frozen=True)
class PileSummary:
    """What became of a pile of pages.

    Attributes:
        read: pages whose answers are in the table.
        problems: pages that are not, with the reason.
        copies: files with the content of another one, which were not read again.
        fields: how many fields are accepted, doubtful, empty and rejected.
        expected_errors: among the accepted, and those accepted as empty.
        not_shown: fields that are always doubtful, as this precision was not shown for their kind.
    """

    read: int
    problems: tuple[PageAnswer, ...]
    copies: tuple[str, ...]
    fields: Mapping[str, int]
    expected_errors: ExpectedErrors
    not_shown: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "read": self.read,
            "problems": [
                {"source": page.source, "page": page.source_page, "problem": page.problem,
                 "detail": page.detail}
                for page in self.problems
            ],
            "copies": list(self.copies),
            "fields": dict(self.fields),
            "expected_errors": self.expected_errors.to_dict(),
            "not_shown": list(self.not_shown),
        }  # fmt: skip


class Pile:
    """Files of pages to be read into the folder beside `table_path`, what is there already kept.

    Attributes:
        items: the pages that are still to be read.
        copies: files with the content of another one.

    Raises:
        ConfigError: the form cannot be read, or there are no such files.
        DataError: the folder holds answers to another form, or is being written to; or the table is
            not one of these.
    """

    def __init__(
        self, form: Form, sources: Sequence[Path], table_path: Path,
        precision: float = DEFAULT_PRECISION,
    ) -> None:  # fmt: skip
        self._form, self._table_path, self._precision = form, table_path, precision
        FieldReader(form, Promise(precision))  # says what is wrong before anything is written
        self.folder = AnswersFolder(table_path.with_suffix(""))
        files = [*_files(sources, self.folder.path.resolve() / "pages")]
        if table_path.exists() and not self.folder.path.exists():
            raise DataError(f"{table_path} is there already: choose another --output")
        self.folder.begin(form, precision)
        try:
            self._lock = lock(self.folder.path / ".lock")
        except BlockingIOError:
            raise DataError(f"another process reads into {self.folder.path}") from None
        self._pages = self.folder.pages()
        self._seen = {(page.person, page.form_page) for page in self._pages if is_written(page)}
        self.items: list[PageItem] = []
        self.copies: list[str] = []
        self._take(files)

    def _take(self, files: Sequence[Path]) -> None:
        """Set out what is to be read of `files`; what cannot be opened is noted."""
        known = {page.id: page.source for page in self._pages}
        digests: set[str] = set()
        for path in files:
            digest = str(path)  # of a file that cannot be read
            try:
                with explained(f"read {path}", ImageError):
                    digest = sha256_of_file(path)[:_ID_DIGITS]
                numbers = () if digest in digests else range(1, count_pages(path) + 1)
            except ImageError as error:
                if f"{digest}-1" not in known:
                    answer = PageAnswer(f"{digest}-1", str(path), 1, problem="damaged")
                    self._keep(replace(answer, detail=str(error)))
                    known[answer.id] = str(path)
                continue
            items = [PageItem(f"{digest}-{number}", str(path), number) for number in numbers]
            fresh = [item for item in items if item.id not in known]
            if not fresh and known.get(f"{digest}-1") != str(path):
                self.copies.append(str(path))
            digests.add(digest)
            self.items += fresh

    def read(self, workers: int = 1) -> Iterator[PageAnswer]:
        """Yield each of the `items` as it is read and kept, in their order."""
        work = _PageWork(self._form, self._precision, self.folder.path)
        waiting: dict[int, PageAnswer] = {}
        following = 0
        for position, answer in _outcomes(work, self.items, workers):
            waiting[position] = answer
            while following in waiting:
                yield self._keep(waiting.pop(following))
                following += 1

    def _keep(self, page: PageAnswer) -> PageAnswer:
        key = page.person, page.form_page
        if page.fields is not None and page.person is not None and key in self._seen:
            detail = f"page {page.form_page} of {page.person} was scanned before"
            page = replace(page, fields=None, problem="repeated", detail=detail)
        if is_written(page):  # a blank form may lie in the same folder
            self._seen.add(key)
        self.folder.append(page)
        self._pages.append(page)
        return page

    def finish(self) -> PileSummary:
        """Write the table, with what people changed, and return what became of the pile."""
        pages = self.folder.reviewed_pages()
        write_table(self._table_path, self._form, pages)
        return summary(self._form, pages, self._precision, self.copies)

    def close(self) -> None:
        """Let other processes read into the folder."""
        os.close(self._lock)


def summary(
    form: Form, pages: Sequence[PageAnswer], precision: float, copies: Iterable[str] = ()
) -> PileSummary:
    """Return what became of `pages`."""
    kinds = {field.name: kind_of(field) for field in form.fields}
    statuses = {"accepted": 0, "doubtful": 0, "empty": 0, "rejected": 0}
    promised: dict[str, int] = defaultdict(int)
    for page in pages:
        for name, answer in (page.fields or {}).items():
            statuses[answer.status] += 1
            if answer.status in ("accepted", "empty"):
                promised[kinds[name]] += 1
    problems = tuple(page for page in pages if page.problem is not None)
    promise = Promise(precision)
    not_shown = tuple(name for name, kind in kinds.items() if promise.shown(kind) is None)
    return PileSummary(
        len(pages) - len(problems), problems, tuple(copies), statuses,
        expected_errors(promise, promised), not_shown,
    )  # fmt: skip


class _PageWork:
    """Reads a page in a worker process, and keeps its image."""

    def __init__(self, form: Form, precision: float, folder: Path) -> None:
        self._form, self._precision, self._folder = form, precision, AnswersFolder(folder)

    @cached_property
    def _reader(self) -> FormReader:
        return FormReader(self._form, precision=self._precision)

    def __call__(self, item: PageItem) -> PageAnswer:
        answer, page = self._reader.read_registered(item)
        if page is None:
            return answer
        return replace(answer, image=self._folder.write_image(item.id, page.image))


def _outcomes(
    work: _PageWork, items: Sequence[PageItem], workers: int
) -> Iterator[tuple[int, PageAnswer]]:
    """Yield (position, answer) of each item; that of one whose process died says so."""
    left = dict(enumerate(items))
    while left:
        positions = list(left)
        try:
            for number, answer in map_unordered(work, [*left.values()], workers):
                del left[positions[number]]
                yield positions[number], answer
        except WorkerError as error:
            if error.position is None:
                raise
            position = positions[error.position]
            item = left.pop(position)
            yield (
                position,
                PageAnswer(item.id, item.source, item.number, problem="damaged", detail=str(error)),
            )


def _files(sources: Sequence[Path], besides: Path) -> Iterator[Path]:
    """Yield the files of `sources` as people number them, those of folders with all below.

    What lies in the folder `besides` is left out.

    ConfigError: one is not there, or a folder has no pages.
    """
    for source in sources:
        if not source.exists():
            raise ConfigError(f"{source} does not exist")
        if not source.is_dir():
            yield source
            continue
        inside = (path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
        files = [
            path for path in inside
            if path.is_file() and not path.name.startswith(".")
            and not path.resolve().is_relative_to(besides)
        ]  # fmt: skip
        if not files:
            known = ", ".join(sorted(SUFFIXES))
            raise ConfigError(f"{source} has no pages: files that end in {known}")
        yield from sorted(files, key=lambda path: natural(str(path)))
