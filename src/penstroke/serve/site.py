"""The routes beside the API: pages, what a keeper of services asks, and the OpenAPI page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from penstroke.serve import openapi_schema as schema
from penstroke.serve.pages import docs_page
from penstroke.serve.prometheus import CONTENT_TYPE
from penstroke.serve.responses import ApiError, json_response

if TYPE_CHECKING:
    from penstroke.serve.app import Service

router = APIRouter()
_PAGES = {"/": "index.html", "/runs": "runs.html", "/favicon.ico": "icon.svg"}


@router.get("/healthz", **schema.answers(schema.StateAnswer))
async def healthz() -> Response:
    """Answer 200 as long as the process is alive."""
    return json_response({"status": "alive"})


@router.get("/readyz", **schema.answers(schema.StateAnswer))
async def readyz(request: Request) -> Response:
    """Answer 200 while requests are welcome, 503 while it starts or has been told to stop."""
    service = _service(request)
    if not service.is_ready:
        what = "told to stop" if service.is_draining else "starting"
        raise ApiError(503, "not_ready", f"{what}: ask another, or again soon")
    return json_response({"status": "ready"})


@router.get("/metrics", **schema.text("Counters and gauges, as Prometheus reads them."))
async def metrics(request: Request) -> Response:
    """Tell what the service counts about itself."""
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Show this document as a page."""
    return HTMLResponse(docs_page(request.app.openapi()))


@router.get("/static/{name}", include_in_schema=False)
async def static(request: Request, name: str) -> Response:
    """Answer with one of the files that were read at the start."""
    return _file(request, name)


async def page(request: Request) -> Response:
    """Answer with the page of this path."""
    return _file(request, _PAGES[request.url.path])


for path in _PAGES:
    router.add_api_route(path, page, include_in_schema=False)


def _file(request: Request, name: str) -> Response:
    found = _service(request).pages.answer(name)
    if found is None:
        raise HTTPException(404, "there is no such page")
    return found


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
