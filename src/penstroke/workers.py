"""Processes that read shards; they end with the one that started them, however that ends."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from penstroke.data.shards import Job, ShardWriter
from penstroke.errors import DataError, StorageError


class _Worker(NamedTuple):
    process: multiprocessing.process.BaseProcess
    connection: Connection


def run_jobs(jobs: Sequence[Job], workers: int) -> Generator[int, None, None]:
    """Do `jobs` in `workers` processes, or in this one, and yield the position of each done.

    Processes are started anew, not forked, so that nothing of this one is shared or copied.

    Raises:
        StorageError: a shard cannot be written.
        DataError: a worker was killed, or broke down.
    """
    if min(workers, len(jobs)) <= 1:
        write = ShardWriter()
        for position, job in enumerate(jobs):
            write(job)
            yield position
        return
    pool = [_start(number) for number in range(min(workers, len(jobs)))]
    try:
        yield from _deal_out(jobs, pool)
    finally:
        for worker in pool:
            worker.connection.close()
            worker.process.kill()
            worker.process.join()


def _deal_out(jobs: Sequence[Job], pool: list[_Worker]) -> Iterator[int]:
    waiting = iter(enumerate(jobs))
    working: dict[Connection, tuple[_Worker, int]] = {}

    def give(worker: _Worker) -> None:
        if (following := next(waiting, None)) is not None:
            position, job = following
            worker.connection.send(job)
            working[worker.connection] = worker, position

    for worker in pool:
        give(worker)
    while working:
        for connection in wait(list(working)):
            assert isinstance(connection, Connection)
            worker, position = working.pop(connection)
            _receive(worker, jobs[position])
            give(worker)
            yield position


def _receive(worker: _Worker, job: Job) -> None:
    try:
        trouble = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        raise DataError(
            f"a worker ended by itself ({worker.process.exitcode}) between {job.places[0]} and "
            f"{job.places[-1]} of {job.source.path}: killed for memory, or a damaged image; "
            "the same command goes on, with --workers 1 in one process"
        ) from None
    if trouble:
        raise StorageError(trouble)


def _start(number: int) -> _Worker:
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    process = processes.Process(
        target=_serve, args=(theirs,), daemon=True, name=f"penstroke-import-{number}"
    )
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(connection: Connection) -> None:
    """Do jobs until the other end of the pipe is gone: with its process, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the other end decides
    write = ShardWriter()
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        trouble = ""
        try:
            write(job)
        except StorageError as error:
            trouble = str(error)
        try:
            connection.send(trouble)
        except OSError:
            return
