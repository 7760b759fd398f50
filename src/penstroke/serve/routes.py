"""The HTTP API: thin routes, typed by `schemas`."""

import json
import time
from asyncio import gather, to_thread
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import HTTPBearer
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from penstroke.serve import schemas
from penstroke.serve.correcting import Correction
from penstroke.serve.limits import ENDLESS
from penstroke.serve.prometheus import CONTENT_TYPE
from penstroke.serve.responses import ApiError
from penstroke.serve.served_models import ServedModel
from penstroke.serve.service import Service
from penstroke.serve.strokes import Drawing
from penstroke.serve.uploads import (
    FORM,
    IMAGES,
    JSON,
    Options,
    Upload,
    form_images,
    read_upload,
)

_ERRORS = {
    400: "The request cannot be read as HTTP, JSON or a form.",
    401: "The token is missing or wrong.",
    403: "The request comes from another web page.",
    404: "There is no such model, run or correction.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The type of the body is not supported.",
    421: "The Host header names another service.",
    422: "A field or the image is invalid; the message names it.",
    429: "Too many images are waiting; Retry-After says when to try again.",
    503: "Too many requests are in progress, or the service is stopping.",
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what may be answered besides success, for the OpenAPI document."""
    return {s: {"model": schemas.ErrorAnswer, "description": _ERRORS[s]} for s in statuses}


_BINARY = {"type": "string", "format": "binary"}
_BODIES = {
    **dict.fromkeys(IMAGES, _BINARY),
    FORM: {"type": "object", "properties": {"image": _BINARY}, "required": ["image"]},
    JSON: Drawing.model_json_schema(),
}
_MAX_BATCH = 64
_FILES = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": _MAX_BATCH}
_BATCH = {"type": "object", "required": ["image"], "properties": {"image": _FILES}}
_UPLOADS: dict[str, Any] = {
    "responses": _errors(404, 408, 413, 415, 429),
    "openapi_extra": {"requestBody": {
        "required": True, "content": {kind: {"schema": body} for kind, body in _BODIES.items()},
    }},
}  # fmt: skip
"""Of routes that read an image by themselves, for the OpenAPI document."""


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
_TOKEN = HTTPBearer(auto_error=False, description="needed where the service has a token")
router = APIRouter(responses=_errors(400, 401, 403, 421, 422, 503), dependencies=[Depends(_TOKEN)])
"""Security checks the token; the dependency is for the OpenAPI document."""
states = APIRouter(responses=_errors(400, 403, 421, 503))


@router.post("/v1/recognize", **_UPLOADS)
async def recognize(
    request: Request, query: Annotated[schemas.CharacterQuery, Query()]
) -> schemas.CharacterAnswer:
    """Recognise one character: a PNG, JPEG or WebP, a form with the file `image`, or strokes."""
    options = Options(query.top, occlusion=bool(query.occlusion))
    model = (await _service(request)).models.pick_recognizer(query.model)
    return schemas.CharacterAnswer(**await _recognize(request, model, options))


@router.post("/v1/recognize/line", **_UPLOADS)
async def recognize_line(
    request: Request, query: Annotated[schemas.PageQuery, Query()]
) -> schemas.PageAnswer:
    """Read lines of characters one by one, from top to bottom; boxes are in pixels of the image."""
    model = (await _service(request)).models.pick_recognizer(query.model)
    return schemas.PageAnswer(**await _recognize(request, model, Options(page=True)))


@router.post("/v1/read", **_UPLOADS)
async def read(
    request: Request, query: Annotated[schemas.LinesQuery, Query()]
) -> schemas.PageAnswer:
    """Read lines of writing, such as numbers, with a model that reads each as a whole.

    With a model of single characters it answers as /v1/recognize/line does.
    """
    options = Options(
        query.top, page=True, one_line=bool(query.one_line), format=query.format,
        check_digit=query.check_digit,
    )  # fmt: skip
    model = (await _service(request)).models.pick_reader(query.model)
    return schemas.PageAnswer(**await _recognize(request, model, options))


@router.post(
    "/v1/recognize/batch",
    responses=_errors(404, 408, 413, 415, 429),
    openapi_extra={"requestBody": {"required": True, "content": {FORM: {"schema": _BATCH}}}},
)
async def recognize_batch(
    request: Request, query: Annotated[schemas.BatchQuery, Query()]
) -> schemas.BatchAnswer:
    """Recognise the character in each of up to 64 files `image` of a form."""
    started, service, options = time.perf_counter(), await _service(request), Options(query.top)
    model = service.models.pick_recognizer(query.model)
    service.pool.refuse_if_full(options)
    images = await to_thread(form_images, await read_upload(request, FORM))
    most = min(_MAX_BATCH, service.settings.queue_size)
    if not 1 <= len(images) <= most:
        text = f"image: the form has {len(images)} such files, not 1 to {most}"
        raise ApiError(422, "invalid", text)
    service.pool.refuse_if_full(options, len(images))
    uploads = (Upload(IMAGES[0], image) for image in images)
    answers = await gather(
        *(service.pool.recognize(model, options, upload) for upload in uploads),
        return_exceptions=True,
    )
    results: list[Any] = []
    for answer in answers:
        if isinstance(answer, ApiError) and answer.status_code == 422:
            results.append(answer.content)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            results.append(json.loads(answer))
    return schemas.BatchAnswer(results=results, **_used(model, started))


async def _recognize(request: Request, model: ServedModel, options: Options) -> dict[str, Any]:
    """Return the answer of a worker, with the model and the time it took."""
    started = time.perf_counter()
    service = await _service(request)
    service.pool.refuse_if_full(options)
    upload = await read_upload(request, *_BODIES)
    answer = json.loads(await service.pool.recognize(model, options, upload))
    return {**answer, **_used(model, started)}


def _used(model: ServedModel, started: float) -> dict[str, Any]:
    milliseconds = round(1000 * (time.perf_counter() - started), 3)
    return {
        "model": model.name, "model_sha256": model.sha256, "elapsed_milliseconds": milliseconds,
    }  # fmt: skip


@router.get("/v1/models")
async def list_models(service: Served) -> schemas.ModelsAnswer:
    """List the models that are served; the first is the default."""
    models = service.models
    return schemas.ModelsAnswer(models=[m.facts(is_default=m is models.default) for m in models])


async def require_json(request: Request) -> None:
    """Read the body; ApiError 415 where it is not JSON."""
    await read_upload(request, JSON)


@router.post(
    "/v1/corrections",
    status_code=201,
    responses=_errors(408, 413, 415),
    dependencies=[Depends(require_json)],
)
async def add_correction(service: Served, correction: Correction) -> schemas.CorrectionAnswer:
    """Keep an image with its right label, in the data set `collected`."""
    return await to_thread(service.corrections.add, correction, service.settings.max_pixels)


@router.delete("/v1/corrections/{id}", status_code=204, responses=_errors(404))
async def remove_correction(
    service: Served,
    id: Annotated[str, Path(description="as POST returned it")],  # noqa: A002 - the path's word
) -> None:
    """Delete a correction."""
    await to_thread(service.corrections.remove, id)


@router.get("/v1/corrections")
async def list_corrections(
    service: Served, query: Annotated[schemas.CorrectionsQuery, Query()]
) -> schemas.CorrectionsAnswer:
    """Count the corrections, and list the newest of them."""
    return await to_thread(service.corrections.facts, query.limit, query.before)


@router.get("/v1/runs")
async def list_runs(service: Served) -> schemas.RunsAnswer:
    """List the runs, newest first."""
    return schemas.RunsAnswer(runs=await to_thread(service.runs.all))


@router.get(
    ENDLESS,
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def run_events(service: Served) -> Response:
    """Stream changes of the runs as Server-Sent Events: name, status, further history."""
    service.runs.refuse_if_full()
    events, headers = service.runs.events(), {"cache-control": "no-store"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@router.get("/v1/runs/{name}", responses=_errors(404))
async def show_run(
    service: Served, name: Annotated[str, Path(description="one of /v1/runs")]
) -> schemas.RunAnswer:
    """Show one run with its history."""
    return await to_thread(service.runs.one, name)


@states.get("/healthz")
async def healthz() -> schemas.StateAnswer:
    """Answer 200 as long as the process is alive."""
    return schemas.StateAnswer(status="alive")


@states.get("/readyz")
async def readyz(service: Served) -> schemas.StateAnswer:
    """Answer 200 while requests are welcome, 503 while the service starts or stops."""
    if service.is_draining or not service.is_started:
        state = "stopping" if service.is_draining else "starting"
        raise ApiError(503, "not_ready", f"the service is {state}: try another, or try again soon")
    return schemas.StateAnswer(status="ready")


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: Served) -> Response:
    """Return counters and gauges in the text format of Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)
