"""kill -9 at any moment, then the same command: the result is that of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import interrupt, start, wait_until
from penstroke.runs.run import Run

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "penstroke", "train"]
FEW = ("--set", "data.max_train_images=300", "--set", "train.threads=1")


def start_training(*arguments: str) -> subprocess.Popen[bytes]:
    command = [*COMMAND, *arguments, "--no-report", "--json"]
    return start(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def complete(*arguments: str) -> Path:
    process = start_training(*arguments)
    out, _ = process.communicate(timeout=500)
    assert process.returncode == 0
    return Path(json.loads(out)["run"])


def epochs_done(run: Path) -> int:
    path = run / "history.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def kill_when(
    process: subprocess.Popen[bytes], run: Path, epochs: int, then_seconds: float
) -> None:
    """Kill once `epochs` are done and `then_seconds` have passed, wherever it then is."""
    wait_until(lambda: epochs_done(run) >= epochs or process.poll() is not None, seconds=300)
    time.sleep(then_seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_at_random_moments_a_small_run_ends_with_the_same_bits(runs: Path) -> None:
    settings = ("--epochs", "8", *FEW)
    expected = complete(*settings, "--name", "through")
    moments = random.Random(5)
    for kill in range(3):
        killed = start_training(*settings, "--name", "killed")
        kill_when(killed, runs / "killed", 3 * kill + 1, moments.uniform(0, 0.15))
    again = complete(*settings, "--name", "killed")
    assert (again / "model.safetensors").read_bytes() == (
        expected / "model.safetensors"
    ).read_bytes()
    assert epochs_done(again) == epochs_done(expected) == 8
    assert [p.name for p in again.rglob(".*") if p.name != ".lock"] == []


@pytest.mark.mnist
def test_two_kills_in_the_published_cnn(runs: Path) -> None:
    settings = ("baseline-cnn", "--set", "data.max_train_images=3000", "--set", "train.threads=1")
    expected = complete(*settings, "--name", "through")
    epoch_seconds = Run.open(expected).elapsed_seconds() / 5
    for kill in range(2):
        killed = start_training(*settings, "--name", "killed")
        kill_when(killed, runs / "killed", 2 * kill + 1, 0.5 * kill * epoch_seconds)
        assert epochs_done(runs / "killed") < 5
    again = complete(*settings, "--name", "killed")
    assert (again / "model.safetensors").read_bytes() == (
        expected / "model.safetensors"
    ).read_bytes()


def test_a_killed_process_lets_go_of_the_run(runs: Path) -> None:
    settings = ("--epochs", "500", "--name", "held", *FEW)
    process = start_training(*settings)
    wait_until(lambda: epochs_done(runs / "held"))
    second = subprocess.run([*COMMAND, *settings], capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "being trained by another process" in second.stderr
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    third = start_training(*settings)
    kill_when(third, runs / "held", epochs_done(runs / "held") + 1, 0)
    assert epochs_done(runs / "held") > 1


def test_ctrl_c_says_that_it_goes_on(runs: Path) -> None:
    command = [*COMMAND, "--epochs", "500", "--name", "halted", *FEW]
    process = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: epochs_done(runs / "halted") >= 2)
    interrupt(process)


def test_a_disk_that_is_full_in_the_middle(runs: Path) -> None:
    """A limit on the size of files stands for the full disk; the epochs before it are kept."""
    script = """
import json, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from penstroke.runs import epochs
write = epochs.write_epochs
def write_and_fill(run, metrics, checkpoint):
    if metrics[-1]["epoch"] == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    write(run, metrics, checkpoint)
epochs.write_epochs = write_and_fill
from penstroke.cli.main import main
main()
"""
    settings = ["train", "--epochs", "5", "--name", "full", "--no-report", *FEW]
    done = subprocess.run(
        [sys.executable, "-c", script, *settings], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "error: cannot write" in done.stderr
    assert "File too large" in done.stderr
    assert not list((runs / "full" / "checkpoints").glob(".*"))
    process = start_training("--epochs", "5", "--name", "full", *FEW)
    process.communicate()
    assert process.returncode == 0
    through = complete("--epochs", "5", "--name", "through", *FEW)
    assert (runs / "full" / "model.safetensors").read_bytes() == (
        through / "model.safetensors"
    ).read_bytes()
