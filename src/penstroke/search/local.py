"""Workers on this machine: warm processes of one thread each, forked with torch and the data."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from penstroke.config import DataConfig
from penstroke.search.task import Event, Failed, Job, Progress, shared_data, work_on

_ORPHAN_CHECK_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    job: Job | None = None
    heard_of: float = 0.0


class LocalEngine:
    """A pool of processes.

    On Linux they are forked from this one after the data is loaded, so that all share one copy;
    elsewhere, where a fork is not safe, they are started anew and load it themselves.

    Args:
        workers: how many.
        data: what will be trained on, loaded before the first worker begins.
        device: that they train on. Only the processor survives a fork; others are set up anew.
        silence_seconds: a worker that tells nothing for so long is taken to hang, and is killed.
    """

    def __init__(
        self, workers: int, data: Sequence[DataConfig] = (), device: str = "cpu",
        silence_seconds: float = 900.0,
    ) -> None:  # fmt: skip
        self.workers = workers
        self._silence_seconds = silence_seconds
        self._processes: Any = multiprocessing.get_context(
            "fork" if sys.platform == "linux" and device == "cpu" else "spawn"
        )
        for config in data:
            _ = shared_data(config).train.mean_and_std  # computed once, for all
        self._pool: list[_Worker] = []
        for _ in range(workers):
            self._pool.append(self._start())

    @property
    def free(self) -> int:
        """How many workers have nothing to do."""
        return sum(worker.job is None for worker in self._pool)

    @property
    def process_ids(self) -> list[int]:
        """The processes that work now."""
        return [worker.process.pid for worker in self._pool if worker.process.pid is not None]

    def submit(self, job: Job) -> None:
        """Give `job` to a free worker."""
        worker = next(worker for worker in self._pool if worker.job is None)
        worker.job, worker.heard_of = job, time.monotonic()
        with contextlib.suppress(OSError):  # it has just died: `wait` finds out
            worker.connection.send(job)

    def wait(self, timeout_seconds: float) -> list[Event]:
        """Return what has happened, as soon as something has; empty after the timeout."""
        ends = {worker.connection: worker for worker in self._pool}
        events: list[Event] = []
        for end in wait(list(ends), timeout_seconds):
            worker = ends[end]  # type: ignore[index]
            try:
                event: Event = worker.connection.recv()
            except (EOFError, OSError):
                events += self._bury(worker, "")
            else:
                worker.heard_of = time.monotonic()
                if not isinstance(event, Progress):
                    worker.job = None
                events.append(event)
        return events + self._end_hanging()

    def cancel(self) -> None:
        """Let go of all jobs that are being done, so that every worker is free again."""
        for worker in [worker for worker in self._pool if worker.job is not None]:
            self._bury(worker, "cancelled")

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._pool:
            worker.process.kill()
        for worker in self._pool:
            worker.process.join()
            worker.connection.close()
        self._pool = []

    def _start(self) -> _Worker:
        ours, theirs = self._processes.Pipe()
        # A fork inherits every open end; one kept open would hide our death from its worker.
        is_fork = self._processes.get_start_method() == "fork"
        others = [worker.connection for worker in self._pool] + [ours] if is_fork else []
        process = self._processes.Process(
            target=_serve, args=(theirs, others, os.getpid()), daemon=True, name="penstroke-worker"
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _bury(self, worker: _Worker, reason: str) -> list[Event]:
        """Replace a worker that has died, and say what it leaves undone."""
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._pool.remove(worker)
        self._pool.append(self._start())
        if worker.job is None:
            return []
        reason = reason or _cause_of_death(worker.process.exitcode)
        return [Failed(worker.job.key, reason, can_retry=True)]

    def _end_hanging(self) -> list[Event]:
        now = time.monotonic()
        hanging = [
            worker
            for worker in self._pool
            if worker.job is not None and now - worker.heard_of > self._silence_seconds
        ]
        reason = f"no epoch in {self._silence_seconds:g} s: taken to hang, and killed"
        return [event for worker in hanging for event in self._bury(worker, reason)]


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        known = {one.value: one.name for one in signal.Signals}
        name = known.get(-exit_code, f"signal {-exit_code}")
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its worker was ended by {name}{hint}"
    return f"its worker ended with exit code {exit_code}"


def _die_with(parent: int) -> None:
    """Ask Linux to end this process with its parent, however that ends.

    A fork holds its parent's lock on the study too: an orphan would keep the next search out.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(0)


def _serve(connection: Connection, others: Sequence[Connection], parent: int) -> None:
    """Work on jobs until the parent says no more, or is no more."""
    _die_with(parent)
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    with contextlib.suppress(OSError, EOFError):
        while True:
            while not connection.poll(_ORPHAN_CHECK_SECONDS):
                if os.getppid() != parent:
                    return
            job: Job = connection.recv()
            for event in work_on(job):
                connection.send(event)
