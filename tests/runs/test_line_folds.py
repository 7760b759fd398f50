"""Cross-validation of line readers on labelled lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from helpers import Outcome, line_config
from penstroke.data import store
from penstroke.data.lines import LineDataset
from penstroke.data.loading import imported_folder
from penstroke.evaluation.line_metrics import LinePredictions
from penstroke.files import runs_root
from penstroke.runs.run import Run


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe for a data set of 24 lines by six writers, and no test lines."""
    random = np.random.default_rng(0)
    strips = [random.integers(40, 255, (32, 40 + row), np.uint8) for row in range(24)]
    texts = [str(100 + row) for row in range(24)]
    writers = np.array([f"w{row % 6}" for row in range(24)])
    lines = LineDataset.of(strips, texts, "0123456789", writers)
    store.save(imported_folder("cells"), "cells", lines, lines.subset(np.arange(0)))
    config = line_config(epochs=1, batch_size=8, checkpoint_metric="last").replace({
        "data.dataset": "cells", "model.filters": [2, 2, 4, 4, 4, 4],
        "synthesis.lines_per_epoch": 24,
    })  # fmt: skip
    path = tmp_path / "cells.toml"
    path.write_text(tomli_w.dumps(config.to_dict()))
    return path


def test_each_line_is_judged_once_by_a_reader_that_knows_neither_it_nor_its_writer(
    recipe: Path, penstroke: Callable[..., Outcome]
) -> None:
    words = ("train", recipe, "--folds", 3, "--name", "one")
    done = penstroke(*words, "--json")
    assert done.exit_code == 0, done.err
    summary = json.loads(done.out)
    assert (summary["images"], summary["writers"], summary["split_by"]) == (24, 6, "writer")
    assert "Character error rate" in Path(summary["report"]).read_text()
    whole = LinePredictions.load(runs_root() / "one" / "predictions.csv")
    assert sorted(whole.texts) == [str(100 + row) for row in range(24)]
    assert whole.writers is not None
    first = whole.writers[:8]
    assert set(first).isdisjoint(whole.writers[8:])
    fold = Run.open(runs_root() / "one" / "fold-0")
    assert fold.summary().val_accuracy == summary["fold_accuracies"][0]
    again = penstroke(*words)
    assert "already finished" in again.err
    assert "24 lines, each judged by a network that never saw it" in " ".join(again.out.split())


def test_cross_validations_of_lines_are_compared_line_by_line(
    recipe: Path, penstroke: Callable[..., Outcome]
) -> None:
    for name, rate in (("one", 0.01), ("two", 0.02)):
        penstroke("train", recipe, "--folds", 2, "--name", name, "--lr", rate, "--no-report")
    compared = penstroke("compare", "one", "two", "--json")
    assert compared.exit_code == 0, compared.err
    assert len(json.loads(compared.out)["claims"]) == 1
