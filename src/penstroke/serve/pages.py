"""The pages and the files they load, read once: no name from outside becomes a path."""

import json
import mimetypes
import re
from asyncio import to_thread
from collections.abc import Iterable
from html import escape
from string import Template
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from penstroke.serve.page_files import page_files
from penstroke.serve.security import REPORT_POLICY

router = APIRouter(include_in_schema=False)
_PAGES = {"/": "index.html", "/runs": "runs.html", "/favicon.ico": "icon.svg"}
_CHARSET = {"text/html", "text/css", "text/javascript", "image/svg+xml"}
_FILES = page_files("static", "docs")
_DOCS = Template(_FILES.pop("docs.html").decode())

_INNERMOST = re.compile(r"\[[^][{}]*\]|\{[^][{}]{,90}\}")
"""Of indented JSON, what fits on a line."""


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


@router.get("/reports/{key}/{name}/report/{file}")
async def report(request: Request, key: str, name: str, file: str) -> Response:
    """Answer with a page of a run's report: its styles are inline, and it has no scripts."""
    content = await to_thread(request.app.state.service.runs.report, key, name, file)
    return HTMLResponse(
        content, headers={"content-security-policy": REPORT_POLICY, "cache-control": "no-cache"}
    )


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Show the OpenAPI document as a page to read, without a line of script."""
    document = request.app.openapi()
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return HTMLResponse(_DOCS.substitute(
        description=_html(document["info"]["description"]),
        version=escape(document["info"]["version"]),
        contents="".join(
            f'<li><a href="#{_anchor(operation)}">{_route(method, path)}</a>'
            for method, path, operation in operations
        ),
        operations="".join(_section(*operation) for operation in operations),
        errors=_table(sorted({
            (status, answer["description"])
            for *_, operation in operations for status, answer in operation["responses"].items()
            if not status.startswith("2")
        })),
    ))  # fmt: skip


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    parameters = [
        (f"`{parameter['name']}`", parameter.get("description", ""))
        for parameter in operation.get("parameters", [])
    ]
    kinds = ", ".join(f"`{kind}`" for kind in operation.get("requestBody", {}).get("content", {}))
    answers = sorted(operation["responses"].items())
    errors = ", ".join(status for status, _ in answers if not status.startswith("2"))
    (request,) = operation["x-codeSamples"]
    example = next(
        (kind["example"] for _, a in answers for kind in a.get("content", {}).values()
         if "example" in kind), "",
    )  # fmt: skip
    if not isinstance(example, str):
        example = _INNERMOST.sub(
            lambda part: re.sub(r"\s+", " ", part[0]),
            json.dumps(example, indent=2, ensure_ascii=False),
        )
    anchor = _anchor(operation)
    return (
        f'<section><h2 id="{anchor}"><a href="#{anchor}">{_route(method, path)}</a></h2>'
        f"<p>{_html(text)}</p>"
        + (f"<h3>Parameters</h3>{_table(parameters)}" if parameters else "")
        + (f"<h3>Body</h3><p>{_html(kinds)}</p>" if kinds else "")
        + f"<h3>Example</h3><pre tabindex=0>{escape(request['source'])}</pre>"
        + (f"<pre tabindex=0>{escape(example)}</pre>" if example else "")
        + f'<p class="soft"><a href="#errors">Errors</a>: {errors}</p></section>'
    )


def _route(method: str, path: str) -> str:
    return f'<span class="method">{escape(method)}</span>{escape(path)}'


def _anchor(operation: dict[str, Any]) -> str:
    return escape(operation["operationId"])


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{_html(name)}<td>{_html(text)}" for name, text in rows)
    return f"<table>{cells}</table>"


def _html(text: str) -> str:
    """Return plain text as HTML; what stands between backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
