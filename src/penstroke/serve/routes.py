"""The HTTP API: thin routes, typed by `schemas`."""

import json
import time
from asyncio import to_thread
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from penstroke.serve.corrections import Correction
from penstroke.serve.limits import ENDLESS
from penstroke.serve.prometheus import CONTENT_TYPE
from penstroke.serve.responses import ApiError
from penstroke.serve.schemas import (
    CharacterAnswer,
    CharacterQuery,
    CorrectionAnswer,
    CorrectionsAnswer,
    ErrorAnswer,
    ModelsAnswer,
    PageAnswer,
    PageQuery,
    RunAnswer,
    RunsAnswer,
    StateAnswer,
)
from penstroke.serve.service import Service
from penstroke.serve.strokes import Drawing
from penstroke.serve.uploads import FORM, IMAGES, JSON, Options, read_upload

router = APIRouter()

_ERRORS = {
    400: "The request cannot be read as HTTP, JSON or a form.",
    401: "The token is missing or wrong.",
    403: "The request comes from another web page.",
    404: "There is no such model, run or correction.",
    408: "The body did not arrive in time.",
    413: "The body is larger than a megabyte.",
    415: "The type of the body is not supported.",
    421: "The Host header names another service.",
    422: "A field or the image is invalid; the message names it.",
    429: "Too many images are waiting; Retry-After says when to try again.",
    503: "Too many requests are in progress, or the service is stopping.",
}


def _errors(*further: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route may answer besides its success, for the OpenAPI document."""
    statuses = sorted({400, 401, 403, 421, 422, 503, *further})
    return {s: {"model": ErrorAnswer, "description": _ERRORS[s]} for s in statuses}


def _bodies(*media_types: str) -> dict[str, Any]:
    """Return the bodies that a route reads by itself, for the OpenAPI document."""
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"image": binary}, "required": ["image"]}
    schema = {FORM: form, JSON: Drawing.model_json_schema()}
    content = {kind: {"schema": schema.get(kind, binary)} for kind in media_types}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/v1/recognize",
    responses=_errors(404, 408, 413, 415, 429),
    openapi_extra=_bodies(*IMAGES, FORM, JSON),
)
async def recognize(request: Request, query: Annotated[CharacterQuery, Query()]) -> CharacterAnswer:
    """Recognise one character: a PNG or JPEG, a form with the file `image`, or strokes."""
    options = Options(query.top, occlusion=bool(query.occlusion))
    return CharacterAnswer(**await _recognize(request, query, options))


@router.post(
    "/v1/recognize/line",
    responses=_errors(404, 408, 413, 415, 429),
    openapi_extra=_bodies(*IMAGES, FORM, JSON),
)
async def recognize_line(request: Request, query: Annotated[PageQuery, Query()]) -> PageAnswer:
    """Read lines of characters, from top to bottom; boxes are in pixels of the image."""
    return PageAnswer(**await _recognize(request, query, Options(page=True)))


async def _recognize(request: Request, query: PageQuery, options: Options) -> dict[str, Any]:
    """Return the answer of a worker, with the name of the model and the time it took."""
    started = time.perf_counter()
    service = _service(request)
    model = service.models.pick(query.model)
    service.pool.refuse_if_full(options)
    upload = await read_upload(request, *IMAGES, FORM, JSON)
    answer = json.loads(await service.pool.recognize(model, options, upload))
    milliseconds = round(1000 * (time.perf_counter() - started), 3)
    return {**answer, "model": model.name, "elapsed_milliseconds": milliseconds}


@router.get("/v1/models", responses=_errors())
async def list_models(request: Request) -> ModelsAnswer:
    """List the models that are served; the first is the default."""
    models = _service(request).models
    return ModelsAnswer(models=[m.facts(is_default=m is models.default) for m in models])


async def _require_json(request: Request) -> None:
    await read_upload(request, JSON)


@router.post(
    "/v1/corrections",
    status_code=201,
    responses=_errors(408, 413, 415),
    dependencies=[Depends(_require_json)],
)
async def add_correction(request: Request, correction: Correction) -> CorrectionAnswer:
    """Keep an image with its right label, in the data set `collected`."""
    service = _service(request)
    return await to_thread(service.corrections.add, correction, service.settings.max_pixels)


@router.delete("/v1/corrections/{id}", status_code=204, responses=_errors(404))
async def remove_correction(
    request: Request,
    id: Annotated[str, Path(description="as POST returned it")],  # noqa: A002 - the path's word
) -> None:
    """Delete a correction."""
    await to_thread(_service(request).corrections.remove, id)


@router.get("/v1/corrections", responses=_errors())
async def count_corrections(request: Request) -> CorrectionsAnswer:
    """Count the corrections."""
    return await to_thread(_service(request).corrections.facts)


@router.get("/v1/runs", responses=_errors())
async def list_runs(request: Request) -> RunsAnswer:
    """List the runs, newest first."""
    return RunsAnswer(runs=await to_thread(_service(request).runs.all))


@router.get(
    ENDLESS,
    response_class=StreamingResponse,
    responses={**_errors(), 200: {"content": {"text/event-stream": {}}}},
)
async def run_events(request: Request) -> Response:
    """Stream changes of the runs as Server-Sent Events: name, status, further history."""
    runs = _service(request).runs
    runs.refuse_if_full()
    headers = {"cache-control": "no-store"}
    return StreamingResponse(runs.events(), media_type="text/event-stream", headers=headers)


@router.get("/v1/runs/{name}", responses=_errors(404))
async def show_run(
    request: Request, name: Annotated[str, Path(description="one of /v1/runs")]
) -> RunAnswer:
    """Show one run with its history."""
    return await to_thread(_service(request).runs.one, name)


@router.get("/healthz", responses=_errors())
async def healthz() -> StateAnswer:
    """Answer 200 as long as the process is alive."""
    return StateAnswer(status="alive")


@router.get("/readyz", responses=_errors())
async def readyz(request: Request) -> StateAnswer:
    """Answer 200 while requests are welcome, 503 while the service starts or stops."""
    service = _service(request)
    if not service.is_ready:
        state = "stopping" if service.is_draining else "starting"
        raise ApiError(503, "not_ready", f"the service is {state}: try another, or try again soon")
    return StateAnswer(status="ready")


@router.get("/metrics", response_class=PlainTextResponse, responses=_errors())
async def metrics(request: Request) -> Response:
    """Return counters and gauges in the text format of Prometheus."""
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
