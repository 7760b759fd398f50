"""Workers on a Ray cluster: actors that keep torch and the data warm, checkpoints through Ray.

No disk is shared: a job carries its checkpoint, and what it trained comes back the same way. A node
that dies takes the rung that it trained, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstroke.config.settings import DataConfig
from penstroke.errors import MissingExtraError, StudyError
from penstroke.search.engine import SILENCE_SECONDS, Engine, Worker
from penstroke.search.trial_worker import Event, Job, Progress, shared_data, work_on

_CONNECT_SECONDS = 5


@dataclass(eq=False)
class _Remote(Worker):
    """An actor, and what it was asked last: whether it is up, then the events of its job."""

    actor: Any = field(kw_only=True)
    answer: Any = field(kw_only=True)


class RayEngine(Engine[_Remote]):
    """Actors on the cluster at `address`, or on one of its own on this machine.

    Args:
        workers: how many actors; each takes one processor, and the share of a GPU named.
        address: of a running cluster; "local" starts one here.
        gpus: of each worker: 0.25 lets four share one.
        data: loaded by each actor before its first job.

        silence_seconds: an actor that tells nothing for so long is taken to hang.

    Raises:
        StudyError: no cluster answers at `address`, or it has no such GPU.
    """

    def __init__(
        self, workers: int, address: str = "local", gpus: float = 0.0,
        data: Sequence[DataConfig] = (), silence_seconds: float = SILENCE_SECONDS,
    ) -> None:  # fmt: skip
        self._data = list(data)
        self._ray = ray = _import_ray()
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _connect(ray, address)
        _require_gpus(ray.cluster_resources().get("GPU", 0.0), gpus, address)
        # A dead actor is begun again elsewhere by `_bury`, which knows what it was doing.
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0}
        self._class = ray.remote(**options)(_Actor)
        super().__init__(workers, silence_seconds)

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._pool:
            self._end(worker)
        self._pool = []
        if self._is_ours:
            self._ray.shutdown()

    def _start(self) -> _Remote:
        actor = self._class.remote(self._data)
        return _Remote(actor=actor, answer=actor.load.remote(), is_up=False)

    def _end(self, worker: _Remote) -> str:
        with contextlib.suppress(Exception):
            self._ray.kill(worker.actor)
        return "its worker died"

    def _send(self, worker: _Remote, job: Job) -> None:
        worker.answer = worker.actor.work_on.options(num_returns="streaming").remote(job)

    def _events(self, timeout_seconds: float) -> list[Event]:
        awaited = [worker for worker in self._pool if worker.answer is not None]
        if not awaited:
            return []
        answers = [worker.answer for worker in awaited]
        ready, _ = self._ray.wait(answers, timeout=timeout_seconds, num_returns=1)
        return [e for worker in awaited if worker.answer in ready for e in self._take(worker)]

    def _take(self, worker: _Remote) -> list[Event]:
        """Take one answer of a worker.

        Raises:
            StudyError: it cannot load the data: another one could not either.
        """
        try:
            if not worker.is_up:
                self._ray.get(worker.answer)
                worker.is_up, worker.answer = True, None
                return []
            event: Event = self._ray.get(next(worker.answer))
        except self._ray.exceptions.RayTaskError as error:
            raise StudyError(f"a Ray worker cannot load the data: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            return self._bury(worker, f"its worker died: {str(error).strip().splitlines()[0]}")
        worker.heard_of = time.monotonic()
        if not isinstance(event, Progress):
            worker.job = worker.answer = None
        return [event]


class _Actor:
    """What runs on a node."""

    def __init__(self, data: Sequence[DataConfig]) -> None:
        self._data = data

    def load(self) -> None:
        """Load the data; answered once there is a place for this actor.

        Not done on construction: an actor that fails there cannot be told from a node that died.
        """
        for config in self._data:
            shared_data(config)

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


def _require_gpus(there: float, gpus: float, address: str) -> None:
    """Refuse what the cluster would wait for without a word."""
    if gpus > there:
        raise StudyError(
            f"--gpus {gpus:g}: the Ray cluster at {address} has {there:g} GPUs; leave --gpus out "
            "to train on its processors"
        )


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
