"""Training while another process keeps one processor core busy: ours, and plain PyTorch."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from measure import PENSTROKE, Figure, run_process, say
from speed import ALL_IMAGES, NEVER, SCRIPTS

_SPIN = "import os\nos.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile True: pass"
_FEW_IMAGES = 6_000
"""Plain PyTorch trains on these alone; five epochs of all would take most of an hour."""


def measure(repeats: int) -> list[Figure]:
    """Return the figures; whole processes, in turn."""
    idle: list[float] = []
    busy: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train = (PENSTROKE, "train", "fast", "--dataset", "mnist", "--no-report", "--overwrite")
        peer = (sys.executable, SCRIPTS / "plain_torch.py", 1, _FEW_IMAGES, NEVER)
        for repeat in range(repeats):
            say(f"busy: round {repeat + 1} of {repeats}")
            idle.append(run_process(*train, PENSTROKE_RUNS=folder).seconds)
            with _busy_core():
                busy.append(run_process(*train, PENSTROKE_RUNS=folder).seconds)
                plain.append(run_process(*peer).told["images_a_second"])
    pairs = tuple(zip(idle, busy, plain, strict=True))
    return [
        Figure("`penstroke train fast --no-report`, idle", "s", tuple(idle)),
        Figure("… beside a busy core", "s", tuple(busy)),
        Figure("speed beside a busy core to idle", "×", tuple(a / b for a, b, _ in pairs), "≥ 0.5"),
        Figure("plain PyTorch beside a busy core", "images/s", tuple(plain)),
        Figure(
            "five epochs at that speed, to `fast` beside a busy core", "×",
            tuple(5 * ALL_IMAGES / rate / b for _, b, rate in pairs), "≥ 30",
        ),
    ]  # fmt: skip


@contextlib.contextmanager
def _busy_core() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", _SPIN])
    try:
        yield
    finally:
        process.kill()
        process.wait()
