"""The process that serves: a socket, uvicorn, and what signals do to it."""

import asyncio
import contextlib
import functools
import logging
import resource
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from penstroke.errors import ConfigError
from penstroke.files import reason
from penstroke.serve.app import create_app
from penstroke.serve.prometheus import access
from penstroke.serve.protocol import BoundedProtocol, close_expired
from penstroke.serve.served_models import Models
from penstroke.serve.service import Service
from penstroke.serve.service_settings import ServiceSettings

log = logging.getLogger("penstroke.serve")
_BACKLOG = 2048


@dataclass(frozen=True)
class Listening:
    """Where the service can be reached, and the token that callers need."""

    url: str
    token: str | None

    @property
    def page(self) -> str:
        """The address to open in a browser, which does not send the token in it."""
        return f"{self.url}/#token={self.token}" if self.token else f"{self.url}/"


def serve(
    models: Sequence[str], settings: ServiceSettings, on_ready: Callable[[Listening, Service], None]
) -> None:
    """Serve `models` until SIGTERM or SIGINT, then answer the requests that were accepted.

    Beyond this machine a token is generated if there is none. `on_ready` is called once it listens.

    Raises:
        ConfigError: the address cannot be bound; or a model is refused (see `Models`).
        MissingToolError: the worker processes cannot be started.
    """
    settings = with_token(settings)
    if settings.access_log:
        lines = logging.StreamHandler()
        lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        access.addHandler(lines)
        access.setLevel(logging.INFO)
    thresholds = settings.confidence_threshold, settings.precision
    service = Service(Models(models, *thresholds), settings)
    run(service, create_app(service), lambda listening: on_ready(listening, service))


def with_token(settings: ServiceSettings) -> ServiceSettings:
    """Return `settings`, with a generated token if there is none beyond this machine."""
    if settings.is_local or settings.token is not None:
        return settings
    return settings.replace({"token": secrets.token_urlsafe(24)})


class Stoppable(Protocol):
    """What a server needs of a service; `failure` is what kept it from starting."""

    settings: ServiceSettings
    failure: Exception | None
    is_draining: bool

    def drain(self) -> None:
        """Stop inviting requests."""

    async def reload(self) -> None:
        """Do what SIGHUP asks for."""


def run(service: Stoppable, app: ASGIApp, on_ready: Callable[[Listening], object]) -> None:
    """Serve `app` until SIGTERM or SIGINT. ConfigError: the address cannot be bound."""
    settings = service.settings
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(max(soft, settings.max_connections + 100), hard)  # a hundred besides connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    with bind(settings.host, settings.port) as listener:
        try:
            _Server(service, app, listener, on_ready).run(sockets=[listener.dup()])
        except SystemExit as end:  # how uvicorn says that the application did not start
            raise service.failure or end from None


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; ConfigError where the address is taken or not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {reason(error)}; choose another --port"
        ) from error
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server with a graceful stop.

    On a signal it reports that it is not ready, accepts connections for another `shutdown_grace`,
    so that callers can go elsewhere, then stops listening, waits `shutdown_linger` for requests on
    open connections, and ends when everything is answered. Its exit code is 0.
    """

    def __init__(
        self, service: Stoppable, app: ASGIApp, listener: socket.socket,
        on_ready: Callable[[Listening], object],
    ) -> None:  # fmt: skip
        settings = service.settings
        protocol = type("Protocol", (BoundedProtocol,), {"settings": settings})
        super().__init__(uvicorn.Config(
            app, http=protocol, ws="none", lifespan="on",
            access_log=False, log_config=None, proxy_headers=False, server_header=False,
            backlog=_BACKLOG, timeout_keep_alive=settings.idle_seconds,
            timeout_graceful_shutdown=30,
        ))  # fmt: skip
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # failures are raised
        self._service = service
        self._listener = listener
        self._on_ready = on_ready
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals in the loop, and do not raise them again at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._run(self._service.reload()))
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start everything, then report where it listens."""
        await super().startup(sockets)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # not each bad request
        self._run(close_expired(self.server_state.connections))
        host, port = self._listener.getsockname()[:2]
        host = reachable(host)
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._on_ready(Listening(url, self._service.settings.token))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wait for requests on open connections, answer everything."""
        for server in self.servers:
            server.close()
        protocol: Callable[[], asyncio.Protocol] = functools.partial(
            self.config.http_protocol_class, config=self.config,  # type: ignore[call-arg]
            server_state=self.server_state, app_state=self.lifespan.state,
        )  # fmt: skip
        for connection in take_waiting(self._listener):
            with contextlib.suppress(OSError):  # the caller may be gone already
                await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        await asyncio.sleep(self._service.settings.shutdown_linger)
        await super().shutdown(sockets)
        for task in self._tasks:
            task.cancel()

    def _stop(self) -> None:
        if self._service.is_draining:  # the second signal: stop at once
            self.should_exit = self.force_exit = True
            return
        log.info("stopping: not ready any more, answering what was accepted")
        self._service.drain()
        grace = self._service.settings.shutdown_grace
        asyncio.get_running_loop().call_later(grace, setattr, self, "should_exit", True)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def reachable(host: str) -> str:
    """Return an address that a phone can open: this machine's, where `host` stands for all."""
    if ip_address(host).is_unspecified:
        with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # chooses a network; nothing is sent
            return str(probe.getsockname()[0])
    return host


def take_waiting(listener: socket.socket) -> list[socket.socket]:
    """Return the connections that wait to be accepted, and close `listener`.

    Closing alone would reset connections that the kernel has established and nobody has accepted.
    """
    waiting: list[socket.socket] = []
    with listener, contextlib.suppress(BlockingIOError):
        while True:
            waiting.append(listener.accept()[0])
            waiting[-1].setblocking(False)
    return waiting
