"""Ray Tune as its documentation shows it: a trainable, ASHA, one processor a trial of one step."""

from __future__ import annotations

import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import torch
from common import Split, mnist, tell
from plain_torch import network
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch.nn.functional import cross_entropy


def trainable(config: dict[str, float], data: tuple[Split, Split]) -> None:
    torch.set_num_threads(1)
    (images, labels), (val_images, val_labels) = (
        (torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in data
    )
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), config["learning_rate"])
    cross_entropy(model(images), labels).backward()
    optimizer.step()
    with torch.no_grad():
        accuracy = (model(val_images).argmax(1) == val_labels).float().mean()
    tune.report({"val_accuracy": float(accuracy)})


def main() -> None:
    trials, batch, validation = map(int, sys.argv[1:4])
    (images, labels), _ = mnist()
    images = ((images[: batch + validation, None] / 255 - 0.1307) / 0.3081).astype("float32")
    data = (images[:batch], labels[:batch]), (images[batch:], labels[batch : batch + validation])
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, data=data), {"cpu": 1}),
        param_space={"learning_rate": tune.loguniform(1e-4, 1e-1)},
        tune_config=tune.TuneConfig(
            num_samples=trials, metric="val_accuracy", mode="max", scheduler=ASHAScheduler()
        ),
    )
    results = tuner.fit()
    best = results.get_best_result().metrics["val_accuracy"]
    tell(trials=len(results), val_accuracy=best)


if __name__ == "__main__":
    main()
