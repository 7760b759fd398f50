"""The conformance suite of engines: real workers, killed, stopped and given impossible work."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import psutil
import pytest

from helpers import small_config, wait_until
from penstroke.config.settings import Resolved, RunConfig
from penstroke.search.engine import (
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    LocalEngine,
    Progress,
    run_job,
)
from penstroke.training.checkpoint import Checkpoint

RESOLVED = Resolved(device="cpu", precision="float32", threads=1)


@pytest.fixture
def engine() -> Iterator[LocalEngine]:
    opened = LocalEngine(2, [small_config()], silence_seconds=20)
    yield opened
    opened.close()


def job(key: str = "0/0", epochs: int = 2, state: bytes | None = None, **train: object) -> Job:
    return Job(key, small_config(epochs=4, **train), RESOLVED, epochs, state)


def events_of(engine: Engine, until: Callable[[list[Event]], bool]) -> list[Event]:
    events: list[Event] = []

    def ended_so_far() -> bool:
        events.extend(engine.wait(0.2))
        return until(events)

    wait_until(ended_so_far)
    return events


def ended(events: list[Event]) -> bool:
    return any(not isinstance(event, Progress) for event in events)


def process_ids(engine: LocalEngine) -> set[int]:
    return {worker.handle.pid for worker in engine._pool}


def workers_of(engine: LocalEngine) -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if p.pid in process_ids(engine)]


def test_a_worker_trains_what_this_process_would(engine: LocalEngine) -> None:
    """To the same bits; and on from its checkpoint, as if it had never stopped."""
    (here,) = [e for e in run_job(job(epochs=4)) if isinstance(e, Progress)]
    engine.submit(job(epochs=2))
    first, done = events_of(engine, ended)
    assert isinstance(first, Progress)
    assert done == Finished("0/0")
    assert [m["epoch"] for m in first.metrics] == [1, 2]
    engine.submit(job(epochs=4, state=first.state))
    second, _ = events_of(engine, ended)
    assert isinstance(second, Progress)
    there = Checkpoint.from_bytes(second.state).weights
    for name, array in Checkpoint.from_bytes(here.state).weights.items():
        assert (there[name] == array).all(), name


def test_a_job_that_is_done_already_only_ends(engine: LocalEngine) -> None:
    (state,) = [e.state for e in run_job(job(epochs=2)) if isinstance(e, Progress)]
    engine.submit(job(epochs=2, state=state))
    assert events_of(engine, ended) == [Finished("0/0")]


def test_both_workers_work_at_once(engine: LocalEngine) -> None:
    engine.submit(job("0/0"))
    engine.submit(job("1/0"))
    assert engine.free == 0
    events = events_of(engine, lambda e: sum(isinstance(x, Finished) for x in e) == 2)
    assert {event.key for event in events} == {"0/0", "1/0"}
    assert engine.free == 2


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (small_config(learning_rate=1e30, optimizer="sgd"), "the loss became"),
        (RunConfig.parse({"data": {"dataset": "gone"}}), 'unknown data set "gone"'),
        (small_config(batch_size=5000), "train.batch_size: 5000"),
    ],
)
def test_a_job_that_cannot_be_done_fails_alone(
    engine: LocalEngine, broken: RunConfig, said: str
) -> None:
    engine.submit(Job("7/0", broken, RESOLVED, 2))
    failed = events_of(engine, ended)[-1]
    assert isinstance(failed, Failed)
    assert said in failed.reason
    assert not failed.can_retry
    engine.submit(job("8/0"))
    assert events_of(engine, ended)[-1] == Finished("8/0")


def test_a_killed_worker_is_replaced(engine: LocalEngine) -> None:
    engine.submit(job("3/0", epochs=4))
    killed = workers_of(engine)
    for process in killed:
        process.kill()
    (failed,) = events_of(engine, lambda _: not process_ids(engine) & {p.pid for p in killed})
    assert failed == Failed("3/0", "its worker was ended by SIGKILL (out of memory?)", True)
    engine.submit(job("3/0"))
    assert events_of(engine, ended)[-1] == Finished("3/0")
    assert engine.free == 2


def test_a_silent_worker_is_taken_to_hang() -> None:
    engine = LocalEngine(1, [small_config()], silence_seconds=1.0)
    try:
        engine.submit(job("5/0", epochs=4))
        (worker,) = workers_of(engine)
        worker.suspend()
        (failed,) = events_of(engine, ended)
        assert isinstance(failed, Failed)
        assert failed.can_retry
        assert "no epoch in 1 s" in failed.reason
    finally:
        engine.close()


def test_no_worker_outlives_its_parent() -> None:
    """The parent is killed with -9 while both of its workers wait."""
    pid = os.fork()
    if pid == 0:
        LocalEngine(2)
        signal.pause()
        os._exit(0)
    parent = psutil.Process(pid)
    wait_until(lambda: len(parent.children()) == 2)
    workers = parent.children()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    _, alive = psutil.wait_procs(workers, timeout=120)
    assert alive == []
