"""Kill a search at random moments, resume it, and compare: `make torture`.

A search of about 20 trials per round is run once undisturbed. Then it is run again and again, its
driver or one of its workers ended with SIGKILL at a random moment, and resumed by the same command,
until the given number of kills is reached. Each completed search is compared with the undisturbed
one: the same trials, states, scores and learning curves, none lost, none twice, none left running.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

RECIPE = """
[data]
dataset = "digits"
max_train_images = 400
[model]
architecture = "cnn"
dense = []
[[model.convolutions]]
filters = 8
padding = 1
pool = 2
[train]
precision = "float32"
[search]
method = "hyperband"
eta = 2
max_epochs = 8
rounds = {rounds}
[search.space]
"train.learning_rate" = { low = 1e-4, high = 3e-2, log = true }
"train.batch_size" = { choices = [16, 32, 64] }
"model.convolutions.0.filters" = { low = 4, high = 12, step = 4 }
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2, help="rounds of Hyperband in a search")
    parser.add_argument("--storage", default="", help="Optuna storage URL instead of SQLite")
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    options = parser.parse_args()
    victims: Victims = OnCluster() if options.engine == "ray" else OnThisMachine()
    storage = ["--storage", options.storage] if options.storage else []
    with tempfile.TemporaryDirectory() as folder, victims:
        counts = torture(
            Path(folder), options.kills, options.seed, options.rounds, victims, storage
        )
    print(json.dumps(counts))
    return 0 if counts["different"] == 0 else 1


class Victims(Protocol):
    """What can be killed besides the driver."""

    options: list[str]
    """Of `penstroke tune`."""

    def __enter__(self) -> object: ...
    def __exit__(self, *error: object) -> None: ...

    def kill_one(self, driver: int, draw: random.Random) -> int:
        """Kill a worker of the process `driver`; return how many died."""


class OnThisMachine(contextlib.nullcontext[None]):
    """The local engine: processes of the driver."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[str] = []

    def kill_one(self, driver: int, draw: random.Random) -> int:
        """Kill one of the driver's processes."""
        try:
            draw.choice(psutil.Process(driver).children()).kill()
        except (psutil.NoSuchProcess, IndexError):
            return 0
        return 1


class OnCluster:
    """The Ray engine: two nodes that train beside the head, one of which dies and is replaced."""

    def __init__(self) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self._nodes = [self._cluster.add_node(num_cpus=1) for _ in range(2)]
        self.options = ["--engine", "ray", "--address", self._cluster.address]

    def __enter__(self) -> object:
        return self

    def __exit__(self, *error: object) -> None:
        self._cluster.shutdown()  # type: ignore[no-untyped-call]

    def kill_one(self, driver: int, draw: random.Random) -> int:
        """Remove a node with everything on it, and add a new one."""
        del driver
        node = self._nodes.pop(draw.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._cluster.add_node(num_cpus=1))
        return 1


def torture(
    folder: Path, kills: int, seed: int, rounds: int,
    victims: Victims | None = None, storage: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the number of kills of each kind, and of searches with a different result."""
    recipe = folder / "torture.toml"
    recipe.write_text(RECIPE.replace("{rounds}", str(rounds)))
    os.environ["PENSTROKE_RUNS"] = str(folder / "runs")
    victims = victims or OnThisMachine()
    command = [sys.executable, "-m", "penstroke", "tune", str(recipe), "--no-report", "--json",
               "--confirm-seeds", "0", *storage, *victims.options]  # fmt: skip
    draw = random.Random(seed)
    start = time.monotonic()
    _search(command, "undisturbed").wait()
    usual_seconds = time.monotonic() - start
    expected = remains("undisturbed")
    counts: dict[str, Any] = {"trials": len(expected), "driver": 0, "worker": 0, "searches": 0,
                              "different": 0}  # fmt: skip
    while counts["driver"] + counts["worker"] < kills:
        name = f"tortured-{counts['searches']}"
        while _killed(command, name, victims, draw, usual_seconds, counts, kills):
            print(json.dumps(counts), file=sys.stderr, flush=True)
        counts["searches"] += 1
        if remains(name) != expected:
            counts["different"] += 1
            shutil.copytree(folder / "runs" / name, Path(tempfile.gettempdir()) / name)
    return counts


def _killed(
    command: list[str], name: str, victims: Victims, draw: random.Random, usual_seconds: float,
    counts: dict[str, Any], kills: int,
) -> bool:  # fmt: skip
    """Run the search; return whether its driver was killed before the end."""
    driver = _search(command, name)
    moment = time.monotonic() + draw.uniform(0.2, 0.8 * usual_seconds)
    is_enough = counts["driver"] + counts["worker"] >= kills
    victim = draw.choice(["driver", "driver", "worker"])
    while driver.poll() is None:
        if not is_enough and time.monotonic() > moment:
            if victim == "driver":
                driver.kill()
                driver.wait()
                counts["driver"] += 1
                return True
            counts["worker"] += victims.kill_one(driver.pid, draw)
            moment += draw.uniform(0.2, 0.8 * usual_seconds)
        time.sleep(0.01)
    if driver.returncode != 0:
        raise SystemExit(f"{name} ended with exit code {driver.returncode}")
    return False


def _search(command: list[str], name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, "--name", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def remains(name: str) -> dict[int, Any]:
    """Return the trials of a study, without times."""
    import optuna

    from penstroke.search.study import Study

    study = Study.find(name)
    assert study is not None
    trials = study.store.trials()
    url = study.record.storage or f"sqlite:///{study.path.absolute() / 'study.db'}"
    stored = optuna.load_study(study_name=study.name, storage=url).get_trials(deepcopy=False)
    numbers = [trial.user_attrs["trial"] for trial in stored]
    assert len(numbers) == len(set(numbers)), "a trial is there twice"
    ended = ("complete", "pruned", "failed")
    assert all(trial.state in ended for trial in trials.values()), "a trial is not finished"
    results = {}
    for number, trial in sorted(trials.items()):
        history = (study.path / "trials" / f"{number:04d}" / "history.jsonl").read_text()
        losses = [json.loads(line)["val_loss"] for line in history.splitlines()]
        results[number] = (trial.settings, trial.state, trial.metric, losses)
    return results


if __name__ == "__main__":
    sys.exit(main())
