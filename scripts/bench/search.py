"""A search beside the usual tuner: a hundred trials of one step, the same cores, in turn."""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import PENSTROKE, Figure, Process, run_process, say
from speed import PEERS, SCRIPTS

TRIALS, BATCH, VALIDATION = 100, 64, 600
RECIPE = f"""
[data]
dataset = "mnist"
validation_fraction = {VALIDATION / 60_000}
train_limit = {BATCH}
[model]
architecture = "cnn"
[[model.convolutions]]
filters = 32
padding = 1
pool = 2
[[model.convolutions]]
filters = 64
padding = 1
pool = 2
[[model.dense]]
units = 128
[[model.dense]]
units = 64
[train]
epochs = 1
batch_size = {BATCH}
precision = "float32"
[search]
method = "random"
trials = {TRIALS}
[search.space]
"train.learning_rate" = {{ low = 1e-4, high = 1e-1, log = true }}
"""


def measure(repeats: int) -> list[Figure]:
    """Return wall times of whole processes, and their ratio pair by pair."""
    ours: list[Process] = []
    peers: list[Process] = []
    for repeat in range(repeats):
        say(f"search: {TRIALS} trials of one step ({repeat + 1} of {repeats})")
        ours.append(_ours())
        if PEERS.exists():
            peers.append(run_process(PEERS, SCRIPTS / "ray_tune.py", TRIALS, BATCH, VALIDATION))
    name = f"{TRIALS} trials of one step"
    figures = [Figure(f"`penstroke tune`, {name}", "s", tuple(p.seconds for p in ours))]
    if peers:
        figures.append(Figure(f"Ray Tune with ASHA, {name}", "s", tuple(p.seconds for p in peers)))
        ratios = tuple(b.seconds / a.seconds for a, b in zip(ours, peers, strict=True))
        figures.append(Figure("Ray Tune to ours", "×", ratios, "≥ 20"))
    return figures


def _ours() -> Process:
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "one-step.toml"
        recipe.write_text(RECIPE)
        return run_process(
            PENSTROKE, "tune", recipe, "--confirm", 0, "--no-report", "--json",
            PENSTROKE_RUNS=folder,
        )  # fmt: skip
