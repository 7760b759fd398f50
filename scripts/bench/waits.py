"""What a person waits for: cold starts, opening data; and the memory that training takes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import PENSTROKE, ROOT, Figure, run_process, say

OPEN_MNIST = """
import time
from penstroke.data.loading import load_dataset
start = time.perf_counter()
load_dataset("mnist")
print('{"seconds": %f}' % (time.perf_counter() - start))
"""


def measure(repeats: int) -> list[Figure]:
    """Return the figures; whole processes, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        say("waits: training R1's CNN once")
        train = [PENSTROKE, "train", "baseline-cnn", "--name", "cnn", "--no-report", "--json"]
        memory = run_process(*train, PENSTROKE_RUNS=folder).peak_megabytes
        return [
            *_cold_starts(Path(folder) / "cnn", repeats),
            *_opening(Path(folder), repeats),
            Figure("peak memory of `penstroke train baseline-cnn`", "MB", (memory,), "< 1,200 MB"),
        ]


def _cold_starts(run: Path, repeats: int) -> list[Figure]:
    commands: dict[str, tuple[list[object], str]] = {
        "`python -c pass`, for comparison": ([sys.executable, "-c", "pass"], ""),
        "`penstroke --help`": ([PENSTROKE, "--help"], "< 0.25 s"),
        "`penstroke predict` of one image": (
            [PENSTROKE, "predict", ROOT / "examples" / "seven.png", "--model", run], "< 0.6 s",
        ),
    }  # fmt: skip
    say("waits: cold starts")
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        for name, (command, _) in commands.items():
            seconds[name].append(run_process(*command).seconds)
    # The first of each found a cold disk.
    return [Figure(n, "s", tuple(taken[1:]), commands[n][1]) for n, taken in seconds.items()]


def _opening(folder: Path, repeats: int) -> list[Figure]:
    say("waits: opening MNIST")
    first: list[float] = []
    after: list[float] = []
    for repeat in range(repeats):
        cache = str(folder / f"cache-{repeat}")
        for times in (first, after):
            process = run_process(sys.executable, "-c", OPEN_MNIST, PENSTROKE_CACHE=cache)
            times.append(process.told["seconds"])
    return [
        Figure("opening MNIST, the first time", "s", tuple(first), "< 1 s"),
        Figure("opening MNIST, after that", "s", tuple(after), "< 0.1 s"),
    ]
