"""`fit`: training as a generator of epochs. It touches no disk and knows no one."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from penstroke.config.settings import RunConfig, TrainConfig
from penstroke.data.dataset import DataSplits
from penstroke.errors import TrainingError
from penstroke.models.build import network_for
from penstroke.models.transfer import PretrainedWeights
from penstroke.training.batches import Batches, settle
from penstroke.training.checkpoint import Checkpoint
from penstroke.training.device import apply, resolve
from penstroke.training.regional_forms import Styles
from penstroke.training.schedule import learning_rate_at
from penstroke.training.step import score, train_step
from penstroke.training.train_state import TrainState


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures, and the state from which training can go on.

    `metrics`: epoch, train_loss, train_accuracy, val_loss and val_accuracy (absent without
    validation images), learning_rate, best_epoch, elapsed_seconds (of training, in all).

    `state`: weights and optimiser, as a `Checkpoint`: `fit(config, data, state)` goes on from it.
    """

    metrics: dict[str, Any]
    state: Checkpoint


def fit(
    config: RunConfig,
    data: DataSplits,
    state: Checkpoint | None = None,
    *,
    start: PretrainedWeights | None = None,
) -> Iterator[Epoch]:
    """Train, yielding after each epoch; with `state`, go on from there to the same bits.

    The first weights are drawn by `config.train.seed`, or are those of `start`, a trained network.
    The test split is not looked at. Stopping early is up to `config.train.patience`, or to the
    caller, who may simply stop asking.

    Raises:
        TrainingError: the loss is no longer finite (says at which step), or no such device.
        ConfigError: `start` is of another architecture than `config.model`.

    Examples:
        >>> import penstroke
        >>> config = penstroke.load_recipe("fast", {"train.epochs": 8}).run_config()
        >>> data = penstroke.load_dataset(config.data)
        >>> for epoch in penstroke.fit(config, data):
        ...     if epoch.metrics["val_accuracy"] > 0.8:
        ...         break
        >>> sorted(epoch.metrics)[:3]
        ['best_epoch', 'elapsed_seconds', 'epoch']
    """
    config = apply(config, resolve(config))
    train = settle(config.train, data)
    train_state, batches, validation = _prepare(config, train, data, start)
    best = Best()
    if state is not None:
        train_state.restore(state)
        best = Best(**state.facts["best"])
    done = state.facts["epoch"] if state is not None else 0
    elapsed = state.facts["elapsed_seconds"] if state is not None else 0.0
    while not train.is_over(done, best.epoch):
        epoch = done + 1
        began = time.perf_counter()
        with _explained_when_out_of_memory(train):
            metrics = {"epoch": epoch, **_train_epoch(train_state, batches, train, epoch)}
        if len(validation):
            metrics["val_loss"], metrics["val_accuracy"] = score(train_state.deployed, validation)
            _refuse_non_finite_validation(metrics["val_loss"], epoch)
        best = best.after(metrics, train.checkpoint_metric)
        elapsed += time.perf_counter() - began
        metrics |= {"best_epoch": best.epoch, "elapsed_seconds": elapsed}
        facts = {"epoch": epoch, "best": vars(best), "elapsed_seconds": elapsed}
        yield Epoch(metrics, train_state.capture(facts))
        done = epoch


@dataclass(frozen=True)
class Best:
    """The best epoch so far; higher scores are better, and of equal ones the earlier."""

    epoch: int = 0
    score: float | None = None

    def after(self, metrics: dict[str, Any], metric: str) -> Best:
        """Return the best epoch once `metrics` are known."""
        sign = -1 if metric == "val_loss" else 1
        score = sign * metrics["epoch" if metric == "last" else metric]
        if self.score is None or score > self.score:
            return Best(metrics["epoch"], score)
        return self


def _prepare(
    config: RunConfig, train: TrainConfig, data: DataSplits, start: PretrainedWeights | None
) -> tuple[TrainState, Batches, Batches]:
    network = network_for(config.model, data.train, _seed(train.seed, 0))
    if start is not None:
        start.put_into(network, data.classes)
    network = network.to(train.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches, validation = (Batches(split, train.device) for split in (data.train, data.validation))
    return TrainState.of(network, train), batches, validation


def _train_epoch(
    train_state: TrainState, batches: Batches, config: TrainConfig, epoch: int
) -> dict[str, float]:
    steps = config.steps_per_epoch(len(batches))
    losses = torch.zeros(steps, dtype=torch.float64, device=batches.labels.device)
    right = torch.zeros((), dtype=torch.int64, device=batches.labels.device)
    sizes = []
    learning_rate = config.learning_rate
    vary = Styles(batches.classes, config.augment.regional_forms)
    # Seeded anew for each epoch: no random state needs to be stored, and none of ours leaks out.
    with torch.random.fork_rng():
        torch.manual_seed(_seed(config.seed, epoch, 1))
        order = batches.shuffled(config.batch_size, _seed(config.seed, epoch, 2), config.balance)
        for step, (images, labels) in enumerate(order):
            step_in_all = (epoch - 1) * steps + step
            learning_rate = learning_rate_at(step_in_all, steps, config)
            losses[step], correct = train_step(
                train_state.network, train_state.optimizer, learning_rate,
                vary(images, labels), labels, config,
            )  # fmt: skip
            train_state.update_average(step_in_all)
            right += correct
            sizes.append(len(labels))
    _refuse_non_finite(losses, epoch)
    images_seen = sum(sizes)
    return {
        "train_loss": float(losses.cpu() @ torch.tensor(sizes, dtype=torch.float64)) / images_seen,
        "train_accuracy": int(right) / images_seen,
        "learning_rate": learning_rate,
    }


def _refuse_non_finite(losses: Tensor, epoch: int) -> None:
    bad = torch.nonzero(~torch.isfinite(losses))
    if len(bad):
        step = int(bad[0])
        value = "nan" if math.isnan(float(losses[step])) else "infinite"
        raise TrainingError(
            f"the loss became {value} at step {step + 1} of {len(losses)} in epoch {epoch}: "
            "lower train.learning_rate; the checkpoint of the epoch before is kept"
        )


def _refuse_non_finite_validation(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the validation loss became {loss} after epoch {epoch}: lower train.learning_rate; "
            "the checkpoint of the epoch before is kept"
        )


@contextlib.contextmanager
def _explained_when_out_of_memory(train: TrainConfig) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a processor torch raises a bare RuntimeError, known only by its words.
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "memory" in str(error):
            raise TrainingError(
                f"out of memory on {train.device} at train.batch_size={train.batch_size}: "
                f"try {max(train.batch_size // 2, 2)}, or a smaller network"
            ) from error
        raise


def _seed(*parts: int) -> int:
    """Return one seed from several numbers, well apart from that of their neighbours."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
