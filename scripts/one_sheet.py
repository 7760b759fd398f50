"""Measures what one sheet of one hand teaches: a network of other hands, before and after.

    python scripts/one_sheet.py SHEETS [WRITERS]

SHEETS is the folder of images that `penstroke data import … --sheet` cut (labels.csv with writers).
For each of the first WRITERS writers, a network is trained on all others, and fine-tuned on every
second image of this one; the images in between are what it is tested on.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    source = Path(sys.argv[1]).resolve()
    rows = list(csv.DictReader((source / "labels.csv").open()))
    writers = sorted({row["writer"] for row in rows})[: int(sys.argv[2]) if sys.argv[2:] else None]
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        for writer in writers:
            own = [row for row in rows if row["writer"] == writer]
            others = [row for row in rows if row["writer"] != writer]
            errors.append(_measured(Path(folder), source, writer, own, others))
            print(f"{writer}: {_told(errors[-1])}", flush=True)
    print(f"mean of {len(errors)}: {_told(np.mean(errors, axis=0))}")


def _told(errors: Any) -> str:
    before, after = (f"{misread:.2%} ({missed:.2%} with rejected)" for misread, missed in errors)
    return f"misread before {before}, after {after}"


def _measured(
    folder: Path, source: Path, writer: str, own: list[dict[str, str]], others: list[dict[str, str]]
) -> list[tuple[float, float]]:
    """Return the share of misread images, and that of misread or rejected, before and after."""
    parts = {"others": others, "own": own[::2], "rest": own[1::2]}
    for name, part in parts.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        for row in part:
            (folder / name / row["label"]).mkdir(parents=True, exist_ok=True)
            shutil.copy(source / row["file"], folder / name / row["label"])
    for name in ("others", "own"):
        run("data", "import", f"{name}-{writer}", folder / name, "--replace",
            "--test-fraction", "0.05")  # fmt: skip
    run("train", "fast", "--dataset", f"others-{writer}", "--name", f"others-{writer}",
        "--no-report", "--overwrite")  # fmt: skip
    run("train", "--init-from", f"others-{writer}", "--dataset", f"own-{writer}",
        "--name", f"own-{writer}", "--no-report", "--overwrite")  # fmt: skip
    results = [
        run("evaluate", name, "--external", folder / "rest")
        for name in (f"others-{writer}", f"own-{writer}")
    ]
    found = [result["external"][0] for result in results]
    return [(1 - one["forced_accuracy"], 1 - one["accuracy"]) for one in found]


def run(*words: object) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "penstroke", *map(str, words), "--json"],
        check=True, stdout=subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
