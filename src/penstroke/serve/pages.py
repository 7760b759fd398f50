"""The pages and what they load, read once: no name from outside is ever looked for on disk."""

from __future__ import annotations

import mimetypes
from html import escape
from importlib import resources
from typing import Any

from starlette.responses import Response

_CHARSET = {"text/html", "text/css", "text/javascript", "image/svg+xml"}
_DOCS = "docs.css"


class Pages:
    """Every static file of the package, by name."""

    def __init__(self) -> None:
        folder = resources.files("penstroke.serve") / "static"
        self._files = {
            entry.name: (entry.read_bytes(), _media_type(entry.name))
            for entry in (folder.iterdir() if folder.is_dir() else ())
            if entry.is_file()
        }
        style = resources.files("penstroke.serve") / _DOCS
        self._files[_DOCS] = style.read_bytes(), _media_type(_DOCS)

    def answer(self, name: str) -> Response | None:
        """Return the file called `name`; None where there is no such."""
        if name not in self._files:
            return None
        content, media_type = self._files[name]
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})


def docs_page(schema: dict[str, Any]) -> str:
    """Return the OpenAPI document as a page to read, without a line of script."""
    info = schema["info"]
    operations = [
        _operation(method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title>"
        f'<link rel="stylesheet" href="/static/{_DOCS}"><main><h1>{escape(info["title"])}</h1>'
        f'<p>{escape(info["description"])}</p><p><a href="/openapi.json">/openapi.json</a></p>'
        f"{''.join(operations)}</main></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    parameters = "".join(_parameter(p) for p in operation.get("parameters", []))
    bodies = ", ".join(operation.get("requestBody", {}).get("content", {}))
    answers = "".join(
        f"<tr><td>{escape(status)}<td>{escape(answer.get('description', ''))}"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<section><h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(text)}</p>"
        + (f"<h3>Parameters</h3><table>{parameters}</table>" if parameters else "")
        + (f"<h3>Body</h3><p><code>{escape(bodies)}</code></p>" if bodies else "")
        + f"<h3>Answers</h3><table>{answers}</table></section>"
    )


def _parameter(parameter: dict[str, Any]) -> str:
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code>"
        f"<td>{escape(parameter.get('description', ''))}"
    )


def _media_type(name: str) -> str:
    found = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{found}; charset=utf-8" if found in _CHARSET else found
