"""Measure what a person waits for, and write docs/benchmarks.md and .json: `make bench`.

Whole processes are started from cold and taken in turn, several times; the median is quoted.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstroke.training.device import allowed_cores
from penstroke.workflow import package_versions, processor_name

ROOT = Path(__file__).parents[1]
PENSTROKE = str(Path(sys.executable).parent / "penstroke")
REPEATS = 9
OPEN_MNIST = """
import time
from penstroke.datasets import load_dataset
start = time.perf_counter()
load_dataset("mnist")
print(time.perf_counter() - start)
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PENSTROKE_RUNS"] = f"{folder}/runs"
        memory = train_published_cnn()
        rows = [*waits(f"{folder}/runs/cnn"), *opening(folder), memory]
    machine = {"processor": processor_name(), "cores": allowed_cores(), **package_versions()}
    found = {"machine": machine, "repeats": REPEATS, "figures": rows}
    (ROOT / "docs" / "benchmarks.json").write_text(json.dumps(found, indent=2) + "\n")
    page = render(machine, rows)
    (ROOT / "docs" / "benchmarks.md").write_text(page)
    print(page)
    return 0


def train_published_cnn() -> dict[str, Any]:
    """Train R1's CNN as a process of its own; return its peak memory."""
    arguments = [PENSTROKE, "train", "baseline-cnn", "--name", "cnn", "--no-report", "--json"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    kilobytes = usage.ru_maxrss  # Linux counts in kilobytes
    return figure("peak memory of `penstroke train baseline-cnn`", "MB", [kilobytes / 1024], 1200)


def waits(run: str) -> list[dict[str, Any]]:
    """Time whole processes, in turn."""
    commands = {
        "`python -c pass`, for comparison": ([sys.executable, "-c", "pass"], None),
        "`penstroke --help`": ([PENSTROKE, "--help"], 0.25),
        "`penstroke predict` of one picture": (
            [PENSTROKE, "predict", run, str(ROOT / "examples" / "seven.png")], 0.6,
        ),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(REPEATS + 1):
        for name, (command, _) in commands.items():
            seconds[name].append(timed(lambda command=command: run_quietly(command)))  # type: ignore[misc]
    # The first of each found a cold disk.
    return [figure(n, "s", taken[1:], commands[n][1]) for n, taken in seconds.items()]


def opening(folder: str) -> list[dict[str, Any]]:
    """Time opening MNIST: decoding it anew, and once it was."""
    first: list[float] = []
    after: list[float] = []
    for repeat in range(REPEATS):
        environment = os.environ | {"PENSTROKE_CACHE": f"{folder}/cache-{repeat}"}
        for times in (first, after):
            command = [sys.executable, "-c", OPEN_MNIST]
            done = subprocess.run(command, env=environment, capture_output=True, check=True)
            times.append(float(done.stdout))
    return [
        figure("opening MNIST, the first time", "s", first, 1.0),
        figure("opening MNIST, after that", "s", after, 0.1),
    ]


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def run_quietly(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, check=True)


def figure(name: str, unit: str, values: list[float], limit: float | None) -> dict[str, Any]:
    return {"name": name, "unit": unit, "median": statistics.median(values), "limit": limit,
            "least": min(values), "most": max(values)}  # fmt: skip


def render(machine: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the page."""
    lines = [
        "# Benchmarks", "",
        "Written by `make bench`, with benchmarks.json beside it; do not edit. Medians of "
        f"{REPEATS} cold processes, taken in turn (memory: of one).", "",
        f"Machine: {machine['processor']}, {machine['cores']} cores; torch {machine['torch']}, "
        f"ONNX Runtime {machine['onnxruntime']}, Python {machine['python']}.", "",
        "| what | median | least – most | goal |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        digits = 0 if row["unit"] == "MB" else 3
        unit = row["unit"]
        goal = "–" if row["limit"] is None else f"< {row['limit']:g} {unit}"
        lines.append(
            f"| {row['name']} | {row['median']:.{digits}f} {unit} | "
            f"{row['least']:.{digits}f} – {row['most']:.{digits}f} | {goal} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
