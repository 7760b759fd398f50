"""docs/reference/ matches the code, and the code documents everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer

import reference
from penstroke.cli.main import app
from penstroke.config.settings import Settings
from penstroke.runs.record import Summary


@pytest.mark.parametrize(
    "name", ["cli.md", "settings.md", "recipes.md", "python.md", "models.md"]
)
def test_the_page_is_current(name: str) -> None:
    page = (reference.FOLDER / name).read_text()
    assert page == reference.pages()[name], "run `make reference`"


def test_no_other_page_stands_there() -> None:
    assert {path.name for path in reference.FOLDER.iterdir()} == set(reference.pages())


def all_settings(base: type[Settings] = Settings) -> Iterator[type[Settings]]:
    for kind in base.__subclasses__():
        yield kind
        yield from all_settings(kind)


def test_every_setting_is_described() -> None:
    nameless = [
        f"{kind.__name__}.{name}"
        for kind in all_settings()
        if not issubclass(kind, Summary)  # figures, not settings
        for name, field in kind.model_fields.items()
        if not field.description and kind.__module__.startswith("penstroke.")
    ]
    assert nameless == []


def test_every_field_of_a_run_is_on_the_page() -> None:
    shown = {table for _, table in reference.TABLES}
    of_config = {
        kind
        for kind in all_settings()
        if kind.__module__ in ("penstroke.config.settings", "penstroke.config.space")
    }
    wholes = {"RunConfig", "Resolved"}
    assert {kind.__name__ for kind in of_config - shown} <= wholes


def test_every_option_says_what_it_is_for() -> None:
    command = typer.main.get_command(app)
    assert [name for name, text in reference.helps() if not text.strip()] == []
    silent = [
        f"{name} {option}" for name, option, text in options(command, "penstroke") if not text
    ]
    assert silent == []


def options(command: object, name: str) -> Iterator[tuple[str, str, str | None]]:
    for parameter in getattr(command, "params", ()):
        yield name, parameter.name, getattr(parameter, "help", "")
    for word, inside in getattr(command, "commands", {}).items():
        yield from options(inside, f"{name} {word}")
