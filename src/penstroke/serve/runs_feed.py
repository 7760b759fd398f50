"""The runs as a page shows them, their reports, and their changes while they train."""

import asyncio
import contextlib
import hmac
import math
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from penstroke.errors import PenstrokeError, near_match
from penstroke.files import runs_root, time_stamp
from penstroke.runs.run import Metrics, Run, RunSummary
from penstroke.serve.responses import ApiError, busy
from penstroke.serve.schemas import RunAnswer, RunEvent, RunFacts

_POLL_SECONDS = 0.5
_QUIET_POLLS = 30  # before a comment is sent: writing shows whether a listener is there
_MAX_LISTENERS = 64
_FILES = ("run.toml", "history.jsonl", "summary.json", "report/index.html")


@dataclass(frozen=True)
class _Known:
    """A run as it was last read, and the time stamps of the files it was read from."""

    stamps: tuple[int, ...]
    facts: RunFacts
    history: list[Metrics]
    diagnosis: str | None = None
    run: Run | None = None  # None: damaged
    has_report: bool = False


Runs = Mapping[str, _Known]  # by name


class RunsFeed:
    """Reads the run directories, and reads them again where their files have changed."""

    def __init__(self, token: str | None = None) -> None:
        self._key = (token or "no token").encode()
        self._known: Runs = {}
        self._read_at = -math.inf
        self._lock = threading.Lock()
        self._listeners = 0
        self._stopped = asyncio.Event()

    def all(self) -> list[RunFacts]:
        """Return all runs, newest first, without their history."""
        facts = (self._facts(known) for known in self.refresh().values())
        return sorted(facts, key=lambda one: one.created, reverse=True)

    def one(self, name: str) -> RunAnswer:
        """Return the run `name` with its history; ApiError 404 where the listing has none."""
        runs = self.refresh()
        if name not in runs:
            near = near_match(name, runs)
            raise ApiError(404, "unknown_run", f'there is no run "{name[:100]}"{near}')
        run = runs[name]
        facts = self._facts(run).model_dump()
        return RunAnswer(**facts, history=run.history, diagnosis=run.diagnosis)

    def report(self, key: str, name: str, page: str) -> bytes:
        """Return a page of the report of the run `name`; ApiError 404 unless `key` is its key."""
        run = self.refresh(_POLL_SECONDS).get(name)
        is_known = run is not None and hmac.compare_digest(key.encode(), self._key_of(name))
        if is_known and re.fullmatch(r"[a-z-]+\.html", page):
            with contextlib.suppress(OSError):
                return (runs_root() / name / "report" / page).read_bytes()
        raise ApiError(404, "not_found", "there is no such report: see /runs")

    def _facts(self, known: _Known) -> RunFacts:
        """Return its facts, with the address of its report: who has that needs no token."""
        if not known.has_report:
            return known.facts
        name = known.facts.name
        report = f"reports/{self._key_of(name).decode()}/{quote(name)}/report/index.html"
        return known.facts.model_copy(update={"report": report})

    def _key_of(self, name: str) -> bytes:
        return hmac.new(self._key, name.encode(), "sha256").hexdigest()[:32].encode()

    def refresh(self, max_age_seconds: float = 0) -> Runs:
        """Return the runs as they are, or were so long ago; what has not changed is not read."""
        with self._lock:
            if time.monotonic() - self._read_at < max_age_seconds:
                return self._known
            self._read_at = time.monotonic()
            runs: dict[str, _Known] = {}
            for path in Run.paths():
                if path.exists():  # not removed since it was listed
                    runs[path.name] = _read(path, self._known.get(path.name))
            self._known = runs
            return runs

    async def events(self) -> AsyncIterator[str]:
        """Yield Server-Sent Events about the runs until `stop`; listeners share what was read."""
        if self._stopped.is_set():
            return
        self._listeners += 1
        quiet_polls = 0
        try:
            before = await asyncio.to_thread(self.refresh, _POLL_SECONDS)
            yield ": listening\n\n"  # from here on, no change is missed
            while not self._stopped.is_set():
                runs = await asyncio.to_thread(self.refresh, _POLL_SECONDS)
                events = [f"data: {event.model_dump_json()}\n\n" for event in news(before, runs)]
                before = runs
                quiet_polls = 0 if events else quiet_polls + 1
                if quiet_polls == _QUIET_POLLS:
                    quiet_polls, events = 0, [": still here\n\n"]
                for event in events:
                    yield event
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), _POLL_SECONDS)
        finally:
            self._listeners -= 1

    def refuse_if_full(self) -> None:
        """Raise ApiError 503 where no more listeners are accepted."""
        if self._stopped.is_set():
            raise busy(503, "the service is stopping")
        if self._listeners >= _MAX_LISTENERS:
            raise busy(503, f"{_MAX_LISTENERS} pages are listening already: close one")

    def stop(self) -> None:
        """End the streams of all listeners, and accept no more."""
        self._stopped.set()


def news(before: Runs, now: Runs) -> Iterator[RunEvent]:
    """Yield what has changed between two readings: status, and further epochs."""
    for name in before.keys() - now.keys():
        yield RunEvent(name=name, status="gone", history=[])
    for name, run in now.items():
        if run is not before.get(name):
            known = len(before[name].history) if name in before else 0
            history = run.history[known:] if known <= len(run.history) else run.history
            yield RunEvent(name=name, status=run.facts.status, history=history)


def _read(path: Path, before: _Known | None) -> _Known:
    """Return the run at `path`; `before` itself where none of its files has changed."""
    stamps = tuple(time_stamp(path / n) for n in _FILES)
    if before and before.stamps == stamps:
        return before
    try:
        is_same = before is not None and before.stamps[0] == stamps[0]
        return _of_run(stamps, (before.run if before and is_same else None) or Run.open(path))
    except PenstrokeError as error:
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        facts = RunFacts(
            name=path.name, dataset="", status="damaged", epochs=0, total_epochs=0,
            val_accuracy=None, test_accuracy=None, created=f"{changed:%Y-%m-%dT%H:%M:%SZ}",
            reason=str(error),
        )  # fmt: skip
        return _Known(stamps, facts, [])


def _of_run(stamps: tuple[int, ...], run: Run) -> _Known:
    history, summary, record = run.history(), RunSummary.read(run.path), run.record
    last = history[-1].get("val_accuracy") if history else None
    facts = RunFacts(
        name=run.name, dataset=record.config.data.dataset, status=run.status, epochs=len(history),
        total_epochs=run.total_epochs, val_accuracy=(summary and summary.val_accuracy) or last,
        test_accuracy=summary and summary.test_accuracy, created=record.created,
    )  # fmt: skip
    diagnosis = summary.diagnosis if summary else None
    return _Known(stamps, facts, history, diagnosis, run, has_report=bool(stamps[-1]))
