"""A small search, made once in a session, and what remains of it in the study."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import tomli_w

from helpers import copy_made_once, made_once, small_config
from penstroke.config.recipes import Recipe
from penstroke.config.settings import RunConfig
from penstroke.files import sha256
from penstroke.search.engine import LocalEngine
from penstroke.search.study import Study
from penstroke.search.workflow import SearchRequest, open_study, search

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
    study = open_study(SearchRequest(recipe.run_config(), recipe.search), stem=name, name=name)
    engine = LocalEngine(workers, [recipe])
    try:
        assert search(study, engine)
    finally:
        engine.close()
    return study


def finished_search(name: str = "s", **changes: Any) -> Study:
    """Return what `small_search` comes to: searched once in a session, copied for each test."""
    key = f"search-{sha256(repr((name, sorted(changes.items()))).encode())[:16]}"
    return study_in(copy_made_once(key, lambda: small_search(name, **changes)), name)


def tune_command(recipe: Path, *more: object) -> list[str]:
    """Return the command that searches as `recipe` says, into the study "s"."""
    options = ["--name", "s", "--no-report", "--confirm-seeds", 0, "--json", *more]
    return [sys.executable, "-m", "penstroke", "tune", str(recipe), *map(str, options)]


def _tune() -> None:
    folder = Path(os.environ["PENSTROKE_RUNS"])
    folder.mkdir()
    recipe = folder / "small.toml"
    recipe.write_text(tomli_w.dumps(small_recipe().to_dict()))
    subprocess.run(tune_command(recipe), check=True, capture_output=True)
    recipe.unlink()


def tuned_study() -> Study:
    """Return the study that `tune_command` finished, copied for this test."""
    return study_in(copy_made_once("tuned", _tune))


def undisturbed_study() -> Study:
    """Return the same study for comparison; it belongs to all tests."""
    return study_in(made_once("tuned", _tune))


def study_in(runs: Path, name: str = "s") -> Study:
    study = Study.find(runs / name)
    assert study is not None
    return study


def remains(study: Study) -> dict[int, tuple[Any, ...]]:
    """Return the settings, state, metrics and losses of each trial: everything except times."""
    return {
        number: (
            trial.settings, trial.state, trial.metric, dict(trial.metric_by_epoch),
            [[line["val_loss"] for line in run.history()] for run in runs_of(study, number)],
        )
        for number, trial in sorted(study.store.trials().items())
    }  # fmt: skip


def runs_of(study: Study, number: int) -> list[Any]:
    """Return the run directories of a trial."""
    return study.runs_of(number, study.store.trials()[number].settings)
