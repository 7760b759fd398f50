"""`penstroke serve`: a model over HTTP, and the page to draw on."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import typer

from penstroke.cli.console import AS_JSON, say
from penstroke.cli.image_arguments import CONFIDENCE_THRESHOLD, PRECISION, refuse_both
from penstroke.cli.options import JSON, argument, option

if TYPE_CHECKING:
    from penstroke.serve.server import Listening
    from penstroke.serve.service import Service


def command(
    models: list[str] | None = argument(
        "Models: bundled ones, model.onnx files or runs; the first is the default. Without any, "
        "all bundled ones, digits first.", None, metavar="[MODEL…]"),
    host: str = option("Address to listen on; beyond this machine a token is required.",
                       "127.0.0.1"),
    port: int = option("Port; 0 is any free one.", 8000, min=0, max=65535),
    token: str | None = option(
        "Token required of callers; generated where needed.", envvar="PENSTROKE_TOKEN"),
    allow_host: list[str] | None = option("Further host name of the service.", metavar="NAME"),
    allow_origin: list[str] | None = option(
        "Web page that may use the service, as https://example.org.", metavar="ORIGIN"),
    max_body_mb: float = option(
        "Size of an uploaded image, in megabytes, at most.", 8.0, min=0.001),
    max_megapixels: float = option(
        "Size of an image, at most; over 4 megapixels it is scaled down.", 25.0, min=0.001),
    access_log: bool = option("Log each request to standard error.", False, "--access-log"),
    queue_size: int = option("Waiting characters, at most.", 256, min=1),
    workers: int | None = option("Worker processes; one per core, at most 4.", min=1),
    shutdown_grace: float = option(
        "Seconds from a signal until connections are refused.", 1.0, min=0),
    precision: float | None = PRECISION,
    confidence_threshold: float | None = CONFIDENCE_THRESHOLD,
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Serve models over HTTP, with a page to draw on.

    The page is at http://127.0.0.1:8000. SIGTERM and Ctrl-C stop the service after all accepted
    requests are answered. SIGHUP or a change of their files reloads the models.
    """
    from penstroke.errors import MissingToolError
    from penstroke.inference.bundled import bundled_names

    try:
        from penstroke.serve.server import serve
        from penstroke.serve.service_settings import ServiceSettings
    except ModuleNotFoundError as error:
        if error.name != "resource":  # part of Python, but not on Windows
            raise
        raise MissingToolError(
            "`penstroke serve` does not run on Windows itself: use it in WSL or a container; "
            "predict, read and export run here"
        ) from None

    refuse_both(confidence_threshold, precision)
    settings = ServiceSettings.parse({
        "host": host, "port": port, "allow_hosts": [name.lower() for name in allow_host or ()],
        "allow_origins": [origin.lower().rstrip("/") for origin in allow_origin or ()],
        "max_body_bytes": round(1e6 * max_body_mb), "max_pixels": round(1e6 * max_megapixels),
        "access_log": access_log, "queue_size": queue_size, "shutdown_grace": shutdown_grace,
        "precision": precision, "confidence_threshold": confidence_threshold,
        **({"token": token} if token else {}), **({"workers": workers} if workers else {}),
    })  # fmt: skip

    def on_listening(listening: Listening, service: Service) -> None:
        names = [model.name for model in service.models]
        if AS_JSON.get():
            facts = {"url": listening.url, "token": listening.token, "page": listening.page}
            typer.echo(json.dumps({**facts, "models": names}, ensure_ascii=False))
            return
        say(f"serving {', '.join(names)}\npage    {listening.page}\napi     {listening.url}/docs")
        if not service.settings.is_local:
            show_to_others(listening)

    serve(models or bundled_names(), settings, on_listening)


def show_to_others(listening: Listening) -> None:
    """Show the address of the page to a phone, on a terminal, and warn of who can use it."""
    import segno

    if sys.stdout.isatty() and "utf" in sys.stdout.encoding.lower():
        say("")
        segno.make(listening.page, error="l").terminal(compact=True)
    if listening.token:
        say("\nanybody with the token can use it; the connection is not encrypted")
