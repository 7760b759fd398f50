"""The pages and the files they load, read once: no name from outside becomes a path."""

import mimetypes
from html import escape
from importlib import resources
from string import Template
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)
_PAGES = {"/": "index.html", "/runs": "runs.html", "/favicon.ico": "icon.svg"}
_CHARSET = {"text/html", "text/css", "text/javascript", "image/svg+xml"}
_PACKAGE = resources.files("penstroke.serve")
_FILES = {
    entry.name: entry.read_bytes()
    for entry in (*(_PACKAGE / "static").iterdir(), _PACKAGE / "docs.css")
    if entry.is_file()
}
_DOCS = Template((_PACKAGE / "docs.html").read_text())


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Answer with one of the files that were read at the start."""
    if name not in _FILES:
        raise HTTPException(404, "there is no such page")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    media_type = f"{kind}; charset=utf-8" if kind in _CHARSET else kind
    return Response(_FILES[name], media_type=media_type, headers={"cache-control": "no-cache"})


async def page(request: Request) -> Response:
    """Answer with the page of this path."""
    return await static(_PAGES[request.url.path])


for path in _PAGES:
    router.add_api_route(path, page)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Show the OpenAPI document as a page to read, without a line of script."""
    schema = request.app.openapi()
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    title, description = escape(schema["info"]["title"]), escape(schema["info"]["description"])
    return HTMLResponse(
        _DOCS.substitute(title=title, description=description, operations=operations)
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    parameters = "".join(
        f"<tr><td><code>{escape(p['name'])}</code><td>{escape(p.get('description', ''))}"
        for p in operation.get("parameters", [])
    )
    bodies = ", ".join(operation.get("requestBody", {}).get("content", {}))
    answers = "".join(
        f"<tr><td>{escape(status)}<td>{escape(answer.get('description', ''))}"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f"<section><h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(text)}</p>"
        + (f"<h3>Parameters</h3><table>{parameters}</table>" if parameters else "")
        + (f"<h3>Body</h3><p><code>{escape(bodies)}</code></p>" if bodies else "")
        + f"<h3>Answers</h3><table>{answers}</table></section>"
    )
