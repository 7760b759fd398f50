"""The service as an ASGI application: its parts, put together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from penstroke.errors import PenstrokeError
from penstroke.machine import package_version
from penstroke.serve import api, site
from penstroke.serve.corrections import Collection
from penstroke.serve.guard import Guard, StrictHeaders
from penstroke.serve.limits import Limits, refusal
from penstroke.serve.pages import Pages
from penstroke.serve.prometheus import Metrics, Observed
from penstroke.serve.protocol import Connection, limited
from penstroke.serve.responses import ApiError, answer_error
from penstroke.serve.runs_feed import RunsFeed
from penstroke.serve.served_models import Models
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.shortcut import Shortcut
from penstroke.serve.worker_pool import Readers

_TITLE = "Penstroke"
_WHAT = (
    "Reads handwritten characters. Every answer is JSON; what is no success says so as "
    '{"error": {"code", "message"}}. Answers 429 and 503 come with Retry-After, in seconds.'
)


class Service:
    """One service: what its routes need, and the application `asgi` around them.

    Args:
        models: what is served.
        settings: who may ask, and how much is taken on.

    Attributes:
        is_ready: whether it has started, and has not been told to stop.
        is_draining: whether it has been told to stop.
        failure: what kept it from starting.
    """

    def __init__(self, models: Models, settings: ServiceSettings) -> None:
        self.models = models
        self.settings = settings
        self.is_started = self.is_draining = False
        self.failure: Exception | None = None
        self.metrics = Metrics(models)
        self.readers = Readers(settings, self.metrics.batches)
        self.runs = RunsFeed()
        self.collection = Collection()
        self.pages = Pages()
        self.routes = _application(self)
        self.asgi = self._wrapped(self.routes)

    @property
    def is_ready(self) -> bool:
        """Whether requests are welcome."""
        return self.is_started and not self.is_draining

    def protocol(self) -> type[Connection]:
        """Return what its connections speak: HTTP, with bounds."""
        count = self.metrics.requests.labels("/v1/recognize", "429").inc
        return limited(self.settings, self.readers.is_full, refusal(count))

    def drain(self) -> None:
        """Say that no more requests are welcome; those that come are answered all the same."""
        self.is_draining = True
        self.runs.stop()

    @contextlib.asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Run what works beside the requests."""
        try:
            await self.readers.start(list(self.models))
        except Exception as error:
            self.failure = error
            raise
        watching = asyncio.create_task(self.models.watch(self.readers.learn))
        self.is_started = True
        try:
            yield
        finally:
            self.is_started = False
            watching.cancel()
            self.runs.stop()
            await self.readers.stop()

    def _wrapped(self, app: FastAPI) -> ASGIApp:
        guarded = Guard(Shortcut(app, api.BUSIEST), self.settings)
        limits = Limits(guarded, self.settings, lambda: self.is_draining)
        gauge, readers = self.metrics.gauge, self.readers
        gauge("queue_characters", "Waiting, or being read.", lambda: readers.waiting_short)
        gauge("queue_pages", "Pages and explanations.", lambda: readers.waiting_long)
        gauge("requests_under_way", "Not yet answered.", lambda: limits.under_way)
        return StrictHeaders(Observed(limits, self.metrics))


def _application(service: Service) -> FastAPI:
    app = FastAPI(
        title=_TITLE, description=_WHAT, version=package_version("penstroke"), docs_url=None,
        redoc_url=None, lifespan=service.running, redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    app.include_router(api.router)
    app.include_router(site.router)
    known = (ApiError, PenstrokeError, RequestValidationError, HTTPException, ClientDisconnect)
    for kind in (*known, Exception):
        app.add_exception_handler(kind, answer_error)
    return app
