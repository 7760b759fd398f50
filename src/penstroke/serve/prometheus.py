"""Counters of the service for Prometheus."""

import logging
import re
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstroke.serve.served_models import Models

access = logging.getLogger("penstroke.access")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The counters of one service, in a registry of their own."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "penstroke_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "penstroke_request_seconds", "From a request's headers to the end of its answer.",
            ["route"], buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.batches = Histogram(
            "penstroke_batch_images", "Images in one run of the network.",
            buckets=(1, 2, 4, 8, 16, 32, 64), registry=self._registry,
        )  # fmt: skip
        self._served = Info(
            "penstroke_model", "A model that is served.", ["name", "sha256", "classes"],
            registry=self._registry,
        )  # fmt: skip

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add the gauge `name`, whose value `read` returns."""
        Gauge(f"penstroke_{name}", meaning, registry=self._registry).set_function(read)

    def observing(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with every request counted and timed, by its route."""

        async def observed(scope: Scope, receive: Receive, send: Send) -> None:
            status = "aborted"

            async def watched(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            started = time.perf_counter()
            try:
                await app(scope, receive, watched)
            finally:
                # By route, not by path: paths that callers invent must not become new series.
                route = getattr(scope.get("route"), "path", "none")
                self.requests.labels(route, status).inc()
                seconds = time.perf_counter() - started
                self.seconds.labels(route).observe(seconds)
                if access.isEnabledFor(logging.INFO):
                    self._log(scope, status, seconds)

        return observed

    def _log(self, scope: Scope, status: str, seconds: float) -> None:
        """Log a request without its query, which may name people's things, headers and keys."""
        caller = (scope.get("client") or ("-",))[0]
        path = scope["raw_path"].decode("ascii", "backslashreplace")  # a line stays one line
        path = re.sub("^/reports/[^/]*", "/reports/…", path)
        access.info("%s %s %s %s %.1f ms", caller, scope["method"], path, status, 1000 * seconds)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        self._served.clear()  # they may have been exchanged
        for model in self._models:
            self._served.labels(model.name, model.sha256, len(model.classes))
        return generate_latest(self._registry)
