"""Ray Tune as its documentation shows it: a trainable, ASHA, one processor a trial.

usage: ray_tune.py TRIALS PICTURES VALIDATION
"""

import json
import os
import sys
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import torch
from common import load, r1_network
from ray import tune
from ray.tune.schedulers import ASHAScheduler

TRIALS, PICTURES, VALIDATION = map(int, sys.argv[1:4])


def trainable(config, data):
    torch.set_num_threads(1)
    images, labels, validation_images, validation_labels = (torch.from_numpy(a) for a in data)
    network = r1_network()
    optimizer = torch.optim.Adam(network.parameters(), config["learning_rate"])
    loss = torch.nn.functional.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        right = (network(validation_images).argmax(1) == validation_labels).float().mean()
    tune.report({"accuracy": float(right)})


def main():
    start = time.perf_counter()
    images, labels = load("train")
    images = (images[: PICTURES + VALIDATION, None].astype("float32") / 255 - 0.1307) / 0.3081
    labels = labels[: PICTURES + VALIDATION].astype("int64")
    data = (images[:PICTURES], labels[:PICTURES], images[PICTURES:], labels[PICTURES:])
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, data=data), {"cpu": 1}),
        param_space={"learning_rate": tune.loguniform(1e-4, 1e-1)},
        tune_config=tune.TuneConfig(
            num_samples=TRIALS, metric="accuracy", mode="max", scheduler=ASHAScheduler()
        ),
    )
    results = tuner.fit()
    print(json.dumps({"trials": len(results), "seconds": time.perf_counter() - start,
                      "best": results.get_best_result().metrics["accuracy"]}))


if __name__ == "__main__":
    main()
