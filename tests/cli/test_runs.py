from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import Outcome

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
