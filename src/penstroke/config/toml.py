"""Settings as people write them: TOML files, and `dotted.name=value` on the command line."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from penstroke.errors import ConfigError
from penstroke.files import explained


def read_toml(path: Path) -> dict[str, Any]:
    """Return the plain values in the TOML file at `path`; ConfigError names the file and line."""
    try:
        with explained(f"read {path}", ConfigError):
            return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, or of a huge number
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the values of `dotted.name=value` texts: TOML (`3e-4`, `[1, 2]`) or a plain word."""
    changes = {}
    for assignment in assignments:
        name, equals, text = map(str.strip, assignment.partition("="))
        if not equals or not name:
            raise ConfigError(f"--set {assignment}: write NAME=VALUE, as in train.epochs=3")
        try:
            changes[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            changes[name] = text
    return changes


def flatten(values: Any, name: str = "") -> dict[str, Any]:
    """Return nested tables, and lists of tables, as one table by dotted names."""
    if isinstance(values, list) and any(isinstance(value, dict) for value in values):
        values = {str(index): value for index, value in enumerate(values)}
    if not isinstance(values, dict):
        return {name: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{name}.{key}" if name else key)
    return flat
