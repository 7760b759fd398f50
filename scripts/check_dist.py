"""Build wheel and sdist, and use the wheel outside the source tree: `make dist`.

The first environment has the base package alone, without torch: it predicts and answers over HTTP,
by the model in the wheel. The second, with the extra `train`, trains a model that the first reads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGE = ROOT / "examples" / "seven.png"
HEAVY = {"torch", "scikit-learn", "onnx", "matplotlib", "optuna"}


def main() -> int:
    run([sys.executable, "-m", "build", "--outdir", ROOT / "dist", ROOT], ROOT)
    (wheel,) = sorted((ROOT / "dist").glob("*.whl"), key=os.path.getmtime)[-1:]
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder)
        started = time.monotonic()
        reader = environment(outside / "base", str(wheel), outside)
        run([reader / "penstroke", "predict", IMAGE], outside)
        seconds = time.monotonic() - started
        listed = subprocess.check_output([reader / "pip", "list", "--format=json"])
        packages = {package["name"] for package in json.loads(listed)}
        assert not packages & HEAVY, packages & HEAVY
        label = ask(reader / "penstroke", outside)
        trainer = environment(outside / "train", f"{wheel}[train]", outside)
        run([trainer / "penstroke", "train", "fast", "--name", "model", "--no-report"], outside)
        run([reader / "penstroke", "predict", IMAGE, "--model", "model"], outside)
        print(
            f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB: installed and predicted in "
            f"{seconds:.0f} s, served a {label}, with {len(packages)} packages; then trained"
        )
    return 0


def environment(path: Path, requirement: str, outside: Path) -> Path:
    """Return the bin folder of a new virtual environment with `requirement` installed."""
    run([sys.executable, "-m", "venv", path], outside)
    run([path / "bin" / "pip", "install", "--quiet", requirement], outside)
    return path / "bin"


def run(command: list[str | Path], folder: Path) -> None:
    """Run `command` in `folder`, without the source tree on the path; it must succeed."""
    print("$", *(Path(command[0]).name, *command[1:]), flush=True)
    unset = {"PYTHONPATH", "PENSTROKE_RUNS"}
    clean = {name: value for name, value in os.environ.items() if name not in unset}
    subprocess.run(command, cwd=folder, env=clean, check=True)


def ask(penstroke: Path, folder: Path) -> str:
    """Return the label that a service of the bundled models answers for the image."""
    command = [str(penstroke), "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            request = urllib.request.Request(
                f"{url}/v1/recognize", IMAGE.read_bytes(), {"content-type": "image/png"}
            )
            with urllib.request.urlopen(request) as answer:
                return str(json.load(answer)["label"])
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
