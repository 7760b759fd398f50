from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import DAMAGE, Outcome, spoil

Cli = Callable[..., Outcome]


@pytest.fixture
def run(penstroke_once: Callable[..., Path]) -> str:
    penstroke_once("train", "--epochs", 2, "--set", "data.max_train_images=200", "--name", "one")
    return "one"


def test_list_show_rm(penstroke: Cli, run: str, runs: Path) -> None:
    assert "finished" in penstroke("runs", "list").out
    listed = json.loads(penstroke("runs", "list", "--json").out)["runs"]
    assert [Path(r["run"]).name for r in listed] == ["one"]
    shown = penstroke("runs", "show", "one").out
    assert "kept" in shown
    assert "[config.train]" in shown
    facts = json.loads(penstroke("runs", "show", "one", "--json").out)
    assert len(facts["history"]) == 2
    assert facts["record"]["config"]["train"]["epochs"] == 2
    assert penstroke("runs", "rm", "one", "--yes").exit_code == 0
    assert list(runs.iterdir()) == []
    assert "no runs" in penstroke("runs", "list").out


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_listed_removed_and_replaced(
    penstroke: Cli, run: str, runs: Path, damage: bytes | None
) -> None:
    few = ("--set", "data.max_train_images=200", "--epochs", 1, "--no-report")
    for name, file in (("a", "run.toml"), ("b", "history.jsonl"), ("c", "summary.json")):
        shutil.copytree(runs / run, runs / name)
        spoil(runs / name / file, damage or b"\0\n\n" if file == "history.jsonl" else damage)
    for name, file in (("s", "study.toml"), ("f", "folds.toml")):
        (runs / name).mkdir()
        (runs / name / file).touch()
        spoil(runs / name / file, b"?" if damage == b"" else damage)
    done = penstroke("runs", "list")
    assert (done.exit_code, done.out.count(" damaged  ")) == (0, 5), done.out
    assert done.out.count(" finished  ") == 1
    listed = json.loads(penstroke("runs", "list", "--json").out)
    found = [one for kind in listed.values() for one in kind if one["status"] == "damaged"]
    assert all(one["reason"] for one in found)
    refused = penstroke("train", *few, "--name", "a")
    assert (refused.exit_code, "--overwrite replaces it" in refused.err) == (1, True)
    assert penstroke("train", *few, "--name", "a", "--overwrite").exit_code == 0
    assert penstroke("runs", "rm", "a", "b", "c", "s", "f", "-y").exit_code == 0
    assert [path.name for path in runs.iterdir()] == [run]


def test_a_killed_removal_is_finished_by_the_next_command(
    penstroke: Cli, run: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(path: Path, ignore_errors: bool = False) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", kill)
        assert penstroke("runs", "rm", run, "-y").exit_code == 9
    assert [path.name for path in runs.iterdir()] == [".one.penstroke-removed"]
    assert "no runs" in penstroke("runs", "list").out
    assert list(runs.iterdir()) == []


def test_of_a_symbolic_link_the_link_is_removed(
    penstroke: Cli, run: str, runs: Path, tmp_path: Path
) -> None:
    elsewhere = (runs / run).rename(tmp_path / "elsewhere")
    (runs / run).symlink_to(elsewhere)
    done = penstroke("runs", "rm", run, "-y")
    assert (done.exit_code, f"its files stay in {elsewhere}" in done.err) == (0, True)
    assert (list(runs.iterdir()), (elsewhere / "summary.json").exists()) == ([], True)


def test_what_cannot_be_removed_is_said_in_one_line(
    penstroke: Cli, run: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("open", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            done = penstroke("runs", "rm", run, "-y")
        assert (done.exit_code, done.err.count("\n")) == (1, 1), done.err
        assert "Read-only file system" in done.err
        assert (runs / run / "summary.json").exists()


def test_rm_asks_first(
    penstroke: Cli, run: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert penstroke("runs", "rm", "one").exit_code == 1
    assert (runs / "one" / "run.toml").exists()


def test_unknown_run(penstroke: Cli, run: str) -> None:
    done = penstroke("runs", "show", "oen")
    assert (done.exit_code, 'did you mean "one"' in done.err) == (1, True)
    assert penstroke("evaluate", "nothing").exit_code == 1


def test_evaluate_and_report(penstroke: Cli, run: str) -> None:
    done = penstroke("evaluate", "one")
    assert [line.split()[0] for line in done.out.splitlines()[1:4]] == [
        "train",
        "validation",
        "test",
    ]
    judged = json.loads(penstroke("evaluate", "one", "--json").out)
    assert judged["test_accuracy"] == judged["metrics"]["test"]["accuracy"]
    assert Path(json.loads(penstroke("report", "one", "--json").out)["report"]).exists()
    assert penstroke("report", "one").out.strip().endswith("index.html")


def test_export(penstroke: Cli, run: str, tmp_path: Path, runs: Path) -> None:
    onnx = tmp_path / "out.onnx"
    assert penstroke("export", "one", "--to", "onnx", "-o", onnx).exit_code == 0
    assert onnx.stat().st_size > 1000
    done = penstroke("export", "one", "--to", "csv", "-o", tmp_path / "history.csv", "--json")
    assert json.loads(done.out)["size_bytes"] > 50
    assert (tmp_path / "history.csv").read_text().startswith("epoch,train_loss")
    assert penstroke("export", "one", "--to", "pickle").exit_code == 2


def test_an_unfinished_run_has_no_model(penstroke: Cli, run: str, runs: Path) -> None:
    (runs / "one" / "model.safetensors").unlink()
    done = penstroke("evaluate", "one")
    assert (done.exit_code, "no model yet" in done.err) == (1, True)
