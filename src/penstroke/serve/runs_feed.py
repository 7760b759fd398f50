"""The runs as a page shows them, and what is new in them while they go on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstroke.errors import PenstrokeError, near_match
from penstroke.runs.run import Run, folders_with
from penstroke.serve.responses import ApiError, busy

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


Runs = Mapping[str, _Known]
"""By name."""


class RunsFeed:
    """Reads the run directories again where their files have changed."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()
        self._listeners: set[asyncio.Queue[Facts | None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._is_stopped = False

    def all(self) -> list[Facts]:
        """Return every run in the folder of runs, newest first, without its history."""
        known = self.refresh().values()
        return [_facts(k) for k in sorted(known, key=lambda k: k.run.record.created, reverse=True)]

    def one(self, name: str) -> Facts:
        """Return the run `name` with its history; ApiError 404 where the listing has none."""
        found = self.refresh()
        if name not in found:
            near = near_match(name, found)
            raise ApiError(404, "unknown_run", f'there is no run "{name[:100]}"{near}')
        known = found[name]
        return {**_facts(known), "history": known.history, "verdict": known.summary.get("verdict")}

    def refresh(self) -> Runs:
        """Look at the directories; return the runs by name, what has not changed as it was."""
        with self._lock:
            found: dict[str, _Known] = {}
            for path in folders_with("run.toml"):
                before = self._known.get(path.name)
                try:
                    found[path.name] = _read(path, before)
                except (PenstrokeError, OSError, ValueError):
                    if before is not None:  # damaged, or in the middle of a change
                        found[path.name] = before
            self._known = found
            return found

    async def events(self) -> AsyncIterator[str]:
        """Yield Server-Sent Events as runs go on, until `stop`; one poller serves every listener.

        Raises:
            ApiError: 503, too many listen.
        """
        if self._is_stopped:
            return
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
        if self._is_stopped:
            raise busy(503, "the service is being stopped")
        if len(self._listeners) >= _MAX_LISTENERS:
            raise busy(503, f"{_MAX_LISTENERS} pages listen already: close one")

    def stop(self) -> None:
        """End every listener's stream, and begin no more."""
        self._is_stopped = True
        for queue in self._listeners:
            _put(queue, None)

    async def _poll(self) -> None:
        told = await asyncio.to_thread(self.refresh)
        quiet = 0
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            known = await asyncio.to_thread(self.refresh)
            events, told = list(news(told, known)), known
            quiet = 0 if events else quiet + 1
            if quiet == _QUIET_POLLS:
                quiet, events = 0, [{}]
            for queue in list(self._listeners):
                for event in events:
                    _put(queue, event)


def news(told: Runs, known: Runs) -> Iterator[Facts]:
    """Yield what is new to who was told of `told`: name, status, and epochs that came since."""
    for name in told.keys() - known.keys():
        yield {"name": name, "status": "gone", "history": []}
    for name, now in known.items():
        if now is not told.get(name):
            yield _event(told.get(name), now)


def _put(queue: asyncio.Queue[Facts | None], event: Facts | None) -> None:
    """Put `event` into the queue; who reads too slowly is hung up on instead."""
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        event = None
    queue.put_nowait(event)


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
    added = now.history[seen:] if seen <= len(now.history) else now.history
    return {"name": now.run.name, "status": now.run.status, "history": added}


def _facts(known: _Known) -> Facts:
    record = known.run.record
    return {
        "name": known.run.name,
        "dataset": record.config.data.dataset,
        "status": known.run.status,
        "epochs": len(known.history),
        "total_epochs": record.config.train.epochs_for(record.data.train_images),
        "val_accuracy": known.summary.get("val_accuracy") or _last_accuracy(known.history),
        "test_accuracy": known.summary.get("test_accuracy"),
        "created": record.created,
    }


def _last_accuracy(history: list[Facts]) -> float | None:
    return history[-1].get("val_accuracy") if history else None
