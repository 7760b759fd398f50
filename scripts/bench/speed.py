"""Ours beside the field's usual ways, in one run, in turn: images a second, wall time, memory.

The peers live in an environment of their own (`make bench-peers`); without it, ours alone.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import PENSTROKE, ROOT, Figure, Process, run_process, say

PEERS = ROOT / ".venv-peers" / "bin" / "python"
SCRIPTS = ROOT / "scripts" / "peers"
ALL_IMAGES = 60_000
NEVER = 2.0  # a test accuracy that is not reached: train all epochs
KERAS_NETWORK = """
[data]
dataset = "mnist"
validation_fraction = 0.1
[model]
architecture = "cnn"
dense = []
[[model.convolutions]]
filters = 32
pool = 2
[[model.convolutions]]
filters = 64
pool = 2
dropout = 0.5
[train]
batch_size = 128
optimizer = "adam"
learning_rate = 0.001
checkpoint_metric = "last"
"""

Contestants = dict[str, Callable[[], Process]]


def measure(repeats: int) -> dict[str, list[Figure]]:
    """Return the figures, by section."""
    with tempfile.TemporaryDirectory() as folder:
        own = _Own(Path(folder))
        sections = {"images a second, one epoch": _throughput(own, repeats)}
        sections["the whole process"] = _whole(own, max(1, repeats // 3))
        sections["arithmetic"] = _arithmetic(own.rates["`penstroke train baseline-cnn`"])
    return sections


class _Own:
    """Our side: trains in a folder that goes away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rates: dict[str, list[float]] = {}
        (folder / "keras-example.toml").write_text(KERAS_NETWORK)

    def train(self, *arguments: object) -> Process:
        return run_process(
            PENSTROKE, "train", *arguments, "--overwrite", "--no-report", "--json",
            PENSTROKE_RUNS=str(self.folder / "runs"),
        )  # fmt: skip

    def one_epoch(self, recipe: str) -> Process:
        process = self.train(recipe, "--epochs", 1)
        images = ALL_IMAGES if "baseline" in recipe else round(0.9 * ALL_IMAGES)
        process.told["images_a_second"] = images / process.told["elapsed_seconds"]
        return process


def _peer(script: str, epochs: int, goal: float = NEVER) -> Callable[[], Process]:
    command = (PEERS, SCRIPTS / script, epochs, ALL_IMAGES, goal)
    return lambda: run_process(*command)


def _throughput(own: _Own, repeats: int) -> list[Figure]:
    contestants: Contestants = {
        "`penstroke train baseline-cnn`": lambda: own.one_epoch("baseline-cnn"),
        "the Keras example's network, here": lambda: own.one_epoch(
            str(own.folder / "keras-example.toml")
        ),
    }
    if PEERS.exists():
        contestants |= {
            "plain PyTorch, the same network": _peer("plain_torch.py", 1),
            "skorch, the same network": _peer("skorch_net.py", 1),
            "Keras 3, its example": _peer("keras_example.py", 1),
        }
    found = _in_turn(contestants, repeats)
    own.rates = {n: [p.told["images_a_second"] for p in runs] for n, runs in found.items()}
    figures = [Figure(n, "images/s", tuple(rates)) for n, rates in own.rates.items()]
    return figures + _ratios(own.rates)


def _ratios(rates: dict[str, list[float]]) -> list[Figure]:
    """Return how many times faster ours is, pair by pair in the order they ran."""
    ours, keras_here = rates["`penstroke train baseline-cnn`"], "the Keras example's network, here"
    pairs = {
        "ours to plain PyTorch": (ours, "plain PyTorch, the same network", "≥ 4"),
        "ours to skorch": (ours, "skorch, the same network", ""),
        "ours to Keras 3": (rates[keras_here], "Keras 3, its example", ""),
    }
    return [
        Figure(name, "×", tuple(a / b for a, b in zip(mine, rates[peer], strict=True)), goal)
        for name, (mine, peer, goal) in pairs.items()
        if peer in rates
    ]


def _whole(own: _Own, repeats: int) -> list[Figure]:
    """Return wall time from start to exit, peak memory, and what accuracy it bought."""
    contestants: Contestants = {
        "`penstroke train fast`": lambda: own.train("fast", "--dataset", "mnist")
    }
    if PEERS.exists():
        contestants |= {
            "plain PyTorch, 5 epochs": _peer("plain_torch.py", 5),
            "plain PyTorch, until 99.0 %": _peer("plain_torch.py", 12, 0.99),
            "skorch, until 99.0 %": _peer("skorch_net.py", 12, 0.99),
            "Keras 3, until 99.0 %": _peer("keras_example.py", 20, 0.99),
        }
    found = _in_turn(contestants, repeats)
    figures = []
    for name, runs in found.items():
        accuracy = statistics.mean(run.told["test_accuracy"] for run in runs)
        label = f"{name} (test accuracy {100 * accuracy:.2f} %)"
        figures.append(Figure(label, "s", tuple(run.seconds for run in runs)))
        memory = tuple(run.peak_megabytes for run in runs)
        figures.append(Figure(f"{name}: peak memory", "MB", memory))
    plain, fast = found.get("plain PyTorch, 5 epochs"), found["`penstroke train fast`"]
    if plain:
        ratios = tuple(b.seconds / a.seconds for a, b in zip(fast, plain, strict=True))
        figures.append(Figure("plain PyTorch's 5 epochs to `fast`", "×", ratios, "≥ 15"))
    return figures


def _in_turn(contestants: Contestants, repeats: int) -> dict[str, list[Process]]:
    found: dict[str, list[Process]] = {name: [] for name in contestants}
    for repeat in range(repeats):
        for name, run in contestants.items():
            say(f"speed: {name} ({repeat + 1} of {repeats})")
            found[name].append(run())
    return found


def _arithmetic(rates: list[float]) -> list[Figure]:
    """Return the machine's measured peak, and the share of it that R1's CNN reaches."""
    from penstroke.config.recipes import load_recipe
    from penstroke.models.build import build_network
    from penstroke.models.summary import summarize

    say("speed: matrix multiplication")
    model = load_recipe("baseline-cnn").model
    network = build_network(model, num_classes=10, mean=0.13, std=0.31)
    # A multiply-add is two operations; the backward pass costs twice the forward.
    gigaflops_an_image = 6 * summarize(network).multiply_adds / 1e9
    ours = statistics.median(rates) * gigaflops_an_image
    peaks = {name: _matmul_gigaflops(name) for name in ("float32", "bfloat16")}
    figures = [Figure(f"matrix product, {n}", "GFLOP/s", tuple(p)) for n, p in peaks.items()]
    figures.append(Figure("R1's CNN in training", "GFLOP/s", (ours,)))
    for name, peak in peaks.items():
        share = 100 * ours / max(peak)
        figures.append(Figure(f"share of the {name} peak", "%", (share,)))
    return figures


def _matmul_gigaflops(precision: str, size: int = 2048, rounds: int = 7) -> list[float]:
    import torch

    left: Any = torch.rand(size, size, dtype=getattr(torch, precision))
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        torch.mm(left, left)
        found.append(2 * size**3 / (time.perf_counter() - start) / 1e9)
    return found[2:]
