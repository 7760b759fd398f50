from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from penstroke.errors import StorageError, WorkerError
from penstroke.workers import Worker, map_unordered, wait
from worker_functions import (
    Counter,
    break_at_three,
    count_up,
    die_at_five,
    divide,
    sleep,
    square,
    who,
)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_item_is_done_once(workers: int) -> None:
    assert dict(map_unordered(square, range(20), workers)) == {k: k**2 for k in range(20)}
    assert not list(map_unordered(square, [], workers))


def test_items_are_shared_among_processes_and_an_object_keeps_its_state() -> None:
    pids = {pid for _, pid in map_unordered(who, range(20), 2)}
    assert len(pids) == 2
    assert os.getpid() not in pids
    calls = [calls for _, calls in map_unordered(Counter(), range(10), 2)]
    assert sum(calls.count(n) for n in (1, 2)) <= 4
    assert max(calls) >= 5


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here(workers: int) -> None:
    with pytest.raises(StorageError, match="no room for 3"):
        list(map_unordered(break_at_three, range(9), workers))


def test_an_unforeseen_error_brings_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"in divide(?s:.*)ZeroDivisionError"):
        list(map_unordered(divide, [1, 0], 2))


def test_a_worker_that_dies_is_an_error_that_names_its_item() -> None:
    before = set(psutil.Process().children())
    with pytest.raises(WorkerError, match="ended by SIGKILL") as died:
        list(map_unordered(die_at_five, range(9), 2))
    assert died.value.position == 5
    left = set(psutil.Process().children()) - before
    assert all("resource_tracker" in " ".join(child.cmdline()) for child in left)


@pytest.mark.parametrize("fork", [False, pytest.param(True, marks=pytest.mark.skipif(
    sys.platform != "linux", reason="no safe fork"))])  # fmt: skip
def test_replies_come_in_order_and_messages_wait(fork: bool) -> None:
    first, second = Worker(count_up, fork=fork), Worker(count_up, fork=fork)
    try:
        for count in (3, 2):
            first.send(count)
        assert wait([first, second], 20) == [first]
        assert [first.receive() for _ in range(5)] == [0, 1, 2, 0, 1]
        assert wait([first, second], 0) == []
        os.kill(second.pid, signal.SIGTERM)
        assert wait([first, second], 20) == [second]
        second.send(1)
        with pytest.raises(WorkerError, match="SIGTERM"):
            second.receive()
        first.send(1)
        assert first.receive() == 0
    finally:
        assert "SIGKILL" in first.end()
        second.end()


def test_a_worker_is_ended_in_the_middle_of_work() -> None:
    worker = Worker(sleep)
    worker.send(600.0)
    assert worker.receive() == 600.0
    worker.end()
    assert not psutil.pid_exists(worker.pid)


PARENT = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from worker_functions import sleep
from penstroke.workers import Worker
if __name__ == "__main__":
    workers = [Worker(sleep, fork=sys.argv[2] == "fork") for _ in range(2)]
    for worker in workers:
        worker.send(600.0)
    for worker in workers:
        worker.receive()
    print(json.dumps([worker.pid for worker in workers]), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, method: str, number: signal.Signals) -> None:
    """Both in the middle of work; on Ctrl-C, which reaches them too, they print nothing."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent), method],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert parent.stdout is not None
    workers = [psutil.Process(pid) for pid in json.loads(parent.stdout.readline())]
    os.kill(parent.pid, number) if number == signal.SIGKILL else os.killpg(parent.pid, number)
    _, err = parent.communicate(timeout=120)
    _, alive = psutil.wait_procs(workers, timeout=120)
    assert not alive
    assert err.count("Traceback") == (number == signal.SIGINT)
