"""The runs as a page shows them, and what is new in them while they go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstroke.errors import PenstrokeError, near_match
from penstroke.files import runs_root
from penstroke.runs import Run
from penstroke.web.answers import ApiError, busy

_POLL_SECONDS = 0.5
_QUIET_POLLS = 30
"""After so many polls without news a comment is sent: who is gone is found out by writing."""
_MAX_LISTENERS = 64
_MAX_UNREAD = 256

Facts = dict[str, Any]


@dataclass(frozen=True)
class _Known:
    """A run as it was read last, and the time stamps of the files that it was read from."""

    stamps: tuple[int, ...]
    run: Run
    history: list[Facts]
    summary: Facts


class RunsFeed:
    """Reads the run directories again where their files have changed."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._listeners: set[asyncio.Queue[Facts | None]] = set()
        self._poller: asyncio.Task[None] | None = None

    def all(self) -> list[Facts]:
        """Return every run in the folder of runs, newest first, without its history."""
        self.refresh()
        known = sorted(self._known.values(), key=lambda k: k.run.record.created, reverse=True)
        return [_facts(k) for k in known]

    def one(self, name: str) -> Facts:
        """Return the run `name` with its history; ApiError 404 where the listing has none."""
        self.refresh()
        if name not in self._known:
            near = near_match(name, self._known)
            raise ApiError(404, "unknown_run", f'there is no run "{name[:100]}"{near}')
        known = self._known[name]
        return {**_facts(known), "history": known.history, "verdict": known.summary.get("verdict")}

    def refresh(self) -> list[Facts]:
        """Look at the directories; return what is new as events: name, status, new history."""
        found = {path.name: path for path in _folders()}
        for gone in self._known.keys() - found.keys():
            del self._known[gone]
        events = []
        for name, path in found.items():
            before = self._known.get(name)
            with contextlib.suppress(PenstrokeError, OSError, ValueError):
                now = _read(path, before)
                if now is not before:
                    self._known[name] = now
                    events.append(_event(before, now))
        return events

    async def events(self) -> AsyncIterator[str]:
        """Yield Server-Sent Events as runs go on, until `stop`; one poller serves every listener.

        Raises:
            ApiError: 503, too many listen.
        """
        queue: asyncio.Queue[Facts | None] = asyncio.Queue(_MAX_UNREAD)
        self._listeners.add(queue)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            yield ": listening\n\n"
            while (event := await queue.get()) is not None:
                yield f"data: {json.dumps(event)}\n\n" if event else ": still here\n\n"
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._poller is not None:
                self._poller.cancel()
                self._poller = None

    def refuse_if_full(self) -> None:
        """Raise ApiError 503 where no more listeners are taken on."""
        if len(self._listeners) >= _MAX_LISTENERS:
            raise busy(503, f"{_MAX_LISTENERS} pages listen already: close one")

    def stop(self) -> None:
        """End every listener's stream."""
        for queue in self._listeners:
            _put(queue, None)

    async def _poll(self) -> None:
        await asyncio.to_thread(self.refresh)
        quiet = 0
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            events = await asyncio.to_thread(self.refresh)
            quiet = 0 if events else quiet + 1
            if quiet == _QUIET_POLLS:
                quiet, events = 0, [{}]
            for queue in list(self._listeners):
                for event in events:
                    _put(queue, event)


def _put(queue: asyncio.Queue[Facts | None], event: Facts | None) -> None:
    """Put `event` into the queue; who reads too slowly is hung up on instead."""
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        event = None
    queue.put_nowait(event)


def _folders() -> list[Path]:
    return sorted(path.parent for path in runs_root().glob("*/run.toml"))


def _read(path: Path, before: _Known | None) -> _Known:
    """Return the run at `path`; `before` itself where none of its files has changed."""
    files = ("run.toml", "history.jsonl", "summary.json")
    stamps = tuple(_time_stamp(path / name) for name in files)
    if before is not None and before.stamps == stamps:
        return before
    same_record = before is not None and before.stamps[0] == stamps[0]
    run = before.run if before is not None and same_record else Run.open(path)
    return _Known(stamps, run, run.history(), run.summary())


def _time_stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _event(before: _Known | None, now: _Known) -> Facts:
    seen = len(before.history) if before is not None else 0
    fresh = now.history[seen:] if seen <= len(now.history) else now.history
    return {"name": now.run.name, "status": now.run.status, "history": fresh}


def _facts(known: _Known) -> Facts:
    record = known.run.record
    return {
        "name": known.run.name,
        "dataset": record.config.data.dataset,
        "status": known.run.status,
        "epochs": len(known.history),
        "total_epochs": _total_epochs(known.run),
        "val_accuracy": known.summary.get("val_accuracy") or _last_accuracy(known.history),
        "test_accuracy": known.summary.get("test_accuracy"),
        "created": record.created,
    }


def _last_accuracy(history: list[Facts]) -> float | None:
    return history[-1].get("val_accuracy") if history else None


def _total_epochs(run: Run) -> int:
    """Return how many epochs the run was asked for: small data gets more, for its steps."""
    train = run.record.config.train
    steps = max(1, round(run.record.data.train_images / train.batch_size))
    return max(train.epochs, math.ceil(train.min_steps / steps))
