"""Recipes: whole runs as TOML, named for what they are; those beside this file are shipped.

A recipe is a `RunConfig` with a title and, where it repeats a published set-up, what was published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field

from penstroke.config.settings import ARCHITECTURES, RunConfig, Settings
from penstroke.config.space import SearchConfig, Space
from penstroke.config.toml import override, read_toml, value_at
from penstroke.errors import ConfigError, near_match


class Published(Settings):
    """Figures that somebody published for this set-up, on the test split."""

    test_accuracy: float | None = Field(None, ge=0, le=1, description="share of test images right")
    test_loss: float | None = Field(None, ge=0, description="mean cross entropy a test image")
    test_auroc: float | None = Field(None, ge=0, le=1, description="macro, one against the rest")
    test_f1: float | None = Field(None, ge=0, le=1, description="macro")
    val_accuracy: float | None = Field(None, ge=0, le=1, description="share of validation right")


class Recipe(RunConfig):
    """A run config, with what a person wants to know about it."""

    title: str = Field("", description="one line: what it trains")
    reference: str = Field("", description="the published set-up it repeats")
    chosen: str = Field("", description="what the publication left open, and the choice made here")
    search: SearchConfig | None = Field(None, description="how to look for better settings")
    published: Published = Field(Published(), description="the publication's own figures")

    def run_config(self) -> RunConfig:
        """Return the part that decides the run."""
        return RunConfig(data=self.data, model=self.model, train=self.train)


def shipped_recipes() -> list[str]:
    """Return the names of the recipes inside the package, sorted."""
    folder = resources.files(__package__) / "recipe_files"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load_recipe(name: str, changes: Iterable[str] = (), architecture: str | None = None) -> Recipe:
    """Return the shipped recipe `name`, or the one in the TOML file at that path.

    `changes` are `dotted.name=value` assignments: what they set is no longer searched.
    `architecture` replaces the whole network by the default one of that kind first.

    Raises:
        ConfigError: no such recipe (with a near match), or a bad value in it (with its field).

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("baseline-mlp", ["train.learning_rate=3e-4"])
        >>> recipe.train.learning_rate, recipe.published.test_accuracy
        (0.0003, 0.9742)
    """
    values = _read(name)
    if architecture is not None:
        values["model"] = _default_model(architecture)
    values.setdefault("model", _default_model("cnn"))
    changes = list(changes)
    recipe = Recipe.parse(override(values, changes), source=name)
    return _with_fixed(recipe, [change.partition("=")[0].strip() for change in changes])


def _with_fixed(recipe: Recipe, names: Iterable[str]) -> Recipe:
    """Return `recipe` without the parameters of its search that were set by hand."""
    for name in names:
        search, config = recipe.search, recipe.run_config()
        if search is None or name not in search.space:
            continue
        rest = Space(config, search.space).fixed(name, value_at(config.to_dict(), name))
        left = search.model_copy(update={"space": rest}) if rest else None
        recipe = recipe.model_copy(update={"search": left})
    return recipe


def _read(name: str) -> dict[str, Any]:
    if name in shipped_recipes():
        with resources.as_file(
            resources.files(__package__) / "recipe_files" / f"{name}.toml"
        ) as path:
            return read_toml(path)
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return _without_provenance(read_toml(path / "run.toml" if path.is_dir() else path))
    raise ConfigError(
        f'no recipe "{name}"{near_match(name, shipped_recipes())}: '
        "`penstroke train --list` shows them; a path to a .toml file works too"
    )


def _without_provenance(values: Mapping[str, Any]) -> dict[str, Any]:
    """Take a run.toml for the recipe it holds: its settings stand under [config]."""
    config = values.get("config", values)
    return dict(config)


def _default_model(architecture: str) -> dict[str, Any]:
    if architecture not in ARCHITECTURES:
        raise ConfigError(
            f'model "{architecture}" is not known{near_match(architecture, ARCHITECTURES)}'
            f"; one of {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[architecture]().to_dict()
