"""A small search that takes a second, and what remains of it in the study."""

from __future__ import annotations

from typing import Any

from helpers import small_config
from penstroke.config.recipes import Recipe
from penstroke.config.settings import RunConfig
from penstroke.search.local_engine import LocalEngine
from penstroke.search.study import Study
from penstroke.search.workflow import Asked, open_study, search

SPACE = {
    "train.learning_rate": {"low": 1e-4, "high": 3e-2, "log": True},
    "model.convolutions.0.filters": {"low": 4, "high": 12, "step": 4},
    "train.optimizer": {"choices": ["adam", "sgd"]},
    "train.momentum": {"choices": [0.5, 0.9], "when": {"train.optimizer": "sgd"}},
}


def small_recipe(config: RunConfig | None = None, **changes: Any) -> Recipe:
    """Hyperband with R = 4, η = 2: ten trials in three brackets."""
    table = {"method": "hyperband", "eta": 2, "max_epochs": 4, "space": SPACE, **changes}
    return Recipe.parse({**(config or small_config()).to_dict(), "search": table})


def small_search(name: str = "s", workers: int = 2, **changes: Any) -> Study:
    """Search from beginning to end, in this process."""
    recipe = small_recipe(**changes)
    assert recipe.search is not None
    study = open_study(Asked(recipe.run_config(), recipe.search), stem=name, name=name)
    engine = LocalEngine(workers, [recipe.data])
    try:
        assert search(study, engine)
    finally:
        engine.close()
    return study


def remains(study: Study) -> dict[int, tuple[Any, ...]]:
    """Return all that was found, without times: settings, states and scores of each trial."""
    return {
        number: (
            dict(trial.user_attrs["settings"]), trial.state.name, trial.value,
            dict(trial.intermediate_values),
            [[line["val_loss"] for line in run.history()] for run in runs_of(study, number)],
        )
        for number, trial in sorted(study.trials().items())
    }  # fmt: skip


def runs_of(study: Study, number: int) -> list[Any]:
    """Return the run directories of a trial."""
    return study.runs_of(number, study.trials()[number].user_attrs["settings"])
