"""What every benchmark shares: whole processes timed from outside, and one shape for a figure."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
_WATCH_SECONDS = 0.1
PENSTROKE = str(Path(sys.executable).parent / "penstroke")


@dataclass(frozen=True)
class Process:
    """One finished process: wall time, peak memory, and its last line of JSON."""

    seconds: float
    peak_megabytes: float
    told: dict[str, Any]


def run_process(*command: object, **environment: str) -> Process:
    """Run `command` from cold and return what it cost.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {out[-500:]}")
    lines = [line for line in out.splitlines() if line.startswith("{")]
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "linux" else 1024
    return Process(seconds, usage.ru_maxrss / unit / 1024, json.loads(lines[-1]) if lines else {})


def peak_megabytes(*command: object, **environment: str) -> float:
    """Run `command`, and return the most memory of all its processes; what they share counts once.

    RuntimeError: it failed.
    """
    words = [str(part) for part in command]
    process = subprocess.Popen(words, env=os.environ | environment, stdout=subprocess.DEVNULL)
    root, peak = psutil.Process(process.pid), 0.0
    while process.poll() is None:
        peak = max(peak, _megabytes(root))
        time.sleep(_WATCH_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed")
    return peak


def _megabytes(root: psutil.Process) -> float:
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss if sys.platform == "linux" else 0
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0.0
    return total / 1e6


def trained_model(folder: str, part: str) -> Path:
    """Return a run of the default network in `folder`, trained for an epoch of MNIST."""
    say(f"{part}: training the default network for one epoch")
    run_process(
        PENSTROKE, "train", "--dataset", "mnist", "--epochs", 1, "--name", "model",
        "--no-report", "--json", PENSTROKE_RUNS=folder,
    )  # fmt: skip
    return Path(folder) / "model"


@dataclass(frozen=True)
class Figure:
    """One measured thing: every value, and the goal it is held to, if any."""

    name: str
    unit: str
    values: tuple[float, ...]
    goal: str = ""

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def row(self) -> str:
        """Return a row of a Markdown table."""
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 3
        low, high = min(self.values), max(self.values)
        spread = f"{low:,.{digits}f} – {high:,.{digits}f}" if len(self.values) > 1 else "one run"
        return f"| {self.name} | {self.median:,.{digits}f} {self.unit} | {spread} | {self.goal} |"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "median": self.median}


def table(figures: list[Figure]) -> list[str]:
    """Return a Markdown table, as lines."""
    head = ["| what | median | least – most | goal |", "|---|---|---|---|"]
    return [*head, *(figure.row() for figure in figures), ""]


def say(text: str) -> None:
    """Tell the person who waits what is being measured."""
    print(text, file=sys.stderr, flush=True)
