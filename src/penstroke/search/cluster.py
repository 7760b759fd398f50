"""Workers on a Ray cluster: actors that keep torch and the data warm, checkpoints through Ray.

No disk is shared: a job carries its checkpoint, and what it trained comes back the same way. A node
that dies takes the rung that it trained, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstroke.config import DataConfig
from penstroke.errors import MissingExtraError, StudyError
from penstroke.search.task import Event, Failed, Job, Progress, shared_data, work_on

_CONNECT_SECONDS = 5


@dataclass(eq=False)
class _Worker:
    """An actor; until it has answered once, it may still be waiting for a place on the cluster."""

    actor: Any
    answer: Any  # of its first call, then the stream of events of the job it does
    is_up: bool = False
    job: Job | None = None


class RayEngine:
    """Actors on the cluster at `address`, or on one of its own on this machine.

    Args:
        workers: how many actors; each takes one processor, and the share of a GPU named.
        address: of a running cluster; "local" starts one here.
        gpus: of each worker: 0.25 lets four share one.
        data: loaded by each actor before its first job.

    Raises:
        StudyError: no cluster answers at `address`.
    """

    def __init__(
        self, workers: int, address: str = "local", gpus: float = 0.0,
        data: Sequence[DataConfig] = (),
    ) -> None:  # fmt: skip
        self.workers = workers
        self._data = list(data)
        self._ray = ray = _import_ray()
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _connect(ray, address)
        # A dead actor is begun again elsewhere by `_bury`, which knows what it was doing.
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0}
        self._class = ray.remote(**options)(_Actor)
        self._pool = [self._start() for _ in range(workers)]

    @property
    def free(self) -> int:
        """How many workers have nothing to do; those without a place do not count."""
        return sum(worker.is_up and worker.job is None for worker in self._pool)

    def submit(self, job: Job) -> None:
        """Give `job` to a free worker."""
        worker = next(worker for worker in self._pool if worker.is_up and worker.job is None)
        worker.job = job
        worker.answer = worker.actor.work_on.options(num_returns="streaming").remote(job)

    def wait(self, timeout_seconds: float) -> list[Event]:
        """Return what has happened, as soon as something has; empty after the timeout."""
        awaited = [worker for worker in self._pool if worker.answer is not None]
        if not awaited:
            return []
        answers = [worker.answer for worker in awaited]
        ready, _ = self._ray.wait(answers, timeout=timeout_seconds, num_returns=1)
        return [e for worker in awaited if worker.answer in ready for e in self._take(worker)]

    def cancel(self) -> None:
        """Let go of all jobs that are being done, so that every worker is free again."""
        for worker in [worker for worker in self._pool if worker.job is not None]:
            self._bury(worker, "cancelled")

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._pool:
            with contextlib.suppress(Exception):
                self._ray.kill(worker.actor)
        self._pool = []
        if self._is_ours:
            self._ray.shutdown()

    def _take(self, worker: _Worker) -> list[Event]:
        """Take one answer of a worker."""
        try:
            if not worker.is_up:
                self._ray.get(worker.answer)
                worker.is_up, worker.answer = True, None
                return []
            event: Event = self._ray.get(next(worker.answer))
        except self._ray.exceptions.RayError as error:
            return self._bury(worker, f"its worker died: {str(error).strip().splitlines()[0]}")
        if not isinstance(event, Progress):
            worker.job = worker.answer = None
        return [event]

    def _bury(self, worker: _Worker, reason: str) -> list[Event]:
        """Replace a worker that has died, and say what it leaves undone."""
        with contextlib.suppress(Exception):
            self._ray.kill(worker.actor)
        self._pool.remove(worker)
        self._pool.append(self._start())
        if worker.job is None:
            return []
        return [Failed(worker.job.key, reason, can_retry=True)]

    def _start(self) -> _Worker:
        actor = self._class.remote(self._data)
        return _Worker(actor, actor.is_up.remote())


class _Actor:
    """What runs on a node."""

    def __init__(self, data: Sequence[DataConfig]) -> None:
        for config in data:
            shared_data(config)

    def is_up(self) -> bool:
        """Answer, once there is a place for this actor and its data is loaded."""
        return True

    def work_on(self, job: Job) -> Any:
        """Yield the events of a job."""
        yield from work_on(job)


def _connect(ray: Any, address: str) -> None:
    try:
        _knock(address)
        ray.init(
            address=None if address == "local" else address, include_dashboard=False,
            logging_level=logging.ERROR, log_to_driver=False, configure_logging=False,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        first = str(error).strip().splitlines()[0]
        raise StudyError(
            f"no Ray cluster answers at {address}: {first}; `ray start --head` begins one"
        ) from error


def _knock(address: str) -> None:
    """Find out in seconds whether anybody is there; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()


def _import_ray() -> Any:
    # Ray would report its use over the network; nothing here does that unasked.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.for_extra("cluster", error.name) from None
    return ray
