"""What all engines do: jobs go in, events come out, dead workers are replaced."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from penstroke.search.trial_worker import Event, Failed, Job, Progress

SILENCE_SECONDS = 900.0
_SLOWEST_IMAGES_PER_SECOND = 100
"""A slower trial hangs, or is one that a search cannot afford."""


def patience_seconds(images: int) -> float:
    """Return how long a worker may take for one epoch of `images` without a report."""
    return max(SILENCE_SECONDS, images / _SLOWEST_IMAGES_PER_SECOND)


@dataclass(eq=False)
class EngineWorker:
    """One worker: its job, and when it was last heard from.

    `is_up`: whether it can take a job; one that waits for a place on a cluster cannot yet.
    """

    job: Job | None = None
    last_heard: float = 0.0
    is_up: bool = True

    @property
    def is_free(self) -> bool:
        """Whether it waits for a job."""
        return self.is_up and self.job is None


WorkerT = TypeVar("WorkerT", bound=EngineWorker)


class Engine(ABC, Generic[WorkerT]):
    """Workers that train, each one job at a time.

    Args:
        workers: the number of workers.
        silence_seconds: a worker that reports nothing for so long is replaced.
    """

    def __init__(self, workers: int, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.workers = workers
        self._silence_seconds = silence_seconds
        self._pool: list[WorkerT] = []
        for _ in range(workers):
            self._pool.append(self._start())

    @property
    def free(self) -> int:
        """The number of workers that wait for a job."""
        return sum(worker.is_free for worker in self._pool)

    def submit(self, job: Job) -> None:
        """Give `job` to a free worker."""
        worker = next(worker for worker in self._pool if worker.is_free)
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
    def _start(self) -> WorkerT:
        """Start a worker."""

    @abstractmethod
    def _end(self, worker: WorkerT) -> str:
        """End a worker, whatever it is doing; return why it had died, as far as that is known."""

    @abstractmethod
    def _send(self, worker: WorkerT, job: Job) -> None:
        """Hand over a job; that the worker has just died is noticed later."""

    @abstractmethod
    def _events(self, timeout_seconds: float) -> list[Event]:
        """Return the events of the workers."""

    def _received(self, worker: WorkerT, event: Event) -> list[Event]:
        worker.last_heard = time.monotonic()
        if not isinstance(event, Progress):
            worker.job = None
        return [event]

    def _replace(self, worker: WorkerT, reason: str = "") -> list[Event]:
        """Replace a worker; return the failure of its job."""
        cause = self._end(worker)
        self._pool.remove(worker)
        self._pool.append(self._start())
        if worker.job is None:
            return []
        return [Failed(worker.job.key, reason or cause, can_retry=True)]


AnyEngine = Engine[Any]
