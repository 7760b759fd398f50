"""Many requests, one run of the network: bounded queues, and processes that read from them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from penstroke.errors import MissingToolError
from penstroke.serve.messages import Message, Question, packed
from penstroke.serve.pipe import MESSAGE_BYTES, Link
from penstroke.serve.responses import ApiError, busy
from penstroke.serve.served_models import Served
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.uploads import Body

log = logging.getLogger("penstroke.serve")
_START_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_AHEAD = 4
"""Batches in a reader's hands, at most: when most is asked, the service comes to it every 50 ms."""
_ENOUGH = 8
"""Characters that wait before a second batch is handed to a reader: they may get company."""


class Sizes(Protocol):
    """Where the size of each batch is told."""

    def observe(self, amount: float) -> None:
        """Take note of a batch of so many images."""


@dataclass(eq=False)
class _Job:
    model: Served
    question: Question
    body: Body
    answer: asyncio.Future[bytes]
    is_settled: bool = False


@dataclass(eq=False)
class _Reader:
    """One process: what is in its hands, and where it waits for more."""

    number: int
    link: Link | None = None
    in_hand: deque[list[_Job]] = field(default_factory=deque)
    took_long: bool = False
    turn: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_at_long(self) -> bool:
        return any(batch[0].question.is_long for batch in self.in_hand)

    @property
    def known(self) -> set[str]:
        return self.link.known if self.link is not None else set()


class Readers:
    """Hands what waits to processes that read it.

    A reader that is free takes all that waits, up to a batch. So nobody waits for company: a batch
    is what came while the one before was read. Long questions have a queue of their own; a reader
    takes one in turn with a batch of characters, and all readers but one at most are at them.

    Args:
        settings: how many readers, and the bounds of queues and batches.
        sizes: where the size of each batch is told.

    Attributes:
        waiting_short: characters taken on and not yet answered.
        waiting_long: pages and explanations likewise.
    """

    def __init__(self, settings: ServiceSettings, sizes: Sizes) -> None:
        self._settings = settings
        self._sizes = sizes
        self._short: deque[_Job] = deque()
        self._long: deque[_Job] = deque()
        self._readers = [_Reader(number) for number in range(settings.readers)]
        self._tasks: list[asyncio.Task[None]] = []
        self._learned = asyncio.Condition()
        self._wanted: list[Served] = []
        self.waiting_short = self.waiting_long = 0

    async def start(self, models: Sequence[Served]) -> None:
        """Start the processes; returns when each has learned all `models`.

        Raises:
            MissingToolError: they are not there in a minute.
        """
        self._wanted = list(models)
        self._tasks = [asyncio.create_task(self._keep(reader)) for reader in self._readers]
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._until_known(models)
        except TimeoutError:
            await self.stop()
            raise MissingToolError(
                f"the processes that read did not start in {_START_SECONDS:.0f} s: the machine is "
                "busy or short of memory; try fewer, --workers 1"
            ) from None

    async def stop(self) -> None:
        """End the processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def learn(self, model: Served, instead_of: Served) -> None:
        """Return when every reader has learned `model`; what it replaces is known until then."""
        self._wanted.append(model)
        for reader in self._readers:
            reader.turn.set()
        await self._until_known([model])
        self._wanted.remove(instead_of)

    def is_full(self) -> bool:
        """Return whether no more characters are taken on."""
        return self.waiting_short >= self._settings.queue_size

    def refuse_if_full(self, question: Question) -> None:
        """Raise ApiError 429 if the queue is full: best asked before a body is waited for."""
        waiting, bound = (
            (self.waiting_long, self._settings.page_queue_size)
            if question.is_long
            else (self.waiting_short, self._settings.queue_size)
        )
        if waiting >= bound:
            raise busy(429, f"{waiting} images are waiting to be read: ask again soon")

    async def read(self, model: Served, question: Question, body: Body) -> bytes:
        """Return the answer as JSON.

        Raises:
            ApiError: 429, the queue is full; 4xx, the image cannot be read; 503, the reader died.
        """
        self.refuse_if_full(question)
        job = _Job(model, question, body, asyncio.get_running_loop().create_future())
        (self._long if question.is_long else self._short).append(job)
        self._count(job, 1)
        self._wake_one()
        return await job.answer

    async def _keep(self, reader: _Reader) -> None:
        """Run a process for `reader`, and another when it dies."""
        while True:
            try:
                reader.link = await Link.start()
                async with asyncio.TaskGroup() as group:
                    group.create_task(reader.link.listen())
                    group.create_task(self._feed(reader, reader.link))
            except* (asyncio.IncompleteReadError, OSError):
                log.warning("reader %d died or did not start: another is tried", reader.number)
            finally:
                if reader.link is not None:
                    reader.link.close()
                    reader.link = None
                for job in (job for batch in reader.in_hand for job in batch):
                    self._settle(job, busy(503, "the reader died over this: ask again"))
                reader.in_hand.clear()
            await asyncio.sleep(_RESTART_SECONDS)

    async def _feed(self, reader: _Reader, link: Link) -> None:
        while True:
            reader.turn.clear()
            await self._teach(link)
            if batch := self._take(reader):
                await self._hand_over(reader, link, batch)
            else:
                await reader.turn.wait()

    async def _teach(self, link: Link) -> None:
        """Tell the reader which models there are, and which there are no more."""
        wanted = {model.sha256: model for model in self._wanted}
        if wanted.keys() == link.known:
            return
        for sha256 in wanted.keys() - link.known:
            await link.learn(wanted[sha256])
        for sha256 in link.known - wanted.keys():
            await link.forget(sha256)
        async with self._learned:
            self._learned.notify_all()

    def _take(self, reader: _Reader) -> list[_Job]:
        """Return what `reader` shall read next; nothing where it has enough in its hands."""
        self._forget_abandoned()
        if self._is_long_due(reader):
            if reader.in_hand:  # comes next: nothing more is put before it
                return []
            reader.took_long = True
            return [self._long.popleft()]
        is_free = not reader.in_hand
        may_work_ahead = len(reader.in_hand) < _AHEAD and not reader.is_at_long
        if not (is_free or (may_work_ahead and len(self._short) >= _ENOUGH)):
            return []
        reader.took_long = False
        return self._take_short()

    def _is_long_due(self, reader: _Reader) -> bool:
        """Return whether `reader` is to take a long question: in turn with characters."""
        at_long = sum(other.is_at_long for other in self._readers)
        may_take = at_long < max(1, len(self._readers) - 1)
        return bool(self._long) and may_take and not (reader.took_long and self._short)

    def _forget_abandoned(self) -> None:
        """Drop those first in line whose asker has gone, or was told that it takes too long."""
        for queue in (self._short, self._long):
            while queue and queue[0].answer.done():
                self._settle(queue.popleft(), b"")

    def _take_short(self) -> list[_Job]:
        batch: list[_Job] = []
        taken = 0
        while self._short and len(batch) < self._settings.batch_size and taken < MESSAGE_BYTES:
            batch.append(self._short.popleft())
            taken += len(batch[-1].body.content)
            self._forget_abandoned()
        return batch

    async def _hand_over(self, reader: _Reader, link: Link, batch: list[_Job]) -> None:
        reader.in_hand.append(batch)
        for model in {job.model.sha256: job.model for job in batch}.values():
            if model.sha256 not in link.known:  # exchanged since: the old one answers them
                await link.learn(model)
        left = len(batch)

        def on_reply(reply: Message) -> bool:
            nonlocal left
            left -= len(reply.head)
            self._deliver(batch, reply)
            if not left:
                reader.in_hand.popleft()
                reader.turn.set()
            return not left

        await link.send(self._message(batch), on_reply)

    def _message(self, batch: list[_Job]) -> bytes:
        head = {
            "do": "read",
            "jobs": [(job.model.sha256, job.body.content_type, *job.question) for job in batch],
            "max_pixels": self._settings.max_pixels,
            "batch_size": self._settings.batch_size,
            "batch_seconds": self._settings.batch_milliseconds / 1000,
        }
        return packed(head, [job.body.content for job in batch])

    def _deliver(self, batch: list[_Job], reply: Message) -> None:
        self._sizes.observe(len(reply.head))
        for told, content in zip(reply.head, reply.parts, strict=True):
            error = told.get("error")
            self._settle(batch[told["index"]], ApiError(*error) if error else content)

    def _settle(self, job: _Job, outcome: bytes | ApiError) -> None:
        """Answer `job`, once; who asked may be gone."""
        if job.is_settled:
            return
        job.is_settled = True
        self._count(job, -1)
        if job.answer.done():
            return
        if isinstance(outcome, bytes):
            job.answer.set_result(outcome)
        else:
            job.answer.set_exception(outcome)

    def _count(self, job: _Job, change: int) -> None:
        if job.question.is_long:
            self.waiting_long += change
        else:
            self.waiting_short += change

    def _wake_one(self) -> None:
        """Wake a reader for a new job: one with nothing in its hands, else one to work ahead."""
        resting = [reader for reader in self._readers if reader.link and not reader.turn.is_set()]
        idle = [reader for reader in resting if not reader.in_hand]
        ahead = resting if len(self._short) >= _ENOUGH else []
        for reader in (idle or ahead)[:1]:
            reader.turn.set()

    async def _until_known(self, models: Sequence[Served]) -> None:
        wanted = {model.sha256 for model in models}
        async with self._learned:
            await self._learned.wait_for(lambda: all(wanted <= r.known for r in self._readers))
