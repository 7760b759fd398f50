"""`penstroke`: puts the commands together, and turns errors into a line and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from penstroke.cli import (
    check,
    compare,
    data,
    evaluate,
    export,
    predict,
    report,
    reproduce,
    runs,
    serve,
    train,
    tune,
)
from penstroke.cli import (
    self_test as doctor,
)

app = typer.Typer(
    name="penstroke",
    help="Train, judge and use small neural networks that read handwritten characters.",
    epilog="First time here? `penstroke train` learns from real digits, in seconds.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app)
app.command("check")(check.command)
app.command("train")(train.command)
app.command("tune")(tune.command)
app.command("evaluate")(evaluate.command)
app.command("compare")(compare.command)
app.command("report")(report.command)
app.command("predict")(predict.command)
app.command("serve")(serve.command)
app.command("export")(export.command)
app.add_typer(runs.app)
app.command("reproduce")(reproduce.command)
app.command("doctor")(doctor.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from penstroke import __version__

        typer.echo(f"penstroke {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; works after any command too.")
    ] = False,
) -> None:
    """Train, judge and use small neural networks that read handwritten characters."""


def main() -> None:
    """Run the command line: exit code 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(arguments, prog_name="penstroke")
    except Exception as error:
        if debug:
            raise
        sys.exit(_explain(error))


def _explain(error: Exception) -> int:
    from penstroke.errors import MissingExtraError, PenstrokeError

    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("penstroke"):
        error = MissingExtraError.for_extra("train", error.name)
    if isinstance(error, PenstrokeError):
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    typer.echo(
        f"error: {type(error).__name__}: {error}\n"
        "This is a fault of Penstroke's own: the same command with --debug shows where.",
        err=True,
    )
    return 1
