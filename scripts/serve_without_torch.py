"""Install the service where no torch is, and have it read: `make serve-without-torch`.

MODEL, the first argument, is a model.onnx; without one a run of the folder of runs is taken.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGE = ROOT / "examples" / "seven.png"


def main() -> int:
    model = sys.argv[1] if len(sys.argv) > 1 else newest_model()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        binaries = Path(folder) / "bin"
        install: list[str | Path] = [binaries / "pip", "install", "--quiet", f"{ROOT}[serve]"]
        subprocess.run(install, check=True)
        listed = subprocess.run(
            [binaries / "pip", "list", "--format=json"], check=True, capture_output=True
        )
        names = {package["name"] for package in json.loads(listed.stdout)}
        assert not names & {"torch", "scikit-learn", "onnx", "matplotlib"}, names
        predict: list[str | Path] = [binaries / "penstroke", "predict", model, IMAGE]
        subprocess.run(predict, check=True)
        print(f"read over HTTP: {ask(binaries / 'penstroke', model)}; packages: {len(names)}")
    return 0


def newest_model() -> str:
    """Return the model of the run that was finished last."""
    models = sorted((ROOT / "runs").glob("*/model.onnx"), key=lambda path: path.stat().st_mtime)
    if not models:
        raise SystemExit("no model here yet: make demo, or name one")
    return str(models[-1])


def ask(penstroke: Path, model: str) -> str:
    """Return what a service of its own reads in the image."""
    command = [str(penstroke), "serve", model, "--port", "0", "--json", "--shutdown-grace", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
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
