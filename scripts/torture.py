"""Kill a search at random moments, go on, and compare: `make torture`.

A search of about 20 trials a round is run once undisturbed. Then again, and its driver, or one of
its workers, is ended with SIGKILL at a random moment; the same command goes on, until all kills
are dealt out. Each time a search comes to its end, what it found is compared with the undisturbed
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
    parser.add_argument("--rounds", type=int, default=2, help="of Hyperband in a search")
    parser.add_argument("--storage", default="", help="Optuna storage URL instead of SQLite")
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    asked = parser.parse_args()
    victims: Victims = OnCluster() if asked.engine == "ray" else OnThisMachine()
    storage = ["--storage", asked.storage] if asked.storage else []
    with tempfile.TemporaryDirectory() as folder, victims:
        found = torture(Path(folder), asked.kills, asked.seed, asked.rounds, victims, storage)
    print(json.dumps(found))
    return 0 if found["different"] == 0 else 1


class Victims(Protocol):
    """Who can be killed beside the driver."""

    options: list[str]
    """Of `penstroke tune`."""

    def __enter__(self) -> object: ...
    def __exit__(self, *error: object) -> None: ...

    def kill_one(self, driver: int, draw: random.Random) -> int:
        """Kill somebody who works for the process `driver`; return how many died."""


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
        """Take a node away, with all that it does, and add a new one."""
        del driver
        node = self._nodes.pop(draw.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        self._nodes.append(self._cluster.add_node(num_cpus=1))
        return 1


def torture(
    folder: Path, kills: int, seed: int, rounds: int,
    victims: Victims | None = None, storage: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return how many kills there were, of whom, and how many searches came out different."""
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
    found: dict[str, Any] = {"trials": len(expected), "driver": 0, "worker": 0, "searches": 0,
                             "different": 0}  # fmt: skip
    while found["driver"] + found["worker"] < kills:
        name = f"tortured-{found['searches']}"
        while _killed(command, name, victims, draw, usual_seconds, found, kills):
            print(json.dumps(found), file=sys.stderr, flush=True)
        found["searches"] += 1
        if remains(name) != expected:
            found["different"] += 1
            shutil.copytree(folder / "runs" / name, Path(tempfile.gettempdir()) / name)
    return found


def _killed(
    command: list[str], name: str, victims: Victims, draw: random.Random, usual_seconds: float,
    found: dict[str, Any], kills: int,
) -> bool:  # fmt: skip
    """Run the search; return whether its driver was killed before the end."""
    driver = _search(command, name)
    moment = time.monotonic() + draw.uniform(0.2, 0.8 * usual_seconds)
    is_enough = found["driver"] + found["worker"] >= kills
    victim = draw.choice(["driver", "driver", "worker"])
    while driver.poll() is None:
        if not is_enough and time.monotonic() > moment:
            if victim == "driver":
                driver.kill()
                driver.wait()
                found["driver"] += 1
                return True
            found["worker"] += victims.kill_one(driver.pid, draw)
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
    """Return all that a study found, without times."""
    from penstroke.search.study import find_study

    study = find_study(name)
    assert study is not None
    trials = study.trials()
    numbers = [t.user_attrs["trial"] for t in study.ledger.study.get_trials(deepcopy=False)]
    assert len(numbers) == len(set(numbers)), "a trial is there twice"
    assert all(trial.state.is_finished() for trial in trials.values()), "a trial is not finished"
    found = {}
    for number, trial in sorted(trials.items()):
        history = (study.path / "trials" / f"{number:04d}" / "history.jsonl").read_text()
        losses = [json.loads(line)["val_loss"] for line in history.splitlines()]
        found[number] = (trial.user_attrs["settings"], trial.state.name, trial.value, losses)
    return found


if __name__ == "__main__":
    sys.exit(main())
