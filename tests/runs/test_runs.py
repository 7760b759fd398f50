from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstroke.config.settings import Resolved, RunConfig
from penstroke.config.space import SearchConfig
from penstroke.errors import CheckpointError, ConfigError, RunError
from penstroke.files import write_atomically
from penstroke.runs.cross_validation import cross_validation
from penstroke.runs.epochs import last_checkpoint, save_each, write_epochs
from penstroke.runs.pipeline import start_or_resume, train
from penstroke.runs.record import DataFacts, folder_path, now
from penstroke.runs.run import FoldRuns, Run, RunRecord, RunSummary, find_run, run_name
from penstroke.search.workflow import SearchRequest, open_study
from penstroke.training.checkpoint import Checkpoint
from penstroke.training.loop import Epoch

SEARCH = SearchRequest(RunConfig(), SearchConfig.parse({"space": {"train.seed": {"choices": [1]}}}))


def whole_folds() -> RunConfig:
    return RunConfig().replace({"train.checkpoint_metric": "last"})


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


@pytest.mark.parametrize("tail", ['{"epoch": 4, "best_epoch": 1}', '{"epoch": 3}', "[]", "3"])
def test_a_whole_last_line_that_is_wrong_is_not_passed_over(run: Run, tail: str) -> None:
    list(save_each(run, epochs(1, 2)))
    with run.history_path.open("a") as stream:
        stream.write(tail + "\n")
    with pytest.raises(RunError, match=r"history\.jsonl is damaged in line 3"):
        run.history()


def test_nothing_cuts_the_history_of_a_finished_run(run: Run) -> None:
    list(save_each(run, epochs(1, 2)))
    RunSummary(epochs=2).write(run.path)
    with run.history_path.open("a") as stream:
        stream.write('{"epoch": 3, "best\n')
    with pytest.raises(RunError, match="damaged in line 3"):
        run.history()


def test_an_empty_record_of_folds_is_damaged(run: Run) -> None:
    (run.path / "folds").mkdir()
    (run.path / "folds" / "folds.toml").touch()
    with pytest.raises(RunError, match="not complete"):
        FoldRuns.open(run.path / "folds")


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


def test_weights_of_another_run_are_noticed(run: Run, tmp_path: Path) -> None:
    weights = {"w": np.full(3, 1, np.float32)}
    run.write_weights(weights)
    other = Run.create(tmp_path / "runs" / "two", new_record(train={"seed": 7}))
    other.write_weights(weights)
    same = Run.create(tmp_path / "runs" / "three", new_record())
    same.write_weights(weights)
    path = run.path / "model.safetensors"
    path.write_bytes((same.path / path.name).read_bytes())
    assert run.model().weights["w"][0] == 1
    path.write_bytes((other.path / path.name).read_bytes())
    with pytest.raises(CheckpointError, match="weights of another run"):
        run.model()
    facts = {k: v for k, v in other.model().facts.items() if k != "trained_as"}
    path.write_bytes(Checkpoint({"model.w": weights["w"]}, facts).to_bytes())  # as 0.2.0 wrote it
    assert run.model().weights["w"][0] == 1


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


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/tmp/x", "a\\b", ".hidden", "-x", " x", "x ", "x.", "a\nb",
     "a\0b", "x" * 151, "ä" * 76, "C:x", "a*", "a?b", "\udcff"],
)  # fmt: skip
def test_a_name_that_would_be_outside_or_not_listed_is_refused(name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: train(RunConfig(), name=name),
        lambda: start_or_resume(RunConfig(), stem=name or "../x"),
        lambda: cross_validation(whole_folds(), 2, stem="x", name=name),
        lambda: open_study(SEARCH, stem="x", name=name),
    ]
    for call in calls[:1] if name in ("", "x.", "x ") else calls:
        with pytest.raises(ConfigError, match="cannot be the name of a run"):
            call()


@pytest.mark.parametrize("name", ["a", "7", "mine-2.1", "Größe 3", "a$b", "x^_{y}", "100%", "+#'"])
def test_an_ordinary_name_is_kept(name: str, runs: Path) -> None:
    assert folder_path(name) == runs / name


def test_a_persons_hidden_files_stay_when_a_run_is_locked(run: Run) -> None:
    mine = [run.path / n for n in (".notes.txt", ".DS_Store", ".x.abcdefgh", "checkpoints/.a.b/c")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", raise_runtime_error)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # killed before it could clean up
        with pytest.raises(RuntimeError):
            write_atomically(run.path / "run.toml", b"half")
    assert len(list(run.path.glob(".run.toml.*"))) == 1
    with run.locked():
        assert not list(run.path.glob(".run.toml.*"))
    assert all(path.read_text() == "mine" for path in mine)


def raise_runtime_error(_: int) -> None:
    raise RuntimeError


def test_a_name_that_another_kind_of_directory_has_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match=r"already holds something else \(run\.toml\)"):
        FoldRuns.create(run.path, RunConfig())


def test_of_two_processes_that_begin_one_run_at_once_one_does(run: Run) -> None:
    """Both have seen that there is none; the record stays that of the first."""
    before = (run.path / "run.toml").read_bytes()
    other = run.record.model_copy(update={"config": RunConfig()})
    with pytest.raises(RunError, match="just been begun by another process"):
        Run.create(run.path, other)
    with run.locked(), pytest.raises(RunError, match="being trained by another"):
        Run.create(run.path, other)
    assert (run.path / "run.toml").read_bytes() == before


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
