"""`penstroke serve`: a model over HTTP, and the page to draw on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstroke.cli.console import Json, print_json, say

if TYPE_CHECKING:
    from penstroke.serve.server import Listening
    from penstroke.serve.service import Service


def command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL…", help="Models: model.onnx files or runs; the first is the default."
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine a token is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 is any free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="PENSTROKE_TOKEN", help="Token required of callers; generated where needed."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Further host name of the service.")
    ] = None,
    queue_size: Annotated[int, typer.Option(min=1, help="Waiting characters, at most.")] = 256,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; one per core, at most 4.")
    ] = None,
    shutdown_grace: Annotated[
        float, typer.Option(min=0, help="Seconds from a signal until connections are refused.")
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Serve models over HTTP, with a page to draw on.

    The page is at http://127.0.0.1:8000. SIGTERM and Ctrl-C stop the service after all accepted
    requests are answered. SIGHUP or a change of their files reloads the models.
    """
    from penstroke.errors import MissingExtraError

    try:
        from penstroke.serve.server import serve
        from penstroke.serve.service_settings import ServiceSettings
    except ModuleNotFoundError as error:
        raise MissingExtraError.for_extra("serve", error.name) from None

    settings = ServiceSettings.parse({
        "host": host, "port": port, "allow_hosts": [name.lower() for name in allow_host or ()],
        "queue_size": queue_size, "shutdown_grace": shutdown_grace,
        **({"token": token} if token else {}), **({"workers": workers} if workers else {}),
    })  # fmt: skip
    serve(models, settings, _tell_json if as_json else _tell)


def _tell(listening: Listening, service: Service) -> None:
    names = ", ".join(model.name for model in service.models)
    say(f"serving {names}")
    say(f"page    {listening.page}")
    say(f"api     {listening.url}/docs")
    if listening.token and not service.settings.is_local:
        say("\nanybody with the token can use it; the connection is not encrypted")


def _tell_json(listening: Listening, service: Service) -> None:
    print_json({
        "url": listening.url, "token": listening.token, "page": listening.page,
        "models": [model.name for model in service.models],
    })  # fmt: skip
