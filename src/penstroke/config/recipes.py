"""Recipes: whole runs as TOML; those in recipe_files/ are shipped with the package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from penstroke.config.settings import RunConfig, Settings
from penstroke.config.space import SearchConfig
from penstroke.config.toml import read_toml
from penstroke.errors import ConfigError, near_match

_FOLDER = Path(__file__).parent / "recipe_files"


class Published(Settings):
    """Figures that were published for this set-up, on the test split."""

    test_accuracy: float | None = Field(None, ge=0, le=1, description="accuracy, from 0 to 1")
    test_loss: float | None = Field(None, ge=0, description="mean cross-entropy per image")
    test_auroc: float | None = Field(None, ge=0, le=1, description="macro AUROC, one-vs-rest")
    test_f1: float | None = Field(None, ge=0, le=1, description="macro F1")
    val_accuracy: float | None = Field(None, ge=0, le=1, description="accuracy on validation")
    trials: int | None = Field(
        None, ge=2, description="trials of which the published accuracy is the highest; none: one"
    )


class Recipe(RunConfig):
    """A run config with a title and, where it repeats a published set-up, what was published."""

    title: str = Field("", description="one line: what it trains")
    reference: str = Field("", description="published set-up that it repeats")
    chosen: str = Field("", description="what the publication left open, and the choice made here")
    search: SearchConfig | None = Field(None, description="hyperparameter search")
    published: Published = Field(Published(), description="figures of the publication")

    def run_config(self) -> RunConfig:
        """Return the part that decides the run."""
        return RunConfig(**{name: getattr(self, name) for name in RunConfig.model_fields})


def load_recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Return the shipped recipe `name`, or the one in the TOML file at that path.

    Args:
        name: of a shipped recipe, or the path of a TOML file or of a run directory to repeat.
        changes: other values by dotted names. A parameter set here is no longer searched.
            `{"model": {"architecture": "mlp"}}` takes the default network of that kind.
            `train.epochs` alone also sets `train.min_steps` to 0 and `search.max_epochs` to none.

    Raises:
        ConfigError: there is no such recipe, or a value is refused; the message names the field.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("baseline-mlp", {"train.learning_rate": 3e-4})
        >>> recipe.train.learning_rate, recipe.published.test_accuracy
        (0.0003, 0.9742)
    """
    path, changes = Path(name), changes or {}
    if name in shipped_recipes():
        values = read_toml(_FOLDER / f"{name}.toml")
    elif path.suffix == ".toml" or path.exists():
        values = read_toml(path / "run.toml" if path.is_dir() else path)
        values = values.get("config", values)  # run.toml keeps its settings under [config]
    else:
        raise ConfigError(
            f'unknown recipe "{name}"{near_match(name, shipped_recipes())}: '
            "`penstroke train --list` lists them; the path of a .toml file works too"
        )
    recipe = Recipe.parse(values, source=name)
    if "train.epochs" in changes and recipe.search is not None:
        changes = {"search.max_epochs": None, **changes}
    recipe = recipe.replace(changes, source=name)
    for field, value in changes.items():
        if recipe.search is not None and field in recipe.search.space:
            recipe = recipe.replace({"search": recipe.search.fixed(field, value)})
    return recipe


def shipped_recipes() -> list[str]:
    """Return the names of the recipes inside the package, sorted."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))
