from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstroke.config.settings import Resolved, RunConfig
from penstroke.errors import CheckpointError, RunError
from penstroke.runs.epochs import last_checkpoint, save_each, write_epochs
from penstroke.runs.record import DataFacts, now
from penstroke.runs.run import Run, RunRecord, RunSummary, find_run, run_name
from penstroke.training.checkpoint import Checkpoint
from penstroke.training.loop import Epoch


def new_record(**config: Any) -> RunRecord:
    return RunRecord(
        created=now(),
        config=RunConfig.parse(config),
        resolved=Resolved(device="cpu", precision="float32", threads=1),
        data=DataFacts(
            fingerprint="f" * 64, classes=("a", "b"), train_images=8, validation_images=2,
            test_images=2, mean=0.1, std=0.3,
        ),
        versions={"python": "3.11"},
        machine={"processor": "x", "cores": 2},
    )  # fmt: skip


def epochs(*best: int, start: int = 1) -> Iterator[Epoch]:
    """Epochs whose weights are their own number, and whose best so far is given."""
    for epoch, best_epoch in enumerate(best, start):
        weights = {"model.w": np.full(3, epoch, np.float32)}
        metrics = {"epoch": epoch, "best_epoch": best_epoch, "train_loss": 1 / epoch}
        yield Epoch(metrics, Checkpoint(weights, {"epoch": epoch}))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "runs" / "one", new_record())


def kept(run: Run) -> list[str]:
    return sorted(path.stem for path in (run.path / "checkpoints").iterdir())


def cut(run: Run, epoch: int) -> None:
    path = run.path / "checkpoints" / f"epoch-{epoch:04d}.safetensors"
    path.write_bytes(path.read_bytes()[:-2])


def test_the_checkpoints_kept_are_the_last_two_and_the_best(run: Run) -> None:
    for epoch in save_each(run, epochs(1, 2, 2, 2, 2)):
        assert run.checkpoint(epoch.metrics["epoch"]).weights["w"][0] == epoch.metrics["epoch"]
    assert kept(run) == ["epoch-0002", "epoch-0004", "epoch-0005"]
    assert [line["epoch"] for line in run.history()] == [1, 2, 3, 4, 5]
    assert run.best_epoch() == 2


def test_an_epoch_is_on_disk_before_it_is_passed_on(run: Run) -> None:
    stream = save_each(run, epochs(1, 2))
    next(stream)
    assert last_checkpoint(Run.open(run.path))[0] is not None
    assert len(run.history()) == 1


def test_record_round_trip(run: Run) -> None:
    assert Run.open(run.path).record == run.record


def test_resume_from_the_last_epoch(run: Run) -> None:
    list(save_each(run, epochs(1, 1, 3)))
    state, notes = last_checkpoint(run)
    assert state is not None
    assert (state.facts["epoch"], notes) == (3, [])


def test_a_history_line_without_its_checkpoint_is_dropped(run: Run) -> None:
    list(save_each(run, epochs(1, 2)))
    (run.path / "checkpoints" / "epoch-0002.safetensors").unlink()
    state, notes = last_checkpoint(run)
    assert state is not None
    assert state.facts["epoch"] == 1
    assert "epoch-0002.safetensors cannot be read: No such file" in notes[0]
    assert len(run.history()) == 1


def test_a_cut_checkpoint_falls_back_to_the_one_before_and_says_so(run: Run) -> None:
    list(save_each(run, epochs(1, 2, 2, 2)))
    cut(run, 4)
    state, notes = last_checkpoint(run)
    assert state is not None
    assert state.facts["epoch"] == 3
    assert len(notes) == 1
    assert "epoch-0004.safetensors is cut short or damaged" in notes[0]
    assert "the previous one is used" in notes[0]


def test_a_cut_best_checkpoint_is_not_gone_on_with(run: Run) -> None:
    list(save_each(run, epochs(1, 2, 2, 2, 2)))
    cut(run, 2)
    state, notes = last_checkpoint(run)
    assert state is None
    assert "starts again" in notes[-1]
    assert run.history() == []


@pytest.mark.parametrize("tail", ['{"epoch": 3, "best', '{"epoch": 3, "best\n', "\0\0\0", "\0\n"])
def test_a_damaged_last_line_of_history_costs_nothing_before_it(run: Run, tail: str) -> None:
    list(save_each(run, epochs(1, 2)))
    with run.history_path.open("a") as stream:
        stream.write(tail)
    assert [line["epoch"] for line in run.history()] == [1, 2]
    state, notes = last_checkpoint(run)
    assert state is not None
    assert (state.facts["epoch"], notes) == (2, [])
    list(save_each(run, epochs(2, start=3)))
    assert [line["epoch"] for line in run.history()] == [1, 2, 3]


def test_a_checkpoint_without_its_line_is_overwritten(run: Run) -> None:
    """A kill between the two writes of an epoch."""
    list(save_each(run, epochs(1, 2)))
    run.checkpoint_path(3).write_bytes(Checkpoint({}, {"epoch": 3}).to_bytes())
    state, _ = last_checkpoint(run)
    assert state is not None
    assert state.facts["epoch"] == 2
    list(save_each(run, epochs(2, start=3)))
    assert run.checkpoint(3).weights["w"][0] == 3


def test_the_history_is_appended_to_not_rewritten(run: Run) -> None:
    list(save_each(run, epochs(1)))
    inode = run.history_path.stat().st_ino
    list(save_each(run, epochs(1, start=2)))
    last_checkpoint(run)
    assert run.history_path.stat().st_ino == inode


def test_of_a_trial_only_the_last_checkpoint_is_kept(run: Run) -> None:
    one, two, three = epochs(1, 1, 1)
    metrics = [one.metrics, two.metrics]
    write_epochs(run, metrics, two.state.to_bytes(), keep_best=False)
    write_epochs(run, [three.metrics], three.state.to_bytes(), keep_best=False)
    assert kept(run) == ["epoch-0003"]
    state, notes = last_checkpoint(run, needs_best=False)
    assert state is not None
    assert (state.facts["epoch"], notes) == (3, [])


def test_the_model_has_its_classes(run: Run) -> None:
    list(save_each(run, epochs(1, 2, 2)))
    run.write_weights(run.checkpoint(run.best_epoch()).weights, epoch=2)
    model = run.model()
    assert model.weights["w"][0] == 2
    assert model.facts["classes"] == ["a", "b"]
    assert model.facts["epoch"] == 2


def test_status_and_summary(run: Run) -> None:
    assert run.status == "unfinished"
    with pytest.raises(RunError, match="is not finished"):
        run.summary()
    RunSummary(test_accuracy=0.5).write(run.path)
    assert (run.status, run.summary()) == ("finished", RunSummary(test_accuracy=0.5))
    (run.path / "summary.json").write_text('{"test_accuracy": "high"}')
    with pytest.raises(RunError, match=r"summary.json is damaged"):
        run.summary()


def test_each_opening_of_the_test_split_is_written_down(run: Run) -> None:
    run.log_test_opening("evaluate")
    run.log_test_opening("report")
    lines = (run.path / "test_openings.jsonl").read_text().splitlines()
    assert [json.loads(line)["purpose"] for line in lines] == ["evaluate", "report"]


def test_two_processes_cannot_train_one_run(run: Run) -> None:
    with run.locked(), pytest.raises(RunError, match="being trained by another"), run.locked():
        pass
    with run.locked():
        pass


def test_same_command_same_name() -> None:
    one, two = RunConfig(), RunConfig.parse({"train": {"seed": 1}})
    names = {run_name("x", one, "f"), run_name("x", two, "f"), run_name("x", one, "g")}
    assert len(names) == 3
    assert run_name("x", RunConfig(), "f") in names


def test_list_and_find(run: Run, tmp_path: Path) -> None:
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.toml").write_text("not = = toml")
    assert [r.name for r in Run.all()] == ["one"]
    assert find_run("one").path == find_run(run.path).path == run.path
    with pytest.raises(RunError, match='did you mean "one"'):
        find_run("oen")


def test_newer_and_damaged_runs_are_refused(run: Run) -> None:
    path = run.path / "run.toml"
    path.write_text(re.sub(r"format_version = 1", "format_version = 2", path.read_text()))
    with pytest.raises(RunError, match="newer Penstroke \\(format 2; this one reads up to 1\\)"):
        Run.open(run.path)
    path.write_text("format_version = 1\n")
    with pytest.raises(RunError, match="not a valid run directory"):
        Run.open(run.path)


def test_what_is_not_there_yet(run: Run) -> None:
    with pytest.raises(RunError, match="no finished epoch"):
        run.best_epoch()
    with pytest.raises(RunError, match="no model yet"):
        run.model()
    with pytest.raises(CheckpointError, match="cannot be read"):
        run.checkpoint(3)
    (run.path / "history.jsonl").write_text('{"epoch": 1\n{"epoch": 2}\n')
    with pytest.raises(RunError, match=r"history\.jsonl is damaged in line 1"):
        run.history()
