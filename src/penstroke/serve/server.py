"""The process that serves: a socket, uvicorn, and what signals do to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

from penstroke.serve.app import Service
from penstroke.serve.protocol import sweep
from penstroke.serve.served_models import Models
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.sockets import BACKLOG, allow_files, bind, take_rest

log = logging.getLogger("penstroke.serve")
_DRAIN_SECONDS = 30
_FILES_BESIDE = 100


@dataclass(frozen=True)
class Listening:
    """What somebody must know who wants to ask."""

    url: str
    token: str | None

    @property
    def page(self) -> str:
        """The address to open in a browser; the token in it is not sent, it stays in the page."""
        return f"{self.url}/#token={self.token}" if self.token else f"{self.url}/"


def serve(
    models: Sequence[str], settings: ServiceSettings, tell: Callable[[Listening, Service], None]
) -> None:
    """Serve `models` until SIGTERM or SIGINT; what was accepted by then is answered.

    Args:
        models: each a model.onnx, a run's name or its path; the first is the default.
        settings: where, for whom, and how much. Beyond this machine a token is made up where none
            is given.
        tell: called once, when it listens.

    Raises:
        ConfigError: the address cannot be bound, or two models have one name.
        ModelFileError, RunError: a model cannot be loaded.
        MissingToolError: the processes that read cannot be started.
    """
    if not settings.is_local and settings.token is None:
        settings = settings.model_copy(update={"token": secrets.token_urlsafe(24)})
    service = Service(Models(models), settings)
    allow_files(settings.max_connections + _FILES_BESIDE)
    with bind(settings.host, settings.port) as listener:
        server = _Server(service, listener, tell)
        try:
            server.run(sockets=[listener.dup()])
        except SystemExit as end:  # how uvicorn says that the application did not start
            raise service.failure or end from None


class _Server(uvicorn.Server):
    """uvicorn's server, with signals and an end of our own.

    Told to stop, it says at once that it is not ready, goes on accepting for a grace, so that who
    sends can go elsewhere, then takes what the kernel has let in, stops listening, lingers for what
    is on its way in open connections, and answers everything before it ends.
    """

    def __init__(
        self,
        service: Service,
        listener: socket.socket,
        tell: Callable[[Listening, Service], None],
    ) -> None:
        settings = service.settings
        super().__init__(uvicorn.Config(
            service.asgi, http=service.protocol(), ws="none", lifespan="on", access_log=False,
            log_config=None, proxy_headers=False, server_header=False, backlog=BACKLOG,
            timeout_keep_alive=settings.idle_seconds, timeout_graceful_shutdown=_DRAIN_SECONDS,
        ))  # fmt: skip
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what fails here is raised
        self._service = service
        self._listener = listener
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals be handled by the loop, and not raised again in the end: it ends with 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start everything, and tell where it listens."""
        await super().startup(sockets)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # not each bad request
        self._begin(sweep(self.server_state.connections))
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self._tell(Listening(f"http://{shown}:{port}", self._service.settings.token), self._service)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take what was let in, stop listening, linger, answer everything."""
        for server in self.servers:
            server.close()
        for handle in sockets or []:
            handle.close()
        for late in take_rest(self._listener):  # ours is the last handle: until here it listened
            with contextlib.suppress(OSError):  # who came last may be gone already
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, late)
        await asyncio.sleep(self._service.settings.linger_seconds)
        await super().shutdown(sockets)
        for task in self._tasks:
            task.cancel()

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _stop(self) -> None:
        if self._service.is_draining:  # asked twice: at once
            self.should_exit = self.force_exit = True
            return
        log.info("told to stop: not ready any more, answering what was asked")
        self._service.drain()
        grace = self._service.settings.grace_seconds
        asyncio.get_running_loop().call_later(grace, setattr, self, "should_exit", True)

    def _reload(self) -> None:
        self._begin(self._service.models.refresh(self._service.readers.learn, force=True))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
