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
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from penstroke.config.settings import DataConfig
from penstroke.search.engine import SILENCE_SECONDS, Engine, Worker
from penstroke.search.trial_worker import Event, Job, Progress, shared_data, work_on

_ORPHAN_CHECK_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(eq=False)
class _Process(Worker):
    """A worker, and the pipe to it."""

    process: BaseProcess = field(kw_only=True)
    connection: Connection = field(kw_only=True)


class LocalEngine(Engine[_Process]):
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
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:  # fmt: skip
        self._processes: Any = multiprocessing.get_context(
            "fork" if sys.platform == "linux" and device == "cpu" else "spawn"
        )
        for config in data:
            _ = shared_data(config).train.mean_and_std  # computed once, for all
        super().__init__(workers, silence_seconds)

    @property
    def process_ids(self) -> list[int]:
        """The processes that work now."""
        return [worker.process.pid for worker in self._pool if worker.process.pid is not None]

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._pool:
            self._end(worker)
        self._pool = []

    def _start(self) -> _Process:
        ours, theirs = self._processes.Pipe()
        # A fork inherits every open end; one kept open would hide our death from its worker.
        is_fork = self._processes.get_start_method() == "fork"
        others = [worker.connection for worker in self._pool] + [ours] if is_fork else []
        process = self._processes.Process(
            target=_serve, args=(theirs, others, os.getpid()), daemon=True, name="penstroke-worker"
        )
        process.start()
        theirs.close()
        return _Process(process=process, connection=ours)

    def _end(self, worker: _Process) -> str:
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        return _cause_of_death(worker.process.exitcode)

    def _send(self, worker: _Process, job: Job) -> None:
        with contextlib.suppress(OSError):
            worker.connection.send(job)

    def _events(self, timeout_seconds: float) -> list[Event]:
        ends = {worker.connection: worker for worker in self._pool}
        events: list[Event] = []
        for end in wait(list(ends), timeout_seconds):
            worker = ends[end]  # type: ignore[index]
            try:
                event: Event = worker.connection.recv()
            except (EOFError, OSError):
                events += self._bury(worker)
                continue
            worker.heard_of = time.monotonic()
            if not isinstance(event, Progress):
                worker.job = None
            events.append(event)
        return events


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
