"""`penstroke`: loads the commands as they are called, and turns errors into exit codes."""

import errno
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from penstroke import __version__
from penstroke.cli.console import note
from penstroke.cli.options import CONTEXT, command_group, option
from penstroke.errors import MissingExtraError, PenstrokeError, StorageError, near_match
from penstroke.files import reason

_COMMANDS = (
    "data", "check", "train", "tune", "evaluate", "compare", "report", "predict", "read", "serve",
    "form", "corrections", "retrain", "export", "models", "runs", "reproduce", "doctor",
)  # fmt: skip


class _LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called or listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            name = "self_test" if cmd_name == "doctor" else cmd_name
            module = importlib.import_module(f"penstroke.cli.{name}")
            group = getattr(module, "app", None)
            if group is None:
                group = typer.Typer(add_completion=False, rich_markup_mode=None)
                group.command(cmd_name, context_settings=CONTEXT)(module.command)
            command: Any = typer.main.get_command(group)
            for one in (command, *getattr(command, "commands", {}).values()):
                one.no_args_is_help |= any(parameter.required for parameter in one.params)
            self.commands[cmd_name] = command
        if cmd_name not in _COMMANDS and not cmd_name.startswith("-"):
            is_image = Path(cmd_name).is_file()
            hint = f": `penstroke predict {cmd_name}` reads the file" if is_image else ""
            ctx.fail(f"No such command '{cmd_name}'{hint or near_match(cmd_name, _COMMANDS)}")
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            note("interrupted")
            raise typer.Exit(130) from None


app = command_group(
    "penstroke", "Train, tune, evaluate and serve small neural networks that read handwriting.",
    cls=_LazyGroup, pretty_exceptions_enable=False,
    epilog="First time here? `penstroke predict IMAGE` reads a digit, `penstroke train` trains.",
)  # fmt: skip
_EXTRAS = dict.fromkeys(("cv2", "pypdfium2", "reportlab", "zxingcpp"), "forms")
"""By an optional package: the extra that brings it; all others are for training."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"penstroke {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = option(
        "Print the version.", False, "--version", callback=_print_version, is_eager=True),
    debug: bool = option("Show tracebacks; may follow any command.", False, "--debug"),
) -> None:  # fmt: skip
    """Train, tune, evaluate and serve small neural networks that read handwriting."""


_OF_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EPIPE, errno.EFBIG)


def _explained(error: OSError) -> PenstrokeError:
    """Return `error` in words; without the name of a file it is mostly of the output."""
    if error.filename or error.errno in _OF_FILES:
        where = f"{error.filename}: " if error.filename else ""
        return StorageError(f"cannot read or write: {where}{reason(error)}")
    return PenstrokeError(f"the operating system refused: {reason(error)}")


def _is_memory_short(error: Exception) -> bool:
    """Return whether memory ran out; torch and ONNX Runtime say so in words alone."""
    words = ("not enough memory", "out of memory", "can't allocate memory", "bad_alloc",
             "bad allocation", "Failed to allocate memory")  # fmt: skip
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def _give_up_output() -> None:
    """Drop what cannot be written to stdout: Python would fail again with it at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until the end


def main() -> None:
    """Run the command line: exit code 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see `penstroke.__main__`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(arguments, prog_name="penstroke")
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError):
            _give_up_output()
            error = _explained(error)
        if _is_memory_short(error):
            error = PenstrokeError("out of memory: close other programs, or use less at once "
                                   "(fewer --workers, a smaller network or data set)")  # fmt: skip
        if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("penstroke"):
            error = MissingExtraError.for_extra(_EXTRAS.get(error.name or "", "train"), error.name)
        if isinstance(error, PenstrokeError):
            note(f"error: {error}")
            sys.exit(error.exit_code)
        note(f"error: {type(error).__name__}: {error}")
        note("This is a bug in Penstroke; run the same command with --debug to see where.")
        sys.exit(1)
