"""The ASGI application: routes, middleware and error handlers around one service."""

import json
import tomllib
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from penstroke.errors import PenstrokeError
from penstroke.machine import package_version
from penstroke.serve import pages, routes
from penstroke.serve.limits import Limits
from penstroke.serve.responses import answer_error
from penstroke.serve.security import Security
from penstroke.serve.service import Service

_DESCRIPTION = (
    "Recognises handwritten characters. Answers are JSON; errors have the form "
    '`{"error": {"code", "message"}}`. Answers 429 and 503 carry `Retry-After`, in seconds. Where '
    "the service has a token, each request to `/v1/` and `/metrics` sends it: "
    "`Authorization: Bearer TOKEN`."
)


_EXAMPLES = tomllib.loads((resources.files("penstroke.serve") / "examples.toml").read_text())
_SEND_TOKEN = ' -H "Authorization: Bearer $TOKEN"'

ERROR_HANDLERS: Any = dict.fromkeys(
    (PenstrokeError, RequestValidationError, HTTPException, ClientDisconnect, Exception),
    answer_error,
)


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document: with examples, and a token where the service has one."""
        if self.openapi_schema:
            return self.openapi_schema
        document, needs_token = super().openapi(), self.state.service.settings.token is not None
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                _add_example(operation, _EXAMPLES[f"{method.upper()} {path}"], needs_token)
                if not needs_token:
                    operation.pop("security", None)
        return document


def _add_example(operation: dict[str, Any], example: dict[str, str], needs_token: bool) -> None:
    """Add a request for the shell, and the answer to it, as tools for OpenAPI show them."""
    request = example["request"].strip()
    source = request if needs_token else request.replace(_SEND_TOKEN, "")
    operation["x-codeSamples"] = [{"lang": "Shell", "source": source}]
    for status, answer in operation["responses"].items():
        if status.startswith("2") and "answer" in example:
            for kind, content in answer["content"].items():
                text = example["answer"].strip()
                content["example"] = json.loads(text) if kind == "application/json" else text


def create_app(service: Service) -> ASGIApp:
    """Return the application that serves `service`, and runs it as long as it is up."""
    app = _Application(
        title="Penstroke", description=_DESCRIPTION, version=package_version("penstroke"),
        docs_url=None, redoc_url=None, redirect_slashes=False,
        lifespan=lambda _: service.running(), exception_handlers=ERROR_HANDLERS,
    )  # fmt: skip
    app.state.service = service
    app.include_router(routes.router)
    app.include_router(routes.states)
    app.include_router(pages.router)
    limits = Limits(app, service.settings, lambda: service.is_draining)
    gauge, pool = service.metrics.gauge, service.pool
    gauge("queue_characters", "Characters accepted and not answered.", lambda: pool.short.waiting)
    gauge("queue_pages", "Pages and occlusion maps, likewise.", lambda: pool.long.waiting)
    gauge("requests_in_progress", "Requests not yet answered.", lambda: limits.in_progress)
    # Around the whole application: its answers to unexpected errors are strict and counted, too.
    return for_http(service.metrics.observing(Security(limits, service.settings)), app)


def for_http(guarded: ASGIApp, app: ASGIApp) -> ASGIApp:
    """Return `guarded` for requests, and `app` for the rest: starting and stopping."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await (guarded if scope["type"] == "http" else app)(scope, receive, send)

    return application
