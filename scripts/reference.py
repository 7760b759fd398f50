"""Writes docs/reference/ from `--help`, settings, docstrings and the cards of bundled models.

A test holds the pages to the code; `make reference` writes them anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import griffe
import typer
from pydantic.fields import FieldInfo

import penstroke
from penstroke.cli.main import app
from penstroke.cli.models import span
from penstroke.config import recipes, space
from penstroke.config import settings as config
from penstroke.inference.bundled import bundled_names
from penstroke.preprocessing import ink
from penstroke.runs.run import find_run
from penstroke.serve.service_settings import ServiceSettings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/reference"
WRITTEN = "<!-- Written by `make reference` from the code; do not edit. -->"

# Each table of settings by the dotted name it stands under, with how a reader comes to it.
TABLES: tuple[tuple[str, type[config.Settings]], ...] = (
    ("data", config.DataConfig),
    ("train", config.TrainConfig),
    ("train.augment", config.AugmentConfig),
    ("synthesis", config.SynthesisConfig),
    ('model, architecture = "mlp"', config.MLPConfig),
    ('model, architecture = "cnn"', config.CNNConfig),
    ('model, architecture = "resnet"', config.ResNetConfig),
    ('model, architecture = "crnn"', config.CRNNConfig),
    ("model.convolutions.N", config.Convolution),
    ("model.dense.N", config.Dense),
    ("model.stages.N", config.Stage),
    ("search", space.SearchConfig),
    ('search.space."NAME"', space.Parameter),
    ("published", recipes.Published),
)
BESIDE_A_RUN: tuple[tuple[str, type[config.Settings]], ...] = (
    ("How ink is found", ink.InkSettings),
    ("How the service listens", ServiceSettings),
)
# How the program itself fills a run directory: for readers of one, the rest.
_WRITERS = {
    "at", "create", "locked", "log_test_opening", "write_weights",
}  # fmt: skip
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "at least", "pattern": "like"}


def pages() -> dict[str, str]:
    """Return every page of the reference by its file's name."""
    return {
        "cli.md": cli_page(),
        "settings.md": settings_page(),
        "recipes.md": recipes_page(),
        "python.md": python_page(),
        "models.md": models_page(),
    }


def cli_page() -> str:
    """Return `--help` of every command."""
    parts = [
        "# Command line", WRITTEN,
        "Every command answers `--help` with what stands here. Exit codes and errors: "
        "[errors](../errors.md).",
    ]  # fmt: skip
    for name, text in helps():
        parts += [f"## {name}", f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def helps() -> Iterator[tuple[str, str]]:
    """Yield each command's whole name with its `--help`."""
    yield from _helps(typer.main.get_command(app), "penstroke", None)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    here = command.make_context(
        name.split()[-1],
        [],
        parent,
        resilient_parsing=True,
        terminal_width=96,
        max_content_width=96,
    )
    with here:
        text = "\n".join(line.rstrip() for line in command.get_help(here).splitlines())
        yield name, text.replace(f"Usage: {name.split()[-1]} ", f"Usage: {name} ", 1)
        for word in command.list_commands(here) if hasattr(command, "list_commands") else ():
            yield from _helps(command.get_command(here, word), f"{name} {word}", here)


def settings_page() -> str:
    """Return every field of every settings model."""
    parts = [
        "# Settings", WRITTEN,
        "What a run is made of. In a recipe they are TOML tables; on the command line "
        "`--set NAME=VALUE`; from Python fields of `RunConfig`. Unknown names, wrong types and "
        "settings that contradict each other are refused before anything starts. N counts from 0.",
    ]  # fmt: skip
    for name, table in TABLES:
        prefix = "" if "," in name else f"{name}."
        parts += [f"## {name}", _summary(table), _table_of(table, prefix)]
    parts.append("A recipe may also have these, at its top:")
    own = set(recipes.Recipe.model_fields) - set(config.RunConfig.model_fields)
    plain = {name for name in own if recipes.Recipe.model_fields[name].annotation is str}
    parts.append(_table_of(recipes.Recipe, "", plain))
    for heading, table in BESIDE_A_RUN:
        parts += [f"## {heading}", _summary(table), _table_of(table, "")]
    return "\n\n".join(parts) + "\n"


def _summary(table: type[config.Settings]) -> str:
    return (table.__doc__ or "").split("\n\n")[0]


def _table_of(table: type[config.Settings], prefix: str, only: set[str] | None = None) -> str:
    rows = [
        f"| `{prefix}{name}` | {_cell(_type(field.annotation))} | {_cell(_default(field))} "
        f"| {_cell(_bounds(field))} | {_cell(field.description or '')} |"
        for name, field in table.model_fields.items()
        if only is None or name in only
    ]
    return "\n".join(["| setting | type | default | bounds | |", "|---|---|---|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inside[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in (Union, UnionType):
        return " or ".join(_type(one) for one in inside if one is not NoneType)
    if origin is tuple:
        return f"list of {_type(inside[0])}"
    if origin is dict:
        return f"table of {_type(inside[1])}"
    names = {bool: "true, false", Any: "any value"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if field.default_factory is not None:
        return "as below" if isinstance(field.default_factory, type) else "by the machine"
    if field.default is None:
        return "none"
    if isinstance(field.default, tuple) and field.default:
        return "; ".join(_values(one) for one in field.default)
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    if isinstance(field.default, config.Settings):
        return "none"
    return f"`{field.default}`" if field.default not in ("", (), {}) else "none"


def _values(one: Any) -> str:
    if not isinstance(one, config.Settings):
        return f"`{one}`"
    return ", ".join(f"{k} {v}" for k, v in one.model_dump(exclude_defaults=True).items())


def _bounds(field: FieldInfo) -> str:
    return ", ".join(
        f"{sign} {getattr(one, name)}"
        for one in field.metadata
        for name, sign in _BOUNDS.items()
        if getattr(one, name, None) is not None
    )


def recipes_page() -> str:
    """Return the recipes that are shipped, each with its settings."""
    parts = [
        "# Recipes", WRITTEN,
        "Whole runs as TOML, shipped with the package: `penstroke train NAME`, `penstroke tune "
        "NAME` where there is a `[search]` table. Your own is a file like these. What they reach: "
        "[results](../results.md).",
    ]  # fmt: skip
    for name in recipes.shipped_recipes():
        text = (ROOT / f"src/penstroke/config/recipe_files/{name}.toml").read_text().strip()
        parts += [f"## {name}", f"{recipes.load_recipe(name).title}.", f"```toml\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def python_page() -> str:
    """Return the public names with their docstrings."""
    parts = [
        "# Python", WRITTEN,
        "What `import penstroke` gives, and no more, is kept stable: a change that breaks it "
        "raises the version's first number (while that is 0, the second) and stands in the "
        "[changelog](../changelog.md). Methods that are not listed here are the program's own. "
        "Each name is loaded when it is first asked for, so that recognising needs no torch. "
        "Errors: [errors](../errors.md).",
    ]  # fmt: skip
    package = griffe.load("penstroke", search_paths=[ROOT / "src"], docstring_parser="google")
    for name in penstroke.__all__:
        found = package[f"{penstroke._HOMES[name]}.{name}"]
        target: Any = found.final_target if found.is_alias else found
        parts += [f"## {name}", *_described(target)]
        if target.is_class:
            for member in _public_members(target):
                parts += [f"### {name}.{member.name}", *_described(member)]
    return "\n\n".join(parts) + "\n"


def _public_members(target: Any) -> list[Any]:
    inherited = [one.final_target for one in target.inherited_members.values()]
    return [
        member
        for member in [*target.members.values(), *inherited]
        if member.name not in _WRITERS and not member.name.startswith("_")
        if member.docstring and (member.is_function or "property" in member.labels)
    ]


def _described(thing: Any) -> Iterator[str]:
    yield f"```python\n{_signature(thing)}\n```"
    if thing.is_class and any("Settings" in str(base) for base in thing.bases):
        yield "Its fields: [settings](settings.md)."
    for section in thing.docstring.parsed if thing.docstring else ():
        yield from _section(section)


def _signature(thing: Any) -> str:
    if "property" in thing.labels:
        return f"{thing.name}: {thing.annotation}"
    if thing.is_class and "__init__" not in thing.members:
        return f"class {thing.name}"
    function = thing.members["__init__"] if thing.is_class else thing
    given = [one for one in function.parameters if one.name not in ("self", "cls")]
    words = [_parameter(one) for one in given]
    first = next((k for k, one in enumerate(given) if one.kind.value == "keyword-only"), None)
    if first is not None:
        words.insert(first, "*")
    result = "" if thing.is_class else f" -> {function.returns}"
    line = f"{thing.name}({', '.join(words)}){result}"
    if len(line) <= 88:
        return line
    return f"{thing.name}(\n" + "".join(f"    {word},\n" for word in words) + f"){result}"


def _parameter(one: Any) -> str:
    default = "" if one.default is None else f" = {one.default}"
    if one.kind.value == "variadic keyword":
        return f"**{one.name}: {one.annotation}"
    return f"{one.name}: {one.annotation}{default}" if one.annotation else one.name + default


def _section(section: Any) -> Iterator[str]:
    kind = section.kind.value
    if kind == "text":
        yield _plain(section.value)
    elif kind == "examples":
        yield from (
            f"```pycon\n{text}\n```" if of.value == "examples" else _plain(text)
            for of, text in section.value
        )
    else:
        heading = {"parameters": "Arguments", "attributes": "Attributes", "raises": "Raises"}
        yield f"**{heading.get(kind, kind.title())}**"
        yield "\n".join(
            f"- `{getattr(one, 'name', None) or one.annotation}`: {_plain(one.description)}"
            for one in section.value
        )


def _plain(text: str) -> str:
    return re.sub(r"\s*\n\s*(?!\n)", " ", text.replace("\n\n", "\0")).replace("\0", "\n\n")


def models_page() -> str:
    """Return the cards of the bundled models, below a table of them."""
    rows, cards = [], []
    for name in bundled_names():
        run = find_run(name)
        data, size = run.record.config.source, run.model_path.stat().st_size
        accuracy = run.summary().test_accuracy or 0.0
        rows.append(
            f"| [{name}](#{name}) | {span(run.record.data.classes)} | "
            f"{data.replace('+', ', ')} | {100 * accuracy:.2f} % | "
            f"{size / 1000:.0f} kB |"
        )
        card = (run.path / "card.md").read_text(encoding="utf-8")
        cards.append(re.sub(r"^#", "##", card, flags=re.MULTILINE).rstrip())
    table = [
        "| model | classes | trained on | test accuracy | size |", "|---|---|---|--:|--:|", *rows,
    ]  # fmt: skip
    parts = [
        "# Bundled models", WRITTEN,
        "These models are in the package: `penstroke predict IMAGE --model NAME` reads with them, "
        "`penstroke serve` serves them, `penstroke train --init-from NAME` starts from them, and "
        "`penstroke models show NAME` prints what stands here. `numbers` reads whole lines "
        "(`penstroke read`); its test accuracy is that of whole synthetic lines.",
        "\n".join(table), *cards,
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Write the pages; with --check, say which are not as the code is, and change nothing."""
    stale = []
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text() != text:
            stale.append(f"docs/reference/{name}")
            if "--check" not in sys.argv:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    print("\n".join(stale) or "docs/reference is as the code is")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
