"""What tests let workers do: in a module that a new process can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from penstroke.errors import StorageError


def square(number: int) -> int:
    return number**2


def who(_: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def break_at_three(number: int) -> int:
    if number == 3:
        raise StorageError("no room for 3")
    return number


def divide(number: int) -> float:
    return 1 / number


def die_at_five(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count_up(number: int) -> Iterator[int]:
    yield from range(number)


def sleep(seconds: float) -> Iterator[float]:
    yield seconds
    time.sleep(seconds)


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: int) -> int:
        self.calls += 1
        return self.calls
