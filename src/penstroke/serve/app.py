"""The ASGI application: routes, middleware and error handlers around one service."""

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
    '{"error": {"code", "message"}}. Answers 429 and 503 carry Retry-After, in seconds. Where the '
    "service has a token, each request to /v1/ and /metrics sends it: Authorization: Bearer TOKEN."
)


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, which asks for a token where the service has one."""
        document = super().openapi()
        if self.state.service.settings.token is None:
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation.pop("security", None)
        return document


def create_app(service: Service) -> ASGIApp:
    """Return the application that serves `service`, and runs it as long as it is up."""
    known = (PenstrokeError, RequestValidationError, HTTPException, ClientDisconnect, Exception)
    app = _Application(
        title="Penstroke", description=_DESCRIPTION, version=package_version("penstroke"),
        docs_url=None, redoc_url=None, redirect_slashes=False,
        lifespan=lambda _: service.running(), exception_handlers=dict.fromkeys(known, answer_error),
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
    guarded = service.metrics.observing(Security(limits, service.settings))

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await (guarded if scope["type"] == "http" else app)(scope, receive, send)

    return application
