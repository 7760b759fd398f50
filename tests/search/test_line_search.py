"""Searches for the settings of line readers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from helpers import Outcome, line_config
from penstroke.config.settings import RunConfig
from penstroke.data import store
from penstroke.data.lines import LineDataset
from penstroke.data.loading import imported_folder
from penstroke.data.run_data import load_data
from penstroke.errors import ConfigError
from penstroke.search.engine import LocalEngine
from penstroke.search.runner import SearchStatus
from penstroke.search.study import Study
from penstroke.search.workflow import SearchRequest, open_study, plan_search, search
from searching import remains, runs_of, small_recipe

SPACE = {
    "train.learning_rate": {"low": 1e-3, "high": 3e-2, "log": True},
    "model.filters": {"choices": [[2, 2, 4, 4, 4, 4], [4, 4, 8, 8, 8, 8]]},
}


def tiny(dataset: str = "cells") -> RunConfig:
    return line_config(batch_size=8).replace({
        "synthesis.lines_per_epoch": 24, "data.dataset": dataset, "data.validation_fraction": 0.25,
    })  # fmt: skip


def request(config: RunConfig, space: dict[str, Any] = SPACE, **changes: Any) -> SearchRequest:
    """Hyperband with R = 2, η = 2: two brackets of three and two trials."""
    changes = {"max_epochs": 2, "metric": "val_loss", "space": space, **changes}
    recipe = small_recipe(config, **changes)
    assert recipe.search is not None
    return SearchRequest(recipe.run_config(), recipe.search)


def _go_on(status: SearchStatus) -> None:
    """Watch without stopping."""


def searched(
    wanted: SearchRequest,
    name: str,
    workers: int = 2,
    watch: Callable[[SearchStatus], None] = _go_on,
) -> Study:
    study = open_study(wanted, stem=name, name=name)
    engine = LocalEngine(workers, [wanted.config])
    try:
        assert search(study, engine, watch)
    finally:
        engine.close()
    return study


@pytest.fixture(autouse=True)
def _cells(count: int = 24) -> None:
    """A data set of labelled lines by four writers."""
    lines = load_data(line_config()).validation
    assert isinstance(lines, LineDataset)
    strips = [lines.strip(row) for row in range(count)]
    writers = np.array([f"w{row % 4}" for row in range(count)])
    real = LineDataset.of(strips, lines.texts[:count], lines.alphabet, writers)
    store.save(imported_folder("cells"), "cells", real, real.subset(np.arange(6)))


def test_an_interrupted_search_of_lines_ends_as_any_other() -> None:
    def stop(status: SearchStatus) -> None:
        if status.epochs_trained >= 2:
            raise KeyboardInterrupt

    whole = searched(request(tiny()), "whole", workers=1)
    with pytest.raises(KeyboardInterrupt):
        searched(request(tiny()), "stopped", watch=stop)
    assert remains(searched(request(tiny()), "stopped")) == remains(whole)
    epochs = [len(histories[0]) for *_, histories in remains(whole).values()]
    assert sorted(epochs) == [1, 2, 2, 2]


def test_the_best_reader_is_trained_and_reported(
    tmp_path: Path, penstroke: Callable[..., Outcome]
) -> None:
    wanted = request(tiny(), method="random", trials=2)
    values = {**wanted.config.to_dict(), "search": wanted.search.to_dict()}
    (tmp_path / "cells.toml").write_text(tomli_w.dumps(values))
    words = ("tune", tmp_path / "cells.toml", "--workers", 1, "--confirm-seeds", 1, "--json")
    plan = json.loads(penstroke(*words, "--dry-run").out)
    assert (plan["trials"], plan["epochs"]) == (2, 4)
    assert plan["worker_seconds"] > 0
    done = penstroke(*words)
    assert done.exit_code == 0, done.err
    assert "24 lines" in done.err
    result = json.loads(done.out)
    assert result["metric"] == "val_loss"
    assert len(result["confirmed"]) == 1
    assert {"test_accuracy", "test_character_error_rate"} <= result["test"].keys()
    assert (Path(result["run"]) / "model.onnx").exists()
    assert "Best settings" in Path(result["report"]).read_text()


def test_folds_of_labelled_lines_and_what_is_mixed_in() -> None:
    space = {"synthesis.share": {"choices": [0.25, 0.75]}}
    study = searched(request(tiny(), space, method="grid", max_epochs=1, folds=2), "mixed")
    for number in (0, 1):
        held_out = [load_data(run.record.config).validation for run in runs_of(study, number)]
        writers = [set([] if one.writers is None else one.writers) for one in held_out]
        assert [len(names) for names in writers] == [2, 2]
        assert sum(map(len, held_out)) == 24
        assert writers[0].isdisjoint(writers[1])


def test_what_would_change_the_lines_that_trials_are_judged_by_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search.space.synthesis.gap: would change the lines"):
        plan_search(request(tiny("synthetic"), {"synthesis.gap": {"low": 0.1, "high": 0.3}}), 1)
    with pytest.raises(ConfigError, match="data.folds: synthetic lines are new in each epoch"):
        plan_search(request(tiny("synthetic"), folds=2), 1)
