"""The routes under /v1: thin, each what it takes and what it answers."""

from __future__ import annotations

import json
import time
from asyncio import to_thread
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response, StreamingResponse

from penstroke.serve import openapi_schema as schema
from penstroke.serve.limits import ENDLESS, read_body
from penstroke.serve.messages import Question
from penstroke.serve.queries import CharacterQuery, PageQuery, asked
from penstroke.serve.responses import json_response
from penstroke.serve.uploads import JSON, RECOGNIZABLE

if TYPE_CHECKING:
    from penstroke.serve.app import Service

router = APIRouter()

_Id = Annotated[str, Path(description="as POST answered it")]
_Name = Annotated[str, Path(description="one of /v1/runs")]


@router.post("/v1/recognize", **schema.recognition(CharacterQuery, schema.CharacterAnswer))
async def recognize(request: Request) -> Response:
    """Read one character: a PNG or JPEG, a form with a `image`, or strokes."""
    query = asked(CharacterQuery, request)
    return await _read(request, query.model, Question(query.top, explain=bool(query.explain)))


@router.post("/v1/recognize/line", **schema.recognition(PageQuery, schema.PageAnswer))
async def recognize_line(request: Request) -> Response:
    """Read lines of characters, from top to bottom; boxes are in pixels of the image."""
    return await _read(request, asked(PageQuery, request).model, Question(page=True))


@router.get("/v1/models", **schema.answers(schema.ModelsAnswer))
async def list_models(request: Request) -> Response:
    """List the models that are served; the first is the default."""
    models = _service(request).models
    return json_response({
        "models": [{**m.facts(), "is_default": m is models.default} for m in models]
    })  # fmt: skip


@router.post("/v1/collection", status_code=201, **schema.correction())
async def collect(request: Request) -> Response:
    """Keep an image with the label a person gave it, in the data set `collected`."""
    service = _service(request)
    body = await read_body(request, service.settings, (JSON,))
    pixels = service.settings.max_pixels
    return json_response(await to_thread(service.collection.add, body.content, pixels), 201)


@router.delete("/v1/collection/{id}", status_code=204, **schema.deletion())
async def take_back(request: Request, id: _Id) -> Response:  # noqa: A002 - the path's own word
    """Take back what was kept."""
    service = _service(request)
    await to_thread(service.collection.remove, id)
    return Response(status_code=204)


@router.get("/v1/collection", **schema.answers(schema.CollectionAnswer))
async def collection(request: Request) -> Response:
    """Count what has been kept."""
    service = _service(request)
    return json_response(await to_thread(service.collection.facts))


@router.get("/v1/runs", **schema.answers(schema.RunsAnswer))
async def list_runs(request: Request) -> Response:
    """List the runs, newest first."""
    service = _service(request)
    return json_response({"runs": await to_thread(service.runs.all)})


@router.get(ENDLESS, **schema.events())
async def run_events(request: Request) -> Response:
    """Stream what is new in the runs, as Server-Sent Events: name, status, further history."""
    runs = _service(request).runs
    runs.refuse_if_full()
    return StreamingResponse(
        runs.events(), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


@router.get("/v1/runs/{name}", **schema.answers(schema.RunAnswer, 404))
async def show_run(request: Request, name: _Name) -> Response:
    """Show one run with its history."""
    service = _service(request)
    return json_response(await to_thread(service.runs.one, name))


BUSIEST = {"/v1/recognize": recognize, "/v1/recognize/line": recognize_line}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _read(request: Request, name: str | None, question: Question) -> Response:
    """Answer with what a reader says; which model it was, and how long it took, is added."""
    started = time.perf_counter()
    service = _service(request)
    model = service.models.pick(name)
    service.readers.refuse_if_full(question)
    body = await read_body(request, service.settings, RECOGNIZABLE)
    answer = await service.readers.read(model, question, body)
    milliseconds = round(1000 * (time.perf_counter() - started), 3)
    added = {"model": model.name, "elapsed_milliseconds": milliseconds}
    content = answer[:-1] + b"," + json.dumps(added).encode()[1:]
    return Response(content, media_type=JSON)
