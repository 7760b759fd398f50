"""The service of one review: its routes, its page, and the protections that `serve` has."""

import contextlib
import json
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.types import ASGIApp

from penstroke.files import csv_of
from penstroke.forms.answers import SIGNED, Change
from penstroke.forms.review import MAX_VALUE, FieldInReview, Person, Place, Review
from penstroke.serve import pages, routes
from penstroke.serve.app import ERROR_HANDLERS, for_http
from penstroke.serve.limits import Limits
from penstroke.serve.security import Security
from penstroke.serve.server import Listening, run, with_token
from penstroke.serve.service_settings import ServiceSettings


class ReviewService:
    """A review that is served; as it stops, the table is written."""

    def __init__(self, review: Review, settings: ServiceSettings) -> None:
        self.review = review
        self.settings = settings
        self.is_started = self.is_draining = False
        self.failure: Exception | None = None

    def drain(self) -> None:
        """Stop inviting requests; those that come are answered all the same."""
        self.is_draining = True

    async def reload(self) -> None:
        """Do nothing: pages that are read meanwhile are noticed by themselves."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write the table at the end."""
        self.is_started = True
        try:
            yield
        finally:
            self.is_started = False
            await to_thread(self.review.export_if_changed)


def serve_review(
    review: Review, settings: ServiceSettings, on_ready: Callable[[Listening], object]
) -> None:
    """Serve `review` until SIGTERM or SIGINT. ConfigError: another process reviews the folder."""
    service = ReviewService(review, with_token(settings))
    with review.locked():
        run(service, create_review_app(service), on_ready)


def create_review_app(service: ReviewService) -> ASGIApp:
    """Return the application of a review, behind the protections and limits of `serve`."""
    app = FastAPI(
        title="Penstroke", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False,
        lifespan=lambda _: service.running(), exception_handlers=ERROR_HANDLERS,
    )  # fmt: skip
    app.state.service = service
    app.include_router(router)
    app.include_router(routes.states)
    limits = Limits(app, service.settings, lambda: service.is_draining)
    return for_http(Security(limits, service.settings), app)


class Reviewer(BaseModel):
    """Who asks."""

    who: str = Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")
    session: str = Field(min_length=1, max_length=60, description="of the browser tab")

    @property
    def person(self) -> Person:
        """The person, and their tab."""
        return Person(self.who.strip(), self.session)


class NextQuestion(Reviewer):
    """Which field comes next."""

    field: str | None = Field(None, max_length=200, description="only fields of this name")
    open_only: bool = Field(True, description="only fields that a person should look at")
    after: tuple[str, str] | None = Field(None, description="page and field")


class PlaceQuestion(Reviewer):
    """Which field is looked at."""

    page: str = Field(max_length=200)
    field: str = Field(max_length=200)

    @property
    def place(self) -> Place:
        """The field of the page."""
        return Place(self.page, self.field)


class ChangeQuestion(PlaceQuestion):
    """What a field holds."""

    value: str = Field(max_length=4 * MAX_VALUE)
    revision: int = Field(ge=0, description="of the field as it was seen")
    confirmed: bool = Field(False, description="although the form does not admit the value")


class ProgressAnswer(BaseModel):
    """How far the review is."""

    to_review: int
    open: int
    open_by_field: dict[str, int]
    people: list[str]
    held: int = Field(description="open fields that others look at")


class FieldAnswer(BaseModel):
    """A field of a page."""

    page: str
    source: str
    source_page: int
    person: str | None
    has_image: bool
    field: str
    value: str
    read: str
    probability: float
    status: str
    alternatives: list[tuple[str, float]]
    box: tuple[int, int, int, int]
    is_open: bool
    revision: int
    changed: Change | None
    held_by: str | None
    refusal: str | None


class QuestionAnswer(BaseModel):
    """The field that is looked at now, and how far the review is."""

    field: FieldAnswer | None
    progress: ProgressAnswer


class FormField(BaseModel):
    """A field of the form."""

    name: str
    title: str
    type: str
    options: list[str]


class UnreadPage(BaseModel):
    """A page that nothing was read of."""

    source: str
    source_page: int
    problem: str
    detail: str


class ReviewAnswer(BaseModel):
    """What is reviewed."""

    form: str
    title: str
    fields: list[FormField]
    pages: int
    unread: list[UnreadPage]
    progress: ProgressAnswer


class TableAnswer(BaseModel):
    """The table that was written."""

    csv: str
    json_file: str
    rows: int


async def _review(request: Request) -> Review:
    service: ReviewService = request.app.state.service
    return service.review


Reviewed = Annotated[Review, Depends(_review)]
_AS_JSON = [Depends(routes.require_json)]
_MAX_UNREAD = 500
router = APIRouter()
router.add_api_route("/static/{name}", pages.static)


@router.get("/")
async def page() -> Response:
    """Answer with the page of the review."""
    return await pages.static("review.html")


@router.get("/favicon.ico")
async def icon() -> Response:
    """Answer with the icon."""
    return await pages.static("icon.svg")


@router.get("/v1/review")
def overview(review: Reviewed) -> ReviewAnswer:
    """Describe the form, the pages, and how far it is."""
    progress = _progress(review, None)
    unread = [page for page in review.pages.values() if page.problem is not None]
    return ReviewAnswer(
        form=review.form.name, title=review.form.title or review.form.name,
        fields=[
            FormField(name=one.name, title=one.title or one.name, type=one.type,
                      options=[SIGNED] if one.type == "signature" else list(one.options))
            for one in review.form.fields
        ],
        pages=len(review.pages),
        unread=[
            UnreadPage(source=page.source, source_page=page.source_page,
                       problem=page.problem or "", detail=page.detail)
            for page in unread[:_MAX_UNREAD]
        ],
        progress=progress,
    )  # fmt: skip


@router.post("/v1/review/next", dependencies=_AS_JSON)
def next_field(review: Reviewed, question: NextQuestion) -> QuestionAnswer:
    """Answer with the next field that nobody else looks at."""
    after = Place(*question.after) if question.after else None
    found = review.next(
        question.person, field=question.field, after=after, open_only=question.open_only
    )
    return _question(review, question.person, found)


@router.post("/v1/review/look", dependencies=_AS_JSON)
def look_at(review: Reviewed, question: PlaceQuestion) -> QuestionAnswer:
    """Answer with one field."""
    found = review.look_at(question.person, question.place)
    return _question(review, question.person, found)


@router.post("/v1/review/changes", dependencies=_AS_JSON, status_code=201)
def change(review: Reviewed, question: ChangeQuestion) -> ProgressAnswer:
    """Record what a field holds."""
    review.change(
        question.person, question.place, question.value, revision=question.revision,
        is_confirmed=question.confirmed,
    )  # fmt: skip
    return _progress(review, question.person)


@router.post("/v1/review/undo", dependencies=_AS_JSON)
def undo(review: Reviewed, question: Reviewer) -> QuestionAnswer:
    """Take back the person's last change, and answer with its field."""
    found = review.look_at(question.person, review.undo(question.person))
    return _question(review, question.person, found)


@router.post("/v1/review/table", dependencies=_AS_JSON)
def write_table(review: Reviewed, question: Reviewer) -> TableAnswer:
    """Write the table beside the folder."""
    path = review.export()
    return TableAnswer(
        csv=str(path), json_file=str(path.with_suffix(".json")), rows=len(review.table()[1])
    )


@router.get("/v1/review/table.csv")
def table_csv(review: Reviewed) -> Response:
    """Answer with the table as it is now."""
    return _download(review, "csv", csv_of(*review.table()))


@router.get("/v1/review/table.json")
def table_json(review: Reviewed) -> Response:
    """Answer with the rows of the table as they are now."""
    text = json.dumps(review.table()[1], ensure_ascii=False, indent=1)
    return _download(review, "json", text.encode())


@router.get("/v1/review/pages/{page}")
def page_image(
    review: Reviewed, page: Annotated[str, Path(max_length=200, description="its id")]
) -> Response:
    """Answer with the image of a page."""
    return Response(
        review.image(page), media_type="image/webp", headers={"cache-control": "private, no-cache"}
    )


def _download(review: Review, kind: str, content: bytes) -> Response:
    name = review.folder.table_path.with_suffix(f".{kind}").name
    types = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return Response(
        content, media_type=types[kind],
        headers={"content-disposition": f'attachment; filename="{plain}"',
                 "cache-control": "no-store"},
    )  # fmt: skip


def _progress(review: Review, person: Person | None) -> ProgressAnswer:
    return ProgressAnswer(**vars(review.progress(person)))


def _question(review: Review, person: Person, found: FieldInReview | None) -> QuestionAnswer:
    progress = _progress(review, person)
    return QuestionAnswer(field=_facts(found) if found else None, progress=progress)


def _facts(found: FieldInReview) -> FieldAnswer:
    page, answer = found.page, found.answer
    plain: dict[str, Any] = {
        name: getattr(found, name)
        for name in ("value", "is_open", "revision", "changed", "held_by", "refusal")
    }
    return FieldAnswer(
        page=page.id, source=page.source, source_page=page.source_page, person=page.person,
        has_image=page.image is not None, field=found.field.name, read=answer.value,
        probability=answer.probability, status=answer.status,
        alternatives=list(answer.alternatives), box=answer.box, **plain,
    )  # fmt: skip
