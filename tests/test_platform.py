"""What runs on Windows, in a Python without what Windows lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from helpers import drawn_digit

_WINDOWS = """
import os, signal, sys
for module in ("fcntl", "resource", "pwd", "grp", "termios", "uvloop"):
    sys.modules[module] = None
for name in ("SIGHUP", "SIGKILL", "SIGPROF", "setitimer", "pthread_sigmask"):
    delattr(signal, name)
for name in ("fork", "sched_getaffinity", "getuid"):
    delattr(os, name)
from penstroke.cli.main import main
sys.argv = ["penstroke", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
def test_what_runs_on_windows(tmp_path: Path) -> None:
    Image.fromarray(drawn_digit()).save(tmp_path / "seven.png")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _WINDOWS, *arguments], cwd=tmp_path, text=True,
            capture_output=True, env={**os.environ, "PENSTROKE_RUNS": str(tmp_path / "runs")},
        )  # fmt: skip

    train = ("train", "fast", "--name", "a", "--set", "train.epochs=1", "--set",
             "data.max_train_images=200", "--no-report")  # fmt: skip
    for arguments in (
        train,
        ("predict", "seven.png", "--model", "a"),
        ("read", "seven.png", "--model", "a"),
        ("export", "a", "--output", "b.onnx"),
        ("runs", "list"),
    ):
        done = run(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    served = run("serve", "a", "--port", "0")
    assert served.returncode == 1
    assert "does not run on Windows itself: use it in WSL" in served.stderr.splitlines()[-1]
