"""`fit`: training as a generator of epochs, and its learning rate. It touches no disk."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from penstroke.config.settings import RunConfig, TrainConfig
from penstroke.data.dataset import DataSplits
from penstroke.data.lines import LineSplits
from penstroke.errors import TrainingError
from penstroke.models.build import PretrainedWeights, load_weights, network_for
from penstroke.training.checkpoint import Checkpoint
from penstroke.training.device import resolve_auto
from penstroke.training.line_task import LineTask
from penstroke.training.step import train_step
from penstroke.training.task import CharacterTask, Task, seed_of
from penstroke.training.threads import ThreadChoice
from penstroke.training.train_state import TrainState

_START_DIVISOR = 25.0
_END_DIVISOR = 1e4
_WARMUP_FRACTION = 0.25
"""One cycle after Smith & Topin 2018, with the divisors of torch.optim.lr_scheduler.OneCycleLR."""


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch, and the state that training can resume from.

    `metrics`: epoch, train_loss, train_accuracy, val_loss and val_accuracy (absent without
    validation images), learning_rate, threads (of the processor), best_epoch, elapsed_seconds (of
    training, in total); of lines val_character_error_rate as well, an accuracy being the share that
    is read exactly.
    `state`: weights and optimiser, as a `Checkpoint`; `fit(config, data, state)` resumes from it.
    """

    metrics: dict[str, Any]
    state: Checkpoint


def fit(
    config: RunConfig,
    data: DataSplits | LineSplits,
    state: Checkpoint | None = None,
    *,
    pretrained: PretrainedWeights | None = None,
) -> Iterator[Epoch]:
    """Train, yielding after each epoch; with `state`, resume from there to the same bits.

    The first weights are drawn by `config.train.seed`, or are those of `pretrained`. The test split
    is not used. Training ends after the last epoch, when `config.train.patience` runs out, or when
    the caller stops iterating.

    Raises:
        TrainingError: the loss is no longer finite (says at which step), or no such device.
        ConfigError: a batch is too large, or `pretrained` is not of the architecture in `config`.

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
    config = resolve_auto(config)
    with contextlib.closing(_task(config, data)) as task:
        yield from _fit(task, config, data, state, pretrained)


def _task(config: RunConfig, data: DataSplits | LineSplits) -> Task:
    if isinstance(data, LineSplits):
        return LineTask(config, data)
    return CharacterTask(config, data)


def _fit(
    task: Task,
    config: RunConfig,
    data: DataSplits | LineSplits,
    state: Checkpoint | None,
    pretrained: PretrainedWeights | None,
) -> Iterator[Epoch]:
    train = config.train.model_copy(update={"epochs": config.train.epochs_for(task.size)})
    network = network_for(config.model, data.train, seed_of(train.seed, 0))
    if pretrained is not None:
        pretrained.copy_into(network, data.classes)
    network = network.to(train.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train_state = TrainState(network, train)
    choice = ThreadChoice(config, len(data.classes))
    best, done, elapsed, next_threads = Best(), 0, 0.0, 0
    if state is not None:
        train_state.restore(state)
        best, done = Best(**state.facts["best"]), state.facts["epoch"]
        elapsed, next_threads = state.facts["elapsed_seconds"], state.facts.get("next_threads", 0)
    while not train.is_over(done, best.epoch):
        started = time.perf_counter()
        epoch = done + 1
        threads = choice.threads_of(epoch, next_threads)
        torch.set_num_threads(threads)
        with _explain_out_of_memory(train):
            metrics = {"epoch": epoch, **_train_epoch(train_state, task, train, epoch)}
        metrics |= task.score(train_state.deployed)
        if not math.isfinite(metrics.get("val_loss", 0.0)):
            raise TrainingError(
                f"the validation loss became {metrics['val_loss']} after epoch {epoch}: lower "
                "train.learning_rate; the checkpoint of the epoch before is kept"
            )
        best = best.after(metrics, train.checkpoint_metric)
        metrics["threads"] = threads
        if not train.is_over(epoch, best.epoch):
            next_threads = choice.threads_of(epoch + 1)
        elapsed += time.perf_counter() - started
        metrics |= {"best_epoch": best.epoch, "elapsed_seconds": elapsed}
        facts = {"epoch": epoch, "best": asdict(best), "elapsed_seconds": elapsed,
                 "next_threads": next_threads}  # fmt: skip
        yield Epoch(metrics, train_state.capture(facts))
        done = epoch


def fit_network(config: RunConfig, data: DataSplits) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train as `fit` does; return the network of the best epoch, ready to evaluate, and history."""
    history, weights = [], None
    for epoch in fit(config, data):
        history.append(epoch.metrics)
        if epoch.metrics["best_epoch"] == epoch.metrics["epoch"]:
            weights = epoch.state.weights
    assert weights is not None, "the first epoch is the best so far"
    return load_weights(network_for(config.model, data.train), weights).eval(), history


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


def _train_epoch(
    train_state: TrainState, task: Task, config: TrainConfig, epoch: int
) -> dict[str, float]:
    steps = config.steps_per_epoch(task.size)
    losses = torch.zeros(steps, dtype=torch.float64, device=config.device)
    correct = torch.zeros((), dtype=torch.int64, device=config.device)
    sizes = []
    learning_rate = config.learning_rate
    # Seeded anew for each epoch: no random state needs to be stored, and none of ours leaks out.
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(config.seed, epoch, 1))
        for step, batch in enumerate(task.batches(epoch)):
            total_step = (epoch - 1) * steps + step
            learning_rate = learning_rate_at(total_step, steps, config)
            loss = task.loss(train_state.network, batch)
            train_step(loss, train_state.optimizer, learning_rate)
            train_state.update_average(total_step)
            losses[step] = loss.loss
            correct += loss.correct
            sizes.append(loss.size)
    if len(bad := torch.nonzero(~torch.isfinite(losses))):
        step = int(bad[0])
        value = "nan" if math.isnan(float(losses[step])) else "infinite"
        raise TrainingError(
            f"the loss became {value} at step {step + 1} of {len(losses)} in epoch {epoch}: "
            "lower train.learning_rate; the checkpoint of the epoch before is kept"
        )
    loss_sum = float(losses.cpu() @ torch.tensor(sizes, dtype=torch.float64))
    return {
        "train_loss": loss_sum / task.size,
        "train_accuracy": int(correct) / task.size,
        "learning_rate": learning_rate,
    }


def learning_rate_at(step: int, steps_an_epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of the 0-based `step`: a function of it, so nothing is stored."""
    peak, total = config.learning_rate, steps_an_epoch * config.epochs
    match config.schedule:
        case "constant":
            return peak
        case "step":
            assert config.step_size is not None
            assert config.gamma is not None
            return float(peak * config.gamma ** (step // steps_an_epoch // config.step_size))
        case "cosine":
            return _cosine(peak, 0.0, step / total)
        case "one_cycle":
            start, end = peak / _START_DIVISOR, peak / _START_DIVISOR / _END_DIVISOR
            # Where torch puts its turning point: the last step of the rise is the peak itself.
            turn = max((config.warmup_fraction or _WARMUP_FRACTION) * total - 1, 1)
            if step <= turn:
                return _cosine(start, peak, step / turn)
            return _cosine(peak, end, (step - turn) / max(total - 1 - turn, 1))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


@contextlib.contextmanager
def _explain_out_of_memory(train: TrainConfig) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a processor torch raises a bare RuntimeError, known only by its message.
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "memory" in str(error):
            raise TrainingError(
                f"out of memory on {train.device} at train.batch_size={train.batch_size}: "
                f"try {max(train.batch_size // 2, 2)}, or a smaller network"
            ) from error
        raise
