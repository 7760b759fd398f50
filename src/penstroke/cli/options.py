"""The options of the commands: those that several share, and how they become settings."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import typer

from penstroke.cli.console import set_json
from penstroke.errors import ConfigError
from penstroke.files import text_lines

Options = TypeVar("Options")
CONTEXT = {"help_option_names": ["-h", "--help"]}


def option(text: str, default: Any = None, *names: str, **settings: Any) -> Any:
    """Return a Typer option, its help first."""
    return typer.Option(default, *names, help=text, **settings)


def argument(text: str, default: Any = ..., **settings: Any) -> Any:
    """Return a Typer argument, its help first; required unless it has a default."""
    return typer.Argument(default, help=text, **settings)


RUN = argument("Name or path of a run (see `penstroke runs list`).", metavar="RUN")
DATASET_NAME = argument("Data set (see `penstroke data list`).", metavar="DATASET")
DATASET = option("Data set (see `penstroke data list`).", metavar="NAME")
EXCLUDE = option("List of training images to leave out, as `data audit` writes it.", metavar="FILE")
TEXTS = option(
    "Text file of what synthetic lines say, one a line, in place of numbers or words.",
    metavar="FILE",
)
SET = option(
    "Any setting by its dotted name; may be repeated.", None, "--set", metavar="NAME=VALUE"
)
OVERWRITE = option("Replace what already exists.", False, "--overwrite")
REPORT = option("HTML report with plots.", True)
JSON = option("One JSON object on stdout, messages on stderr.", False, "--json", callback=set_json)


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Decorate a command that takes its options as one frozen dataclass, built once by Typer."""

    def decorate(function: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            function(options(**values))

        signature = inspect.signature(options, eval_str=True)
        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__doc__ = function.__doc__
        return command

    return decorate


def given_options(options: Any) -> dict[str, str]:
    """Return the options that differ from their defaults, as they are typed, by their fields."""
    given = {}
    for name, value in vars(options).items():
        info = getattr(type(options), name)  # what `option` and `argument` return
        if value != info.default:
            typed = info.param_decls or ["--" + name.replace("_", "-")]
            given[name] = typed[0].partition("/")[0]
    return given


def changes_from(assignments: Iterable[str] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted names: the `options` that were given, then those of `--set`."""
    from penstroke.config.toml import parse_assignments

    given = {name: value for name, value in options.items() if value is not None}
    if "data.exclude" in given:
        from penstroke.quality.exclusion import read_list

        given["data.exclude"] = read_list(given["data.exclude"]) or None
    if "synthesis.texts" in given:
        path = given["synthesis.texts"]
        if not (texts := text_lines(path)):
            raise ConfigError(f"{path}: holds no text to write lines of")
        given["synthesis.texts"] = texts
    return given | parse_assignments(assignments or ())


def stem_of(recipe: str) -> str:
    """Return the beginning of the names of runs of `recipe`, a name or a path."""
    return Path(recipe).absolute().name.removesuffix(".toml").lstrip(".") or "run"


def seconds_of(text: str | None) -> float | None:
    """Return the seconds of a time given as 90s, 20m or 2h; None stays None."""
    if text is None:
        return None
    try:
        seconds = float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1:]]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise typer.BadParameter(f"{text!r} is not a time: write it as 90s, 20m or 2h")
    return seconds


def command_group(name: str, text: str, **settings: Any) -> typer.Typer:
    """Return a command with subcommands."""
    return typer.Typer(
        name=name, help=text, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
        context_settings=CONTEXT, **settings,
    )  # fmt: skip
