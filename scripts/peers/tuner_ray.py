"""Ray Tune with ASHA, as its documentation shows it: over R2's space, or a hundred single steps.

usage: tuner_ray.py TRIALS MAX_EPOCHS ETA IMAGES VALIDATION; with MAX_EPOCHS 0 each trial takes
one step, on a batch of IMAGES, of R1's network.
"""

from __future__ import annotations

import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import torch
from common import mnist, tell
from plain_torch import network
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Data = tuple[Tensor, Tensor, Tensor, Tensor]


def one_step(config: dict[str, float], data: Data) -> None:
    torch.set_num_threads(1)
    images, labels, val_images, val_labels = data
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), config["learning_rate"])
    cross_entropy(model(images), labels).backward()
    optimizer.step()
    tune.report({"val_accuracy": accuracy(model, val_images, val_labels)})


def epochs(config: dict[str, float], data: Data, max_epochs: int) -> None:
    torch.set_num_threads(1)
    images, labels, val_images, val_labels = data
    conv1, conv2, dense = (int(config[name]) for name in ("conv1", "conv2", "dense"))
    model = nn.Sequential(
        nn.Conv2d(1, conv1, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(conv1, conv2, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(25 * conv2, dense), nn.ReLU(),
        nn.Dropout(config["dropout"]), nn.Linear(dense, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), config["learning_rate"])
    for _ in range(max_epochs):
        model.train()
        for batch in torch.randperm(len(images)).split(208):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        model.eval()
        tune.report({"val_accuracy": accuracy(model, val_images, val_labels)})


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((model(images).argmax(1) == labels).float().mean())


def main(trials: int, max_epochs: int, eta: int, train_count: int, validation: int) -> None:
    (images, labels), _ = mnist()
    images = ((images[:, None] / 255 - 0.1307) / 0.3081).astype("float32")
    end = train_count + validation
    data = tuple(map(torch.from_numpy, (
        images[:train_count], labels[:train_count],
        images[train_count:end], labels[train_count:end],
    )))  # fmt: skip
    rate = {"learning_rate": tune.loguniform(1e-4, 1e-2)}
    space = rate if max_epochs == 0 else rate | {
        "conv1": tune.qrandint(64, 256, 32), "conv2": tune.qrandint(64, 256, 32),
        "dense": tune.qrandint(128, 256, 32), "dropout": tune.quniform(0.2, 0.8, 0.1),
    }  # fmt: skip
    trainable = (
        tune.with_parameters(one_step, data=data) if max_epochs == 0
        else tune.with_parameters(epochs, data=data, max_epochs=max_epochs)
    )  # fmt: skip
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    scheduler = ASHAScheduler(max_t=max(max_epochs, 1), reduction_factor=eta)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}), param_space=space,
        tune_config=tune.TuneConfig(
            num_samples=trials, metric="val_accuracy", mode="max", scheduler=scheduler
        ),
    )  # fmt: skip
    results = tuner.fit()
    best = results.get_best_result(scope="all").metrics["val_accuracy"]
    tell(trials=len(results), val_accuracy=best)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:6]))
