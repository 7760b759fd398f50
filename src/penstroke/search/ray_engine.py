"""Workers on a Ray cluster: actors that keep torch and the data loaded.

No disk is shared: a job carries its checkpoint, and new ones come back the same way. If a node
dies, only the rung that it was training is lost.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from penstroke.config.settings import RunConfig
from penstroke.errors import MissingExtraError, StudyError
from penstroke.search.engine import (
    SILENCE_SECONDS,
    Engine,
    EngineWorker,
    Event,
    Job,
    run_job,
    shared_data,
)


class RayEngine(Engine):
    """Actors on the cluster at `address`, or on a new one on this machine ("local").

    Each takes one processor and `gpus` GPUs (0.25 lets four share one), and loads the data of these
    settings before its first job. StudyError if no cluster answers at `address`, or it has too few
    GPUs.
    """

    def __init__(
        self, workers: int, address: str = "local", gpus: float = 0.0,
        configs: Sequence[RunConfig] = (), silence_seconds: float = SILENCE_SECONDS,
    ) -> None:  # fmt: skip
        # Ray would report its use over the network by default.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError.for_extra("cluster", error.name) from None
        self._configs = list(configs)
        self._ray: Any = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            self._connect(address)
        available = self._ray.cluster_resources().get("GPU", 0.0)
        if gpus > available:  # the cluster would wait for them without a word
            raise StudyError(
                f"--gpus {gpus:g}: the Ray cluster at {address} has {available:g} GPUs; leave "
                "--gpus out to train on its processors"
            )
        # `_replace` starts a dead actor elsewhere: it knows the job that was lost.
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0}
        self._class = self._ray.remote(**options)(_Actor)
        super().__init__(workers, silence_seconds)

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        super().close()
        if self._is_ours:
            self._ray.shutdown()

    def _connect(self, address: str) -> None:
        try:
            host, _, port = address.removeprefix("ray://").rpartition(":")
            if host and port.isdecimal():  # in seconds; Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=5).close()
            self._ray.init(
                address=None if address == "local" else address, include_dashboard=False,
                logging_level=logging.ERROR, log_to_driver=False, configure_logging=False,
            )  # fmt: skip
        except (OSError, ValueError, RuntimeError, self._ray.exceptions.RayError) as error:
            first = str(error).strip().splitlines()[0]
            raise StudyError(
                f"no Ray cluster answers at {address}: {first}; `ray start --head` starts one"
            ) from error

    def _start(self) -> EngineWorker:
        actor = self._class.remote(self._configs)
        return EngineWorker(actor, is_up=False, pending=actor.load.remote())

    def _end(self, worker: EngineWorker) -> str:
        with contextlib.suppress(Exception):
            self._ray.kill(worker.handle)
        return "its worker died"

    def _send(self, worker: EngineWorker, job: Job) -> None:
        worker.pending = worker.handle.run_job.options(num_returns="streaming").remote(job)

    def _events(self, timeout_seconds: float) -> list[Event]:
        awaited = [worker for worker in self._pool if worker.pending is not None]
        if not awaited:
            return []
        ready, _ = self._ray.wait([w.pending for w in awaited], timeout=timeout_seconds)
        return [e for worker in awaited if worker.pending in ready for e in self._take(worker)]

    def _take(self, worker: EngineWorker) -> list[Event]:
        """Take one result; StudyError if the data cannot be loaded, as no other worker could."""
        try:
            if not worker.is_up:
                self._ray.get(worker.pending)
                worker.is_up, worker.pending = True, None
                return []
            event: Event = self._ray.get(next(worker.pending))
        except self._ray.exceptions.RayTaskError as error:
            raise StudyError(f"a Ray worker cannot load the data: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            return self._replace(worker, f"its worker died: {str(error).strip().splitlines()[0]}")
        events = self._received(worker, event)
        if worker.job is None:
            worker.pending = None
        return events


class _Actor:
    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self._configs = configs

    def load(self) -> None:
        """Load the data; returns once the cluster has a place for this actor.

        Not done on construction: an actor that fails there looks like a node that died.
        """
        for config in self._configs:
            shared_data(config)

    def run_job(self, job: Job) -> Any:
        yield from run_job(job)
