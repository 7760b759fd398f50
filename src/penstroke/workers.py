"""One process pool: workers that answer messages and end with the process that started them.

`concurrent.futures` does not serve here: one dead worker breaks its whole pool, it can neither stop
a job nor report from within one, and its workers outlive a `kill -9` of their parent.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from penstroke.errors import PenstrokeError, WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

_parent_ends: weakref.WeakSet[Connection] = weakref.WeakSet()
"""Our ends of the pipes to all workers; a forked worker inherits them, and has to close them."""


def map_unordered(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[tuple[int, Result], None, None]:
    """Yield (position, result) of each of `items`, as they are done, in any order.

    Each of `workers` processes holds one item at a time; a single one is this process. `function`
    is pickled once for each: an object keeps its state from item to item. What it raises is raised
    here; WorkerError has the position of the item whose worker died.
    """
    count = min(workers, len(items))
    if count <= 1:
        for position, item in enumerate(items):
            yield position, function(item)
        return
    waiting = iter(enumerate(items))
    positions: dict[Worker[tuple[Item], Result], int] = {}

    def assign_next(worker: Worker[tuple[Item], Result]) -> None:
        if (following := next(waiting, None)) is not None:
            positions[worker], item = following
            worker.send((item,))

    with contextlib.ExitStack() as pool:
        for _ in range(count):
            worker = Worker(partial(map, function))
            pool.callback(worker.end)
            assign_next(worker)
        while positions:
            for worker in wait(list(positions)):
                position = positions.pop(worker)
                try:
                    result = worker.receive()
                except WorkerError as error:
                    error.position = position
                    raise
                assign_next(worker)
                yield position, result


class Worker(Generic[Item, Result]):
    """A process that answers each message with replies, in order; always `end` it.

    It ignores Ctrl-C, which is for its parent to answer, and ends as soon as its parent does.
    `work` yields the replies to a message. With `fork`, the worker shares the memory of this
    process, as it is now, instead of starting anew (Linux).
    """

    def __init__(self, work: Callable[[Item], Iterable[Result]], *, fork: bool = False) -> None:
        context: Any = multiprocessing.get_context("fork" if fork else "spawn")
        if not fork and os.name != "nt":
            resource_tracker.ensure_running()  # a spawn would start it, which unblocks SIGINT
        self.connection, theirs = context.Pipe()
        _parent_ends.add(self.connection)
        self._process = context.Process(
            target=_serve, args=(theirs, work), daemon=True, name="penstroke-worker"
        )
        with theirs, interrupts_blocked():
            self._process.start()

    @property
    def pid(self) -> int:
        """Its process number."""
        return int(self._process.pid)

    def send(self, message: Item) -> None:
        """Hand over `message`, behind earlier ones; that the worker is dead shows in `receive`."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Result:
        """Return the next reply (see `wait`), or raise what `work` raised; WorkerError: it died."""
        try:
            reply: Result | Exception = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(timeout=1)  # so that the cause is its own, and not that it is killed
            raise WorkerError(self.end()) from None
        if isinstance(reply, Exception):
            raise reply
        return reply

    def end(self) -> str:
        """Kill the process, whatever it does, and return what it died of."""
        self._process.kill()
        self._process.join()
        self.connection.close()
        if (code := int(self._process.exitcode)) >= 0:
            return f"its worker ended with exit code {code}"
        name = {one.value: one.name for one in signal.Signals}.get(-code, f"signal {-code}")
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its worker was ended by {name}{hint}"


def wait(
    workers: Iterable[Worker[Item, Result]], timeout_seconds: float | None = None
) -> list[Worker[Item, Result]]:
    """Return the workers that replied or died, as soon as there is one; [] after the timeout."""
    ends: dict[Any, Worker[Item, Result]] = {worker.connection: worker for worker in workers}
    return [ends[end] for end in connection.wait(list(ends), timeout_seconds)]


def _serve(pipe: Connection, work: Callable[[Any], Iterable[Any]]) -> None:
    """Answer the messages that come through `pipe` until its other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in list(_parent_ends):
        end.close()
    messages: SimpleQueue[Any] = SimpleQueue()

    def listen() -> None:
        try:
            while True:
                messages.put(pipe.recv())
        except (EOFError, OSError):
            os._exit(0)
        except Exception:
            traceback.print_exc()
            os._exit(1)

    # A thread listens, so that the end of the parent is noticed at once, also during work.
    threading.Thread(target=listen, daemon=True).start()
    while True:
        for reply in _replies(work, messages.get()):
            try:
                pipe.send(reply)
            except OSError:
                os._exit(0)


def _replies(work: Callable[[Any], Iterable[Any]], message: Any) -> Iterator[Any]:
    try:
        yield from work(message)
    except PenstrokeError as error:
        yield error
    except MemoryError:
        yield WorkerError("its worker ran out of memory: use fewer --workers")
    except Exception:  # of any type, which perhaps cannot be pickled
        yield RuntimeError(traceback.format_exc())


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Let processes inherit a blocked SIGINT: Ctrl-C while they start would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
