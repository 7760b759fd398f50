"""The workers of a search: jobs go in, events come out, dead workers are replaced.

Whatever the engine, a worker trains one run from a checkpoint, and reports each epoch. Data comes
by name, checkpoints as bytes; a worker writes nothing, so that it can run anywhere and die at any
time.
"""

import functools
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from penstroke.config.settings import (
    SYNTHETIC,
    DataConfig,
    Resolved,
    RunConfig,
    SynthesisConfig,
)
from penstroke.data.dataset import DataSplits, sealed
from penstroke.data.lines import LineSplits
from penstroke.data.loading import load_dataset
from penstroke.data.run_data import line_splits
from penstroke.errors import PenstrokeError, WorkerError
from penstroke.training.checkpoint import Checkpoint
from penstroke.training.device import resolve_auto
from penstroke.training.loop import fit
from penstroke.workers import Worker, wait

_REPORT_EVERY_SECONDS = 30.0
"""A killed worker costs at most this much of a long rung, without more traffic for the driver."""
SILENCE_SECONDS = 900.0
_SLOWEST_IMAGES_PER_SECOND = 100
"""A slower trial hangs, or is one that a search cannot afford."""


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
    done = state.facts["epoch"] if state else 0
    unreported: list[dict[str, Any]] = []
    last_report = time.monotonic()
    for epoch in islice(fit(config, shared_data(config), state), max(job.epochs - done, 0)):
        unreported.append(epoch.metrics)
        if time.monotonic() - last_report > _REPORT_EVERY_SECONDS:
            yield Progress(job.key, tuple(unreported), epoch.state.to_bytes())
            unreported, last_report = [], time.monotonic()
    if unreported:
        yield Progress(job.key, tuple(unreported), epoch.state.to_bytes())


def shared_data(config: RunConfig) -> DataSplits | LineSplits:
    """Return the data, loaded once per process; a forked worker inherits that of its parent."""
    synthesis = config.synthesis
    if synthesis is not None and config.data.dataset != SYNTHETIC:
        # Of the composition, only this decides more than the lines that are composed later.
        chosen = {"characters", "content", "texts"}
        synthesis = SynthesisConfig(**synthesis.model_dump(include=chosen))
    return _loaded(config.data, synthesis, config.reads_lines)


@functools.lru_cache(maxsize=8)
def _loaded(
    data: DataConfig, synthesis: SynthesisConfig | None, reads_lines: bool
) -> DataSplits | LineSplits:
    return line_splits(data, synthesis) if reads_lines else load_dataset(data)


def resolved_for_worker(config: RunConfig) -> Resolved:
    """Return what `auto` comes to in a worker: one thread each is faster than two that wait."""
    return Resolved.of(resolve_auto(config.replace({"train.threads": 1})))


def patience_seconds(images: int) -> float:
    """Return how long a worker may take for one epoch of `images`, or lines, without a report."""
    return max(SILENCE_SECONDS, images / _SLOWEST_IMAGES_PER_SECOND)


@dataclass(eq=False)
class EngineWorker:
    """A process, or an actor that is up once it has a place on the cluster; `handle` is either.

    `pending` is what an actor will return: that it is up, then the events of its job.
    """

    handle: Any
    is_up: bool = True
    pending: Any = None
    job: Job | None = None
    last_heard: float = 0.0


class Engine(ABC):
    """Workers that train, one job at a time each; one silent for `silence_seconds` is replaced."""

    def __init__(self, workers: int, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.workers = workers
        self._silence_seconds = silence_seconds
        self._pool = [self._start() for _ in range(workers)]

    @property
    def free(self) -> int:
        """The number of workers that wait for a job."""
        return len(self._free_workers())

    def submit(self, job: Job) -> None:
        """Give `job` to a free worker."""
        worker = self._free_workers()[0]
        worker.job, worker.last_heard = job, time.monotonic()
        self._send(worker, job)

    def wait(self, timeout_seconds: float) -> list[Event]:
        """Return the next events, as soon as there are any; [] after the timeout."""
        events = self._events(timeout_seconds)
        oldest = time.monotonic() - self._silence_seconds
        reason = f"no epoch in {self._silence_seconds:g} s: its worker hung and was killed"
        for worker in [w for w in self._pool if w.job is not None and w.last_heard < oldest]:
            events += self._replace(worker, reason)
        return events

    def cancel(self) -> None:
        """Drop all jobs, so that each worker is free again."""
        for worker in [worker for worker in self._pool if worker.job is not None]:
            self._replace(worker)

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self._pool:
            self._end(worker)
        self._pool = []

    @abstractmethod
    def _start(self) -> EngineWorker: ...

    @abstractmethod
    def _end(self, worker: EngineWorker) -> str:
        """End a worker, whatever it is doing; return why it had died, as far as that is known."""

    @abstractmethod
    def _send(self, worker: EngineWorker, job: Job) -> None:
        """Hand over a job; that the worker has just died is noticed later."""

    @abstractmethod
    def _events(self, timeout_seconds: float) -> list[Event]: ...

    def _free_workers(self) -> list[EngineWorker]:
        return [worker for worker in self._pool if worker.is_up and worker.job is None]

    def _received(self, worker: EngineWorker, event: Event) -> list[Event]:
        worker.last_heard = time.monotonic()
        if not isinstance(event, Progress):
            worker.job = None
        return [event]

    def _replace(self, worker: EngineWorker, reason: str = "") -> list[Event]:
        """Replace a worker; return the failure of its job, if it had one."""
        cause = self._end(worker)
        self._pool.remove(worker)
        self._pool.append(self._start())
        return [Failed(worker.job.key, reason or cause, can_retry=True)] if worker.job else []


class LocalEngine(Engine):
    """Processes on this machine, of one thread each.

    On Linux, training on the processor, they are forked from this one after the data of these
    settings is loaded, so that all share one copy; elsewhere, where a fork is not safe, each loads
    it itself.
    """

    def __init__(
        self, workers: int, configs: Sequence[RunConfig] = (), device: str = "cpu",
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:  # fmt: skip
        self._fork = sys.platform == "linux" and device == "cpu"
        for config in configs:
            _ = shared_data(config).train.mean_and_std  # computed once, for all
        super().__init__(workers, silence_seconds)

    def _start(self) -> EngineWorker:
        return EngineWorker(Worker(run_job, fork=self._fork))

    def _end(self, worker: EngineWorker) -> str:
        return str(worker.handle.end())

    def _send(self, worker: EngineWorker, job: Job) -> None:
        worker.handle.send(job)

    def _events(self, timeout_seconds: float) -> list[Event]:
        by_process = {worker.handle: worker for worker in self._pool}
        events: list[Event] = []
        for process in wait(by_process, timeout_seconds):
            worker = by_process[process]
            try:
                events += self._received(worker, process.receive())
            except WorkerError:
                events += self._replace(worker)
        return events
