"""Worker processes that recognise images in batches, behind bounded queues.

These are not workers of `penstroke.workers`: what they answer comes from untrusted images, so that
nothing of it may be unpickled, and their pipes belong to the event loop of the service.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from penstroke.errors import MissingToolError
from penstroke.serve.messages import pack, receive_message
from penstroke.serve.responses import ApiError, busy
from penstroke.serve.served_models import ServedModel
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.uploads import Options, Upload

log = logging.getLogger("penstroke.serve")
_START_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_MESSAGE_BYTES = 4_000_000
"""Size of the uploads in one message, at most."""
_BATCHES_AHEAD = 4
"""Batches that a worker holds, at most: under full load the service comes to it every 50 ms."""
_ENOUGH = 8
"""Waiting characters before a busy worker gets another batch: fewer may become one larger batch."""


@dataclass(eq=False)
class _Job:
    model: ServedModel
    options: Options
    upload: Upload
    answer: asyncio.Future[bytes]


@dataclass(eq=False)
class _Worker:
    """A process, the jobs it holds by number, and the models it has loaded by SHA-256."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_running: bool = False
    jobs: dict[int, _Job] = field(default_factory=dict)
    loaded: set[str] = field(default_factory=set)
    confirmation: asyncio.Future[None] | None = None
    took_long: bool = False

    @property
    def has_long(self) -> bool:
        return any(job.options.is_long for job in self.jobs.values())


class WorkerPool:
    """Hands waiting images to worker processes.

    A worker that is free takes all that waits, up to a batch. So no image waits for others: a batch
    is what arrived while the one before was computed. Pages and occlusion maps have a queue of
    their own; a worker takes one of them in turn with a batch of characters, and all workers but
    one at most are busy with them.

    Args:
        settings: the number of workers, and the bounds of queues and batches.
        on_batch: called with the size of each batch.

    Attributes:
        waiting_short: characters accepted and not yet answered.
        waiting_long: pages and occlusion maps, likewise.
    """

    def __init__(self, settings: ServiceSettings, on_batch: Callable[[float], None]) -> None:
        self._settings = settings
        self._on_batch = on_batch
        self._short: deque[_Job] = deque()
        self._long: deque[_Job] = deque()
        self._workers = [_Worker() for _ in range(settings.workers)]
        self._numbers = count()
        self._tasks: list[asyncio.Task[None]] = []
        self._wanted: list[ServedModel] = []
        self._loaded = asyncio.Condition()
        self.waiting_short = self.waiting_long = 0

    async def start(self, models: Sequence[ServedModel]) -> None:
        """Start the processes; return when each has loaded all `models`.

        Raises:
            MissingToolError: they are not ready within a minute.
        """
        self._wanted = list(models)
        self._tasks = [asyncio.create_task(self._keep_running(w)) for w in self._workers]
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._until_loaded(models)
        except TimeoutError:
            await self.stop()
            raise MissingToolError(
                f"the worker processes did not start within {_START_SECONDS:.0f} s: the machine is "
                "busy or short of memory; try fewer, --workers 1"
            ) from None

    async def stop(self) -> None:
        """End the processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def exchange(self, new: ServedModel, old: ServedModel) -> None:
        """Return when every worker has loaded `new`; `old` stays loaded until then."""
        self._wanted.append(new)
        for worker in self._workers:
            worker.wake.set()
        await self._until_loaded([new])
        self._wanted.remove(old)

    def refuse_if_full(self, options: Options) -> None:
        """Raise ApiError 429 if the queue is full; call it before waiting for a body."""
        waiting, bound = (
            (self.waiting_long, self._settings.page_queue_size)
            if options.is_long
            else (self.waiting_short, self._settings.queue_size)
        )
        if waiting >= bound:
            raise busy(429, f"{waiting} images are waiting to be recognised: try again soon")

    async def recognize(self, model: ServedModel, options: Options, upload: Upload) -> bytes:
        """Return the answer as JSON.

        Raises:
            ApiError: 429, the queue is full; 4xx, the image cannot be read; 503, the worker died.
        """
        self.refuse_if_full(options)
        job = _Job(model, options, upload, asyncio.get_running_loop().create_future())
        (self._long if options.is_long else self._short).append(job)
        self._count(options, 1)
        self._wake_one()
        try:
            return await job.answer
        finally:
            self._count(options, -1)

    def _count(self, options: Options, change: int) -> None:
        if options.is_long:
            self.waiting_long += change
        else:
            self.waiting_short += change

    def _wake_one(self) -> None:
        """Wake the worker that holds least, if it is idle or there is enough to work ahead on."""
        running = [w for w in self._workers if w.is_running and not w.wake.is_set()]
        least = min(running, key=lambda worker: len(worker.jobs), default=None)
        if least is not None and (not least.jobs or len(self._short) >= _ENOUGH):
            least.wake.set()

    async def _until_loaded(self, models: Sequence[ServedModel]) -> None:
        wanted = {model.sha256 for model in models}
        async with self._loaded:
            await self._loaded.wait_for(lambda: all(wanted <= w.loaded for w in self._workers))

    async def _keep_running(self, worker: _Worker) -> None:
        """Run a process, and another when it dies."""
        while True:
            try:
                await self._run(worker)
            except* (asyncio.IncompleteReadError, OSError):
                log.warning("a worker died or did not start: starting another")
            await asyncio.sleep(_RESTART_SECONDS)

    async def _run(self, worker: _Worker) -> None:
        """Start a process and talk to it, until it dies or this is cancelled."""
        connection, process = start_process()
        reader, writer = await asyncio.open_connection(sock=connection, limit=_MESSAGE_BYTES)
        worker.is_running = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(worker, reader))
                group.create_task(self._feed(worker, writer))
        finally:
            worker.is_running = False
            writer.close()
            process.kill()
            process.wait()
            for job in worker.jobs.values():
                if not job.answer.done():
                    job.answer.set_exception(busy(503, "the worker process died: try again"))
            worker.jobs.clear()
            worker.loaded.clear()

    async def _receive(self, worker: _Worker, reader: asyncio.StreamReader) -> None:
        """Pass on every reply; raise IncompleteReadError when the process dies."""
        while True:
            reply = await receive_message(reader)
            if not reply.head and worker.confirmation is not None:
                worker.confirmation.set_result(None)
                continue
            self._on_batch(len(reply.head))
            for (number, error), content in zip(reply.head, reply.parts, strict=True):
                answer = worker.jobs.pop(number).answer
                if answer.done():  # it took too long, and the caller was told so
                    continue
                if error:
                    answer.set_exception(ApiError(*error))
                else:
                    answer.set_result(content)
            worker.wake.set()

    async def _feed(self, worker: _Worker, writer: asyncio.StreamWriter) -> None:
        while True:
            worker.wake.clear()
            await self._update_models(worker, writer)
            if jobs := self._take(worker):
                await self._send(worker, writer, jobs)
            else:
                await worker.wake.wait()

    async def _update_models(self, worker: _Worker, writer: asyncio.StreamWriter) -> None:
        """Load the models that are wanted, unload the others."""
        wanted = {model.sha256: model for model in self._wanted}
        if wanted.keys() == worker.loaded:
            return
        for sha256 in wanted.keys() - worker.loaded:
            await self._load(worker, writer, wanted[sha256])
        for sha256 in worker.loaded - wanted.keys():
            await self._confirm(worker, writer, pack({"do": "unload", "model": sha256}))
            worker.loaded.discard(sha256)
        async with self._loaded:
            self._loaded.notify_all()

    async def _load(
        self, worker: _Worker, writer: asyncio.StreamWriter, model: ServedModel
    ) -> None:
        message = pack({"do": "load", "model": model.sha256}, [model.content])
        await self._confirm(worker, writer, message)
        worker.loaded.add(model.sha256)

    async def _confirm(self, worker: _Worker, writer: asyncio.StreamWriter, message: bytes) -> None:
        worker.confirmation = asyncio.get_running_loop().create_future()
        writer.write(message)
        await writer.drain()
        await worker.confirmation

    def _take(self, worker: _Worker) -> list[_Job]:
        """Return the jobs that `worker` gets next; none if it holds enough."""
        for queue in (self._short, self._long):
            _drop_abandoned(queue)
        at_long = sum(other.has_long for other in self._workers)
        may_take_long = at_long < max(1, len(self._workers) - 1)
        if self._long and may_take_long and not (worker.took_long and self._short):
            if worker.jobs:  # it comes next: nothing is put before it
                return []
            worker.took_long = True
            return [self._long.popleft()]
        most = (_BATCHES_AHEAD - 1) * self._settings.batch_size
        may_work_ahead = len(self._short) >= _ENOUGH and len(worker.jobs) <= most
        if worker.jobs and (worker.has_long or not may_work_ahead):
            return []
        worker.took_long = False
        batch: list[_Job] = []
        size = 0
        while self._short and len(batch) < self._settings.batch_size and size < _MESSAGE_BYTES:
            batch.append(self._short.popleft())
            size += len(batch[-1].upload.content)
            _drop_abandoned(self._short)
        return batch

    async def _send(self, worker: _Worker, writer: asyncio.StreamWriter, jobs: list[_Job]) -> None:
        numbered = {next(self._numbers): job for job in jobs}
        worker.jobs |= numbered
        for model in {job.model for job in jobs}:
            if model.sha256 not in worker.loaded:  # exchanged since: the old one answers
                await self._load(worker, writer, model)
        tasks = [
            (number, job.model.sha256, job.upload.content_type, job.options)
            for number, job in numbered.items()
        ]
        head: dict[str, Any] = {
            "do": "recognize",
            "tasks": tasks,
            "max_pixels": self._settings.max_pixels,
            "batch_size": self._settings.batch_size,
            "batch_seconds": self._settings.batch_milliseconds / 1000,
        }
        writer.write(pack(head, [job.upload.content for job in jobs]))
        await writer.drain()


def _drop_abandoned(queue: deque[_Job]) -> None:
    """Drop the first jobs whose callers are no longer waiting."""
    while queue and queue[0].answer.done():
        queue.popleft()


def start_process() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a worker process; it ends when this side of its socket closes, for whatever reason."""
    ours, theirs = socket.socketpair()
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-P", "-m", "penstroke.serve.inference_worker", str(theirs.fileno())]
    with theirs:
        try:
            process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )  # fmt: skip
        except OSError:  # no memory, or no more processes
            ours.close()
            raise
    return ours, process
