"""Count the functions that a value passes on its way through the package.

`python scripts/walks.py [--list]`, for "Three walks" in docs/architecture.md: MNIST's IDX files
through training to an answer, an image through HTTP to an answer, a trial through a search. Each
process is profiled (a `sitecustomize` on its path); the functions of the package that run in it
are counted once each, without lambdas and comprehensions, and the files they are in.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

IMAGE = Path(__file__).parents[1] / "examples" / "seven.png"
SITECUSTOMIZE = """
import atexit, os, sys, threading
folder, switch = os.environ["WALK_FOLDER"], os.environ.get("WALK_SWITCH")
seen = set()
def profile(frame, event, arg):
    if event == "call" and "/penstroke/" in frame.f_code.co_filename:
        if switch is None or os.path.exists(switch):
            code = frame.f_code
            seen.add((code.co_filename.rpartition("/penstroke/")[2], code.co_qualname))
def dump():
    with open(f"{folder}/{os.getpid()}", "w") as stream:
        stream.writelines(f"{file} {name}\\n" for file, name in sorted(seen.copy()))
def watch():  # a worker may end without an exit handler: what it has called is written as it runs
    import time
    while True:
        time.sleep(0.1)
        dump()
def start():
    threading.Thread(target=watch, daemon=True).start()
if "penstroke" in " ".join(sys.orig_argv):
    atexit.register(dump)
    os.register_at_fork(after_in_child=start)
    start()
    threading.setprofile(profile)
    sys.setprofile(profile)
"""
SEARCH = """
[data]
dataset = "digits"
[train]
epochs = 1
precision = "float32"
threads = 1
[search]
method = "random"
trials = 1
[search.space]
"train.learning_rate" = { low = 1e-3, high = 1e-2, log = true }
"""


def main() -> int:
    for name, walk in {
        "IDX files to an answer": idx_to_answer,
        "image through HTTP": image_through_http,
        "trial through a search": trial_through_search,
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            functions = walk(Path(folder))
        files = {line.split()[0] for line in functions}
        print(f"{name}: {len(functions)} functions in {len(files)} files")
        if "--list" in sys.argv:
            print("\n".join(f"  {line}" for line in sorted(functions)))
    return 0


def idx_to_answer(folder: Path) -> set[str]:
    """Train on MNIST's IDX files for one epoch, and predict one image."""
    environment = surroundings(folder, PENSTROKE_CACHE=str(folder / "cache"))
    for arguments in (
        ["train", "fast", "--dataset", "mnist", "--name", "model", "--no-report", *PLAIN],
        ["predict", IMAGE, "--model", "model"],
    ):
        run(arguments, folder, environment)
    return recorded(folder)


def image_through_http(folder: Path) -> set[str]:
    """Serve a model and send one image, after one that warms up."""
    run(["train", "fast", "--name", "model", "--no-report", *PLAIN], folder, dict(os.environ))
    switch = folder / "switch"
    environment = surroundings(folder, WALK_SWITCH=str(switch))
    command = [*PENSTROKE, "serve", "model", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        for attempt in range(2):
            if attempt:
                switch.touch()
            request = urllib.request.Request(
                f"{url}/v1/recognize", IMAGE.read_bytes(), {"content-type": "image/png"}
            )
            urllib.request.urlopen(request).close()
        time.sleep(1)  # the profiles are written ten times a second
        functions = recorded(folder)
        process.send_signal(signal.SIGTERM)
    return functions


def trial_through_search(folder: Path) -> set[str]:
    """Search with one trial of one epoch."""
    (folder / "search.toml").write_text(SEARCH)
    run(["tune", "search.toml", "--confirm-seeds", 0, "--no-report"], folder, surroundings(folder))
    return recorded(folder)


PENSTROKE = [sys.executable, "-m", "penstroke"]
PLAIN = ["--set", "train.threads=1", "--set", "train.precision=float32"]


def run(arguments: Sequence[object], folder: Path, environment: dict[str, str]) -> None:
    """Run a command in `folder`."""
    command = [*PENSTROKE, *map(str, arguments), "--json"]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment in which every Python process records the functions it calls."""
    (folder / "profile").mkdir()
    (folder / "profile" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    (folder / "seen").mkdir()
    path = os.pathsep.join([str(folder / "profile"), *sys.path[1:]])
    return {**os.environ, "PYTHONPATH": path, "WALK_FOLDER": str(folder / "seen"), **more}


def recorded(folder: Path) -> set[str]:
    """Return the functions that the processes have recorded: `file name`."""
    lines = {line for path in (folder / "seen").iterdir() for line in path.read_text().splitlines()}
    return {line for line in lines if not line.endswith(">")}


if __name__ == "__main__":
    sys.exit(main())
