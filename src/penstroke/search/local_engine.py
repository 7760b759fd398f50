"""Workers on this machine: processes of one thread each, forked with torch and the data loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstroke.config.settings import DataConfig
from penstroke.errors import WorkerError
from penstroke.search.engine import SILENCE_SECONDS, Engine, EngineWorker
from penstroke.search.trial_worker import Event, Job, run_job, shared_data
from penstroke.workers import Worker, wait


@dataclass(eq=False)
class _LocalWorker(EngineWorker):
    process: Worker[Job, Event] = field(kw_only=True)


class LocalEngine(Engine[_LocalWorker]):
    """A pool of processes.

    On Linux they are forked from this one after the data is loaded, so that all share one copy;
    elsewhere, where a fork is not safe, they are started anew and load it themselves.

    Args:
        workers: the number of processes.
        data: loaded before the first worker starts.
        device: to train on. Only the processor survives a fork; others are set up anew.
        silence_seconds: a worker that reports nothing for so long is killed and replaced.
    """

    def __init__(
        self, workers: int, data: Sequence[DataConfig] = (), device: str = "cpu",
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:  # fmt: skip
        self._fork = sys.platform == "linux" and device == "cpu"
        for config in data:
            _ = shared_data(config).train.mean_and_std  # computed once, for all
        super().__init__(workers, silence_seconds)

    @property
    def process_ids(self) -> list[int]:
        """The processes of the workers."""
        return [worker.process.pid for worker in self._pool]

    def _start(self) -> _LocalWorker:
        return _LocalWorker(process=Worker(run_job, fork=self._fork))

    def _end(self, worker: _LocalWorker) -> str:
        return worker.process.end()

    def _send(self, worker: _LocalWorker, job: Job) -> None:
        worker.process.send(job)

    def _events(self, timeout_seconds: float) -> list[Event]:
        by_process = {worker.process: worker for worker in self._pool}
        events: list[Event] = []
        for process in wait(by_process, timeout_seconds):
            worker = by_process[process]
            try:
                events += self._received(worker, process.receive())
            except WorkerError:
                events += self._replace(worker)
        return events
