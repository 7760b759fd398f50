"""What a worker does: train one run from a checkpoint, and report each epoch.

The same function serves all engines. Data comes by name, checkpoints as bytes; a worker writes
nothing, so that it can run anywhere and die at any time.
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
from penstroke.training.loop import fit

_REPORT_EVERY_SECONDS = 30.0
"""A killed worker costs at most this much of a long rung, without more traffic for the driver."""


@dataclass(frozen=True)
class Job:
    """Train `config` until it has had `epochs` in all, from the checkpoint `state` if given."""

    key: str
    config: RunConfig
    resolved: Resolved
    epochs: int
    state: bytes | None = None


@dataclass(frozen=True)
class Progress:
    """Epochs that have been trained, and the checkpoint after the last of them."""

    key: str
    metrics: tuple[dict[str, Any], ...]
    state: bytes


@dataclass(frozen=True)
class Finished:
    """The job is done; what it trained was reported before."""

    key: str


@dataclass(frozen=True)
class Failed:
    """The job ended early; `can_retry` if its worker died, rather than its training."""

    key: str
    reason: str
    can_retry: bool = False


Event = Progress | Finished | Failed


def run_job(job: Job) -> Iterator[Event]:
    """Train as `job` says: yield progress, then Finished or Failed; the test split is sealed."""
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
    config = job.resolved.applied_to(job.config)
    state = Checkpoint.from_bytes(job.state) if job.state is not None else None
    if state is not None and state.facts["epoch"] >= job.epochs:
        return
    unreported: list[dict[str, Any]] = []
    last_report = time.monotonic()
    for epoch in fit(config, shared_data(config.data), state):
        unreported.append(epoch.metrics)
        is_last = epoch.metrics["epoch"] >= job.epochs
        if is_last or time.monotonic() - last_report > _REPORT_EVERY_SECONDS:
            yield Progress(job.key, tuple(unreported), epoch.state.to_bytes())
            unreported, last_report = [], time.monotonic()
        if is_last:
            return
    if unreported:  # patience ended it
        yield Progress(job.key, tuple(unreported), epoch.state.to_bytes())


@functools.lru_cache(maxsize=8)
def shared_data(config: DataConfig) -> DataSplits:
    """Return the images, loaded once per process; a forked worker inherits those of its parent."""
    return load_dataset(config)
