"""Some of the changes that `python scripts/attack.py files` makes thousands of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attack import change_files
from penstroke.data.sources import arrays
from penstroke.data.sources.contents import SourceOptions
from penstroke.data.sources.listing import list_source
from penstroke.errors import DataError
from worker_functions import die


def test_changed_files_give_typed_errors_or_right_answers(
    penstroke_once: Callable[..., Path], tmp_path: Path
) -> None:
    options = ("--epochs", 2, "--set", "data.max_train_images=200", "--no-report")
    runs = penstroke_once("train", *options, "--name", "one")
    outcomes = change_files(runs / "one", tmp_path, 66, seed=1)
    assert [one for one in outcomes if one.kind in ("fault", "silently wrong")] == []
    assert sum(one.kind == "typed" for one in outcomes) > 20


def test_a_mat_file_that_ends_the_process_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_try_mat", die)
    (tmp_path / "crash.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(DataError, match=r"crash\.mat is not a valid MAT file: its worker"):
        list_source(tmp_path / "crash.mat", SourceOptions())
