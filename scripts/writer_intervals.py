"""How often 95 % intervals of accuracy hold for new writers: over writers, and over images.

python scripts/writer_intervals.py [RUN]

Each of 1,000 draws is a test split by some writers whose accuracies vary (a beta distribution); an
interval covers if the mean of that distribution is in it. With a run whose test writers are known,
a draw takes 30 of them, and an interval covers if the accuracy of all of them is in it.
"""

from __future__ import annotations

import sys

import numpy as np

from penstroke.evaluation.intervals import new_writer_interval, wilson
from penstroke.evaluation.predictions import Predictions
from penstroke.runs.run import find_run

DRAWS = 1000
SETTINGS = [  # writers, mean accuracy, sum of the beta distribution's parameters: more, less spread
    (10, 0.97, 20), (30, 0.97, 20), (100, 0.97, 20), (300, 0.97, 20),
    (100, 0.90, 5), (100, 0.995, 50), (300, 0.995, 50), (100, 0.97, 1e6),
]  # fmt: skip


def main(run: str | None = None) -> None:
    print(f"{DRAWS:,} draws        writers  mean  sd of writers   covers: writers  images")
    for writers, mean, spread in SETTINGS:
        random = np.random.default_rng(0)
        draws = []
        for _ in range(DRAWS):
            images = random.integers(10, 51, writers)
            shares = random.beta(mean * spread, (1 - mean) * spread, writers)
            draws.append((random.binomial(images, shares), images))
        sd = (mean * (1 - mean) / (spread + 1)) ** 0.5
        show(f"{writers:22}  {100 * mean:4.1f}  {100 * sd:13.1f}", draws, mean)
    if run is not None:
        predictions = Predictions.load(find_run(run).path / "predictions" / "test.safetensors")
        assert predictions.writers is not None
        _, writer = np.unique(predictions.writers, return_inverse=True)
        images, right = np.bincount(writer), np.bincount(writer, predictions.is_right)
        mean = float(predictions.is_right.mean())
        for count in (30, 100):
            random = np.random.default_rng(0)
            chosen = [random.integers(len(images), size=count) for _ in range(DRAWS)]
            title = (
                f"{run[:12]:12}{count:10}  {100 * mean:4.1f}  {100 * (right / images).std():13.1f}"
            )
            show(title, [(right[rows].astype(int), images[rows]) for rows in chosen], mean)


def show(title: str, draws: list[tuple[np.ndarray, np.ndarray]], mean: float) -> None:
    over_writers = over_images = 0
    for right, images in draws:
        (low, high), _ = new_writer_interval(right, images)
        over_writers += low <= mean <= high
        low, high = wilson(int(right.sum()), int(images.sum()))
        over_images += low <= mean <= high
    print(f"{title}   {100 * over_writers / DRAWS:14.1f} %  {100 * over_images / DRAWS:4.1f} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
