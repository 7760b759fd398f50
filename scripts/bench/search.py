"""A search beside the usual tuners: the same space, budget and cores, whole processes in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from measure import PENSTROKE, Figure, Process, run_process, say
from speed import PEERS, SCRIPTS

TRIALS, BATCH = 100, 64
MAX_EPOCHS, ETA, IMAGES, VALIDATION = 9, 3, 2000, 1200
ONE_STEP = f"""
[data]
dataset = "mnist"
validation_fraction = {VALIDATION / 60_000}
max_train_images = {BATCH}
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
[search]
method = "random"
trials = {TRIALS}
[search.space]
"train.learning_rate" = {{ low = 1e-4, high = 1e-2, log = true }}
"""


def measure(repeats: int) -> list[Figure]:
    """Return wall times, what they found, and ratios pair by pair."""
    return _one_step(repeats) + _hyperband(max(1, repeats // 2))


def _one_step(repeats: int) -> list[Figure]:
    contestants: dict[str, Callable[[], Process]] = {"`penstroke tune`": _tune_one_step}
    if PEERS.exists():
        contestants["Ray Tune with ASHA"] = lambda: run_process(
            PEERS, SCRIPTS / "tuner_ray.py", TRIALS, 0, ETA, BATCH, VALIDATION
        )
    return _compare(f"{TRIALS} trials of one step", contestants, repeats, "≥ 20")


def _hyperband(repeats: int) -> list[Figure]:
    contestants: dict[str, Callable[[], Process]] = {"`penstroke tune hyperband-cnn`": _tune_r2}
    if PEERS.exists():
        contestants["Keras Tuner's Hyperband"] = lambda: run_process(
            PEERS, SCRIPTS / "tuner_keras.py", MAX_EPOCHS, ETA, IMAGES, VALIDATION
        )
        contestants["Ray Tune with ASHA"] = lambda: run_process(
            PEERS, SCRIPTS / "tuner_ray.py", 17, MAX_EPOCHS, ETA, IMAGES, VALIDATION
        )
    what = f"R2's space, {MAX_EPOCHS} epochs, {IMAGES:,} images"
    return _compare(what, contestants, repeats, "")


def _compare(
    what: str, contestants: dict[str, Callable[[], Process]], repeats: int, goal: str
) -> list[Figure]:
    found: dict[str, list[Process]] = {name: [] for name in contestants}
    for repeat in range(repeats):
        for name, run in contestants.items():
            say(f"search: {what}: {name} ({repeat + 1} of {repeats})")
            found[name].append(run())
    figures = []
    for name, runs in found.items():
        told = runs[-1].told
        best = told.get("val_accuracy", told.get("best_metric", 0.0))
        label = f"{name}, {what}: {told['trials']} trials, best {100 * best:.2f} %"
        figures.append(Figure(label, "s", tuple(run.seconds for run in runs)))
    ours, *others = found.items()
    for name, runs in others:
        ratios = tuple(b.seconds / a.seconds for a, b in zip(ours[1], runs, strict=True))
        figures.append(Figure(f"{name} to ours, {what}", "×", ratios, goal))
    return figures


def _tune_one_step() -> Process:
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "one-step.toml"
        recipe.write_text(ONE_STEP)
        return _tune(folder, recipe)


def _tune_r2() -> Process:
    with tempfile.TemporaryDirectory() as folder:
        limits = (
            f"data.max_train_images={IMAGES}", f"data.validation_fraction={VALIDATION / 60_000}",
            f"search.max_epochs={MAX_EPOCHS}", f"search.eta={ETA}",
        )  # fmt: skip
        return _tune(folder, "hyperband-cnn", *(w for limit in limits for w in ("--set", limit)))


def _tune(folder: str, *arguments: object) -> Process:
    """Search to its end; the best is trained and judged too, which the others leave undone."""
    return run_process(
        PENSTROKE, "tune", *arguments, "--confirm-seeds", 0, "--no-report", "--json",
        PENSTROKE_RUNS=folder,
    )  # fmt: skip
