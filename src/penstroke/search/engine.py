"""What every engine of workers offers: jobs go in, events come out, dead workers are replaced."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from penstroke.search.trial_worker import Event, Failed, Job

SILENCE_SECONDS = 900.0
_SLOWEST_IMAGES_A_SECOND = 100
"""A trial that is slower than this hangs, or is none that a search can afford."""


def patience_seconds(images: int) -> float:
    """Return how long a worker may take for an epoch of so many images, and tell nothing."""
    return max(SILENCE_SECONDS, images / _SLOWEST_IMAGES_A_SECOND)


@dataclass(eq=False)
class Worker:
    """One worker: what it does, and since when nothing was heard of it."""

    job: Job | None = None
    heard_of: float = 0.0
    is_up: bool = True
    """Whether it can take a job; one without a place on a cluster cannot yet."""

    @property
    def is_free(self) -> bool:
        """Whether it waits for a job."""
        return self.is_up and self.job is None


WorkerT = TypeVar("WorkerT", bound=Worker)


class Engine(ABC, Generic[WorkerT]):
    """Workers that train; each one job at a time.

    Args:
        workers: how many.
        silence_seconds: one that tells nothing for so long is taken to hang, and is replaced.
    """

    def __init__(self, workers: int, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.workers = workers
        self._silence_seconds = silence_seconds
        self._pool: list[WorkerT] = []
        for _ in range(workers):
            self._pool.append(self._start())

    @property
    def free(self) -> int:
        """How many workers wait for a job."""
        return sum(worker.is_free for worker in self._pool)

    def submit(self, job: Job) -> None:
        """Give `job` to a free worker."""
        worker = next(worker for worker in self._pool if worker.is_free)
        worker.job, worker.heard_of = job, time.monotonic()
        self._send(worker, job)

    def wait(self, timeout_seconds: float) -> list[Event]:
        """Return what has happened, as soon as something has; empty after the timeout."""
        return [*self._events(timeout_seconds), *self._end_hanging()]

    def cancel(self) -> None:
        """Let go of all jobs that are being done, so that every worker is free again."""
        for worker in [worker for worker in self._pool if worker.job is not None]:
            self._bury(worker, "cancelled")

    @abstractmethod
    def close(self) -> None:
        """End all workers, whatever they do."""

    @abstractmethod
    def _start(self) -> WorkerT:
        """Begin a worker."""

    @abstractmethod
    def _end(self, worker: WorkerT) -> str:
        """End a worker, whatever it does; return what it had died of, as far as that is known."""

    @abstractmethod
    def _send(self, worker: WorkerT, job: Job) -> None:
        """Hand a job over; that the worker has just died is found out later."""

    @abstractmethod
    def _events(self, timeout_seconds: float) -> list[Event]:
        """Return what the workers have told."""

    def _bury(self, worker: WorkerT, reason: str = "") -> list[Event]:
        """Replace a worker, and say what it leaves undone."""
        cause = self._end(worker)
        self._pool.remove(worker)
        self._pool.append(self._start())
        if worker.job is None:
            return []
        return [Failed(worker.job.key, reason or cause, can_retry=True)]

    def _end_hanging(self) -> list[Event]:
        oldest = time.monotonic() - self._silence_seconds
        hanging = [w for w in self._pool if w.job is not None and w.heard_of < oldest]
        reason = f"no epoch in {self._silence_seconds:g} s: taken to hang, and killed"
        return [event for worker in hanging for event in self._bury(worker, reason)]


AnyEngine = Engine[Any]
