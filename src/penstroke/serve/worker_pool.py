"""Worker processes that recognise images in batches, behind bounded queues.

These are not workers of `penstroke.workers`: what they answer comes from untrusted images, so that
nothing of it may be unpickled, and their pipes belong to the event loop of the service.
"""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from penstroke.errors import MissingToolError
from penstroke.serve.messages import pack, receive_message
from penstroke.serve.responses import ApiError, busy
from penstroke.serve.served_models import ServedModel
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.uploads import Options, Upload
from penstroke.workers import interrupts_blocked

log = logging.getLogger("penstroke.serve")
_START_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_MESSAGE_BYTES = 4_000_000  # size of the uploads in one message, at most
_BATCHES_AHEAD = 4  # held by a worker at most: under full load the service comes every 50 ms
_ENOUGH = 8  # waiting characters before a busy worker gets more: fewer may become a larger batch


@dataclass(eq=False)
class _Job:
    model: ServedModel
    options: Options
    upload: Upload
    answer: asyncio.Future[bytes]


@dataclass(eq=False)
class _Queue:
    """Images that no worker has taken yet, and the number of all that wait for an answer."""

    bound: int
    jobs: deque[_Job] = field(default_factory=deque)
    waiting: int = 0


@dataclass(eq=False)
class _Worker:
    """A process, the jobs it holds by number, and the models it has loaded by SHA-256."""

    writer: StreamWriter = field(init=False)
    silence: asyncio.Timeout = field(init=False)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_running: bool = False
    is_loading: bool = False
    jobs: dict[int, _Job] = field(default_factory=dict)
    loaded: set[str] = field(default_factory=set)
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

    `on_batch` is called with the size of each batch. `short` holds the characters that wait, `long`
    the pages and occlusion maps.
    """

    def __init__(self, settings: ServiceSettings, on_batch: Callable[[float], None]) -> None:
        self._settings = settings
        self._on_batch = on_batch
        self.short = _Queue(settings.queue_size)
        self.long = _Queue(settings.page_queue_size)
        self._workers = [_Worker() for _ in range(settings.workers)]
        self._numbers = count()
        self._tasks: list[asyncio.Task[None]] = []
        self._wanted: list[ServedModel] = []
        self._loaded = asyncio.Condition()

    async def start(self, models: Sequence[ServedModel]) -> None:
        """Start the processes and load `models`; MissingToolError if that takes over a minute."""
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

    def refuse_if_full(self, options: Options, images: int = 1) -> None:
        """Raise ApiError 429 if `images` more do not fit in the queue; call it before the body."""
        queue = self._queue(options)
        if queue.waiting + images > queue.bound:
            raise busy(429, f"{queue.waiting} images are waiting to be recognised: try again soon")

    async def recognize(self, model: ServedModel, options: Options, upload: Upload) -> bytes:
        """Return the answer as JSON; ApiError says that the queue is full or what went wrong."""
        self.refuse_if_full(options)
        queue = self._queue(options)
        job = _Job(model, options, upload, asyncio.get_running_loop().create_future())
        queue.jobs.append(job)
        queue.waiting += 1
        self._wake_one()
        try:
            return await job.answer
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):  # a worker has taken it
                queue.jobs.remove(job)
            raise
        finally:
            queue.waiting -= 1

    def _queue(self, options: Options) -> _Queue:
        return self.long if options.is_long else self.short

    def _wake_one(self) -> None:
        """Wake the worker that holds least, if it is idle or there is enough to work ahead on."""
        running = [w for w in self._workers if w.is_running and not w.wake.is_set()]
        least = min(running, key=lambda worker: len(worker.jobs), default=None)
        if least is not None and (not least.jobs or len(self.short.jobs) >= _ENOUGH):
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
                log.warning("a worker died, hung or did not start: starting another")
            await asyncio.sleep(_RESTART_SECONDS)

    async def _run(self, worker: _Worker) -> None:
        """Start a process and talk to it, until it dies, hangs, or this is cancelled."""
        connection, process = start_process()
        reader, worker.writer = await asyncio.open_connection(sock=connection, limit=_MESSAGE_BYTES)
        worker.is_running = True
        try:
            async with asyncio.timeout(None) as worker.silence, asyncio.TaskGroup() as group:
                group.create_task(self._receive(worker, reader))
                group.create_task(self._feed(worker))
        finally:
            worker.is_running = False
            worker.writer.close()
            process.kill()
            process.wait()
            cause = "took too long, and was ended" if worker.silence.expired() else "died"
            for job in worker.jobs.values():
                if not job.answer.done():
                    job.answer.set_exception(busy(503, f"the worker process {cause}: try again"))
            worker.jobs.clear()
            worker.loaded.clear()
            worker.is_loading = False

    def _expect_reply(self, worker: _Worker) -> None:
        """Allow the worker to be silent from now on for as long as what it does may take."""
        if worker.silence.expired():
            return
        seconds = _START_SECONDS if worker.is_loading else self._settings.worker_seconds
        now = asyncio.get_running_loop().time()
        worker.silence.reschedule(now + seconds if worker.is_loading or worker.jobs else None)

    async def _receive(self, worker: _Worker, reader: StreamReader) -> None:
        """Pass on every reply; raise IncompleteReadError when the process dies."""
        while True:
            reply = await receive_message(reader)
            if isinstance(reply.head, dict):
                async with self._loaded:
                    worker.loaded, worker.is_loading = set(reply.head["loaded"]), False
                    self._loaded.notify_all()
                self._expect_reply(worker)
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
            self._expect_reply(worker)
            worker.wake.set()

    async def _feed(self, worker: _Worker) -> None:
        while True:
            worker.wake.clear()
            await self._load(worker, self._wanted)
            if jobs := self._take(worker):
                await self._send(worker, jobs)
            else:
                await worker.wake.wait()

    async def _load(self, worker: _Worker, models: Sequence[ServedModel]) -> None:
        """Return when the worker has loaded `models`, and no others."""
        wanted = {model.sha256: model for model in models}
        if wanted.keys() == worker.loaded:
            return
        new = list(wanted.keys() - worker.loaded)
        thresholds = [wanted[sha256].metadata["confidence_threshold"] for sha256 in new]
        head = {"do": "load", "keep": list(wanted), "new": new, "thresholds": thresholds}
        worker.is_loading = True
        self._expect_reply(worker)
        worker.writer.write(pack(head, [wanted[sha256].content for sha256 in new]))
        await worker.writer.drain()
        async with self._loaded:
            await self._loaded.wait_for(lambda: worker.loaded == wanted.keys())

    def _take(self, worker: _Worker) -> list[_Job]:
        """Return the jobs that `worker` gets next; none if it holds enough."""
        short, long, batch_size = self.short.jobs, self.long.jobs, self._settings.batch_size
        at_long = sum(other.has_long for other in self._workers)
        may_take_long = at_long < max(1, len(self._workers) - 1)
        if long and may_take_long and not (worker.took_long and short):
            if worker.jobs:  # it comes next: nothing is put before it
                return []
            worker.took_long = True
            return [long.popleft()]
        most = (_BATCHES_AHEAD - 1) * batch_size
        may_work_ahead = len(short) >= _ENOUGH and len(worker.jobs) <= most
        if worker.jobs and (worker.has_long or not may_work_ahead):
            return []
        worker.took_long = False
        batch: list[_Job] = []
        size = 0
        while short and len(batch) < batch_size and size < _MESSAGE_BYTES:
            batch.append(short.popleft())
            size += len(batch[-1].upload.content)
        return batch

    async def _send(self, worker: _Worker, jobs: list[_Job]) -> None:
        numbered = {next(self._numbers): job for job in jobs}
        was_idle = not worker.jobs
        worker.jobs |= numbered
        if was_idle:
            self._expect_reply(worker)
        # Of a model that was exchanged since, the old one answers.
        await self._load(worker, [*self._wanted, *(job.model for job in jobs)])
        tasks = [
            (number, job.model.sha256, job.upload.content_type, job.options)
            for number, job in numbered.items()
        ]
        head = {
            "do": "recognize", "tasks": tasks, "max_pixels": self._settings.max_pixels,
            "batch_size": self._settings.batch_size,
            "batch_seconds": self._settings.batch_milliseconds / 1000,
        }  # fmt: skip
        worker.writer.write(pack(head, [job.upload.content for job in jobs]))
        await worker.writer.drain()


def start_process() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a worker process; it ends when this side of its socket closes, for whatever reason."""
    ours, theirs = socket.socketpair()
    paths = filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")))
    command = [sys.executable, "-P", "-m", "penstroke.serve.inference_worker", str(theirs.fileno())]
    with theirs, interrupts_blocked():
        try:
            process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )  # fmt: skip
        except OSError:  # no memory, or no more processes
            ours.close()
            raise
    return ours, process
