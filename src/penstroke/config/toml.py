"""Settings as people write them: TOML files, and `dotted.name=value` on the command line."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from penstroke.errors import ConfigError
from penstroke.files import reason


def read_toml(path: Path) -> dict[str, Any]:
    """Return the plain values in the TOML file at `path`.

    Raises:
        ConfigError: the file cannot be read or is not TOML; names the file and the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {reason(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def override(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return a copy of `values` with `dotted.name=value` assignments applied in turn.

    A value is read as TOML (`3e-4`, `true`, `[1, 2]`), and as a plain word where it is none. List
    items go by their index: `model.convolutions.0.filters=64`.

    Raises:
        ConfigError: an assignment has no `=`, or its name leads through a plain value.
    """
    changed = copy.deepcopy(dict(values))
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {assignment}: write it as NAME=VALUE, train.epochs=3 say")
        assign(changed, name.strip(), _value(text.strip()))
    return changed


def assignment(name: str, value: Any) -> str:
    """Return `name=value` as `override` reads it back: a word in quotes, so that 2024 stays one."""
    return f"{name}={json.dumps(value, ensure_ascii=False) if isinstance(value, str) else value}"


def assign(values: dict[str, Any], name: str, value: Any) -> None:
    """Put `value` at the dotted `name` into `values`; tables on the way are made."""
    *path, last = name.split(".")
    place: Any = values
    for part in path:
        is_table = isinstance(place, dict)
        place = place.setdefault(part, {}) if is_table else _item(place, part, name)
    if isinstance(place, dict):
        place[last] = value
    else:
        _item(place, last, name)
        place[int(last)] = value


def value_at(values: Mapping[str, Any], name: str) -> Any:
    """Return what stands at the dotted `name` in `values`; None where nothing does."""
    place: Any = values
    try:
        for part in name.split("."):
            place = place[int(part)] if isinstance(place, list) else place[part]
    except (LookupError, ValueError, TypeError):
        return None
    return place


def flat(values: Any, name: str = "") -> dict[str, Any]:
    """Return nested tables, and lists of tables, as one by dotted names."""
    if isinstance(values, list) and any(isinstance(value, dict) for value in values):
        values = {str(index): value for index, value in enumerate(values)}
    if not isinstance(values, dict):
        return {name: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{name}.{key}" if name else key)
    return found


def _item(place: Any, part: str, name: str) -> Any:
    if not isinstance(place, list):
        raise ConfigError(f"{name}: there is nothing named {part!r} inside a plain value")
    if not part.isdecimal() or int(part) >= len(place):
        raise ConfigError(f"{name}: {part!r} is no index of a list of {len(place)}")
    return place[int(part)]


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
