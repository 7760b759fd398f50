"""How cost grows: with the images, with the batch, with the width of the network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from measure import ROOT, Figure, Process, run_process, say

PLOTS = ROOT / "docs" / "plots"
SIZES = (6_000, 20_000, 60_000, 200_000, 600_000)
BATCHES = (16, 32, 64, 128, 256, 512, 1024)
WIDTHS = (1, 2, 4, 8)

# One epoch of R1's CNN on MNIST's training images, repeated or cut to a number of them.
EPOCH = """
import json, resource, sys
import numpy as np
from penstroke.data.dataset import Dataset, DataSplits, SealedTest
from penstroke.data.loading import load_dataset
from penstroke.config.recipes import load_recipe
from penstroke.training.loop import fit

images, batch_size, width = map(int, sys.argv[1:])
config = load_recipe("baseline-cnn", {
    "train.batch_size": batch_size, "train.epochs": 1, "train.precision": "bfloat16",
    "model.convolutions.0.filters": 32 * width, "model.convolutions.1.filters": 64 * width,
}).run_config()
whole = load_dataset(config.data)
order = np.resize(np.arange(len(whole.train)), images)
train = whole.train.subset(order)
data = DataSplits("repeated", train, whole.validation, whole.test, "")
del whole
epoch = next(fit(config, data))
print(json.dumps({
    "images": images,
    "seconds": epoch.metrics["elapsed_seconds"],
    "data_megabytes": train.images.nbytes / 1e6,
}))
"""


def measure() -> tuple[list[Figure], list[str]]:
    """Return the figures, and the plots' file names under docs/."""
    PLOTS.mkdir(exist_ok=True)
    by_size = {n: _epoch(n, 64, 1) for n in SIZES}
    by_batch = {b: _epoch(12_000, b, 1) for b in BATCHES}
    by_width = {w: _epoch(max(1_500, 12_000 // w**2), 64, w) for w in WIDTHS}
    rates = {w: max(1_500, 12_000 // w**2) / p.told["seconds"] for w, p in by_width.items()}
    plots = [
        _plot("growth-images", "training images", SIZES, by_size, log=True),
        _plot("growth-batch", "batch size", BATCHES, by_batch, log=True),
        _plot("growth-width", "width of R1's CNN, times", WIDTHS, by_width, log=True),
    ]
    least, most = by_size[SIZES[0]], by_size[SIZES[-1]]
    more_data = most.told["data_megabytes"] - least.told["data_megabytes"]
    ratio = (most.peak_megabytes - least.peak_megabytes) * 1.048576 / more_data
    batch_rates = {b: 12_000 / p.told["seconds"] for b, p in by_batch.items()}
    figures = [
        *(Figure(f"an epoch of {n:,} images", "s", (by_size[n].told["seconds"],)) for n in SIZES),
        *(Figure(f"peak memory, {n:,} images", "MB", (by_size[n].peak_megabytes,)) for n in SIZES),
        Figure("memory added from 6k to 600k, to the images' own bytes", "×", (ratio,), "≤ 1.3"),
        *(Figure(f"batch size {b}", "images/s", (rate,)) for b, rate in batch_rates.items()),
        *(Figure(f"width × {w}", "images/s", (rate,)) for w, rate in rates.items()),
    ]
    return figures, plots


def _epoch(images: int, batch_size: int, width: int) -> Process:
    say(f"growth: {images:,} images, batch size {batch_size}, width × {width}")
    return run_process(sys.executable, "-c", EPOCH, images, batch_size, width)


def _seconds_a_thousand(process: Process) -> float:
    """Return what compares: wider networks are measured on fewer images."""
    return float(1000 * process.told["seconds"] / process.told["images"])


def _plot(name: str, label: str, keys: Sequence[int], found: dict[int, Process], log: bool) -> str:
    """Draw seconds and memory against `keys`; return the plot's path under docs/."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8, 3), layout="constrained")
    rows: list[tuple[str, list[Any]]] = [
        ("seconds of training, 1,000 images", [_seconds_a_thousand(found[k]) for k in keys]),
        ("peak memory of the process, MB", [found[k].peak_megabytes for k in keys]),
    ]
    for axis, (title, values) in zip(canvas.subplots(1, 2), rows, strict=True):
        axis.plot(keys, values, "o-", color="#3b82c4")
        axis.set(xlabel=label, title=title, ylim=(0, None))
        if log:
            axis.set_xscale("log", base=2 if keys[0] < 1000 else 10)
        axis.grid(alpha=0.3)
    canvas.savefig(PLOTS / f"{name}.png", dpi=110)
    return f"plots/{name}.png"
