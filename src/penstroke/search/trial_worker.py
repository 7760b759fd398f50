"""What a worker does: train one run on from a checkpoint, and tell each epoch.

The same function serves every engine. Data comes by name, checkpoints as bytes: a worker writes
nothing, so that it can be anywhere and die at any time.
"""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstroke.config.settings import DataConfig, Resolved, RunConfig
from penstroke.data.dataset import DataSplits, sealed
from penstroke.data.loading import load_dataset
from penstroke.errors import PenstrokeError
from penstroke.training.checkpoint import Checkpoint
from penstroke.training.device import apply
from penstroke.training.loop import fit

_STATE_EVERY_SECONDS = 30.0
"""A killed worker costs no more than this of a long rung, and the driver no more traffic."""


@dataclass(frozen=True)
class Job:
    """Train `config` until it has had `epochs` in all, on from `state` where there is one."""

    key: str
    config: RunConfig
    resolved: Resolved
    epochs: int
    state: bytes | None = None


@dataclass(frozen=True)
class Progress:
    """Epochs that have been trained, and the state after the last of them."""

    key: str
    metrics: tuple[dict[str, Any], ...]
    state: bytes


@dataclass(frozen=True)
class Finished:
    """The job has come to its end; what it trained was told before."""

    key: str


@dataclass(frozen=True)
class Failed:
    """The job ended early; `can_retry` where its worker died, not its training."""

    key: str
    reason: str
    can_retry: bool = False


Event = Progress | Finished | Failed


def work_on(job: Job) -> Iterator[Event]:
    """Train as `job` says, yielding progress, at its end in any case; the test split is sealed."""
    try:
        with sealed():
            yield from _train(job)
    except PenstrokeError as error:
        yield Failed(job.key, str(error))
    except Exception:
        yield Failed(job.key, traceback.format_exc(limit=-3).strip())
    else:
        yield Finished(job.key)


def _train(job: Job) -> Iterator[Progress]:
    config = apply(job.config, job.resolved)
    state = Checkpoint.from_bytes(job.state) if job.state is not None else None
    done = state.facts["epoch"] if state is not None else 0
    untold: list[dict[str, Any]] = []
    last_told = time.monotonic()
    if done >= job.epochs:
        return
    for epoch in fit(config, shared_data(config.data), state):
        untold.append(epoch.metrics)
        is_last = epoch.metrics["epoch"] >= job.epochs
        if is_last or time.monotonic() - last_told > _STATE_EVERY_SECONDS:
            yield Progress(job.key, tuple(untold), epoch.state.to_bytes())
            untold, last_told = [], time.monotonic()
        if is_last:
            return
    if untold:  # patience ended it
        yield Progress(job.key, tuple(untold), epoch.state.to_bytes())


@functools.lru_cache(maxsize=8)
def shared_data(config: DataConfig) -> DataSplits:
    """Return the images, loaded once a process; a forked worker finds those of its parent."""
    return load_dataset(config)
