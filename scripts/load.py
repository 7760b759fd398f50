"""How the service bears load, beside the usual way to serve: `python scripts/load.py RUN`.

The client is this process, the services are others; requests leave on time whatever is answered.
RUN is a finished run, best one trained on MNIST; the images are those of MNIST where it is there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from load_client import LOST, REFUSED, UNSENT, Outcome, is_quiet, load, request_bytes, run_load
from penstroke.data.dataset import Images
from penstroke.data.loading import load_dataset
from penstroke.errors import DataError
from penstroke.inference.recognizer import Recognizer
from penstroke.runs.run import find_run

PARTS = ("throughput", "latency", "overload", "stops", "batches")
_NAIVE = Path(__file__).parent / "peers" / "naive_service.py"
_NAIVE_PATHS = {"form": "/recognize", "raw": "/raw"}
_FIRST_RATE, _RATE_STEP, _ANSWERED = 100.0, 1.2, 0.97
_SHARE_OF_THROUGHPUT = 0.6
_WHEN_BUSY = {200, 429, 503, UNSENT}
"""What is expected of a service that is asked too much, by a client that cannot send it all."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """A service in a process of its own."""

    process: psutil.Popen
    port: int

    def memory_megabytes(self) -> float:
        """Return what the process and those it started hold."""
        processes = [self.process, *self.process.children(recursive=True)]
        return float(sum(p.memory_info().rss for p in processes) / 1e6)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="name or path of a finished run")
    parser.add_argument("parts", nargs="*", help=f"some of {PARTS}; all where none is named")
    parser.add_argument("--seconds", type=float, default=4, help="of each rate")
    parser.add_argument("--overload-seconds", type=float, default=60)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--images", type=int, default=10_000, help="batched against single")
    parser.add_argument("--rate", type=float, help="throughput, where that part is left out")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure(asked)
    print(json.dumps(found) if asked.json else table(found))
    return 0


def measure(asked: argparse.Namespace) -> Figures:
    """Return the figures of the parts that are asked for."""
    parts = asked.parts or PARTS
    images = sample_images(max(asked.images, 1000))
    requests = as_requests(images)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found: Figures = {"load_before": os.getloadavg()[0]}
    if "throughput" in parts:
        found |= throughputs(asked, images)
    rate = found.get("throughput") or asked.rate
    if rate is None:
        raise SystemExit("without the part throughput, give --rate")
    if "latency" in parts:
        found |= latency(asked, requests, rate)
    if "overload" in parts:
        found |= overload(asked, requests, rate)
    if "stops" in parts:
        found |= stops(asked, requests, rate / 2)
    if "batches" in parts:
        found |= batches(asked, requests, images, rate)
    return {**found, "load_after": os.getloadavg()[0]}


def throughputs(asked: argparse.Namespace, images: Images) -> Figures:
    """Return answers a second: ours, and the usual way with one thread for torch and with all.

    Ours and `raw` take the image as the body, `form` as the file of a form, as is usual. Large
    images are 200 pixels a side; the usual way is asked for them in its fastest form.
    """
    small, large = images, images[:300]
    found: Figures = {}
    with ours(asked.run) as service:
        found["throughput"] = throughput(service, as_requests(small), asked.seconds)
        found["throughput_200px"] = throughput(service, as_requests(large, 200), asked.seconds)
    for threads in sorted({1, os.cpu_count() or 1}):
        for form in ("form", "raw"):
            requests = as_requests(small, path=_NAIVE_PATHS[form], is_form=form == "form")
            with usual(asked.run, threads) as service:
                name = f"naive_{form}_{threads}_threads"
                found[name] = throughput(service, requests, asked.seconds)
    with usual(asked.run, 1) as service:
        requests = as_requests(large, 200, path="/raw")
        found["naive_raw_200px"] = throughput(service, requests, asked.seconds)
    with recognizer_workers(asked.run) as service:
        found["fair"] = throughput(service, as_requests(small), asked.seconds)
        found["fair_200px"] = throughput(service, as_requests(large, 200), asked.seconds)
    return found


def throughput(service: Service, requests: Sequence[bytes], seconds: float) -> float:
    """Return the most answers a second.

    The rate is doubled until it is not kept up with, then raised from the last that was by a fifth
    at a time, until twice it is not.
    """
    run_load(service.port, requests, _FIRST_RATE, 1.0)  # warms up
    best, rate, failures, step = 0.0, _FIRST_RATE, 0, 2.0
    while failures < 3:
        found = run_load(service.port, requests, rate, seconds)
        best = max(best, found.goodput)
        say(f"{rate:7.0f} asked, {found.goodput:7.0f} answered a second, {shown(found)}")
        if found.goodput < _ANSWERED * found.sent / seconds:
            failures += 1
            if failures == 1:
                rate, step = rate / step, _RATE_STEP
        rate *= step
    return best


def latency(asked: argparse.Namespace, requests: Sequence[bytes], rate: float) -> Figures:
    """Return how long answers take at a share of the throughput."""
    with ours(asked.run) as service:
        run_load(service.port, requests, _FIRST_RATE, 1.0)
        calm = rate * _SHARE_OF_THROUGHPUT
        found = run_load(service.port, requests, calm, 5 * asked.seconds)
    say(f"{calm:7.0f} asked, {shown(found)}")
    return {
        "latency_rate": calm, "p50_milliseconds": found.milliseconds(50),
        "p99_milliseconds": found.milliseconds(99), "latency_statuses": dict(found.statuses),
    }  # fmt: skip


def overload(asked: argparse.Namespace, requests: Sequence[bytes], rate: float) -> Figures:
    """Ask three times as much as can be answered, and see what that does."""
    with ours(asked.run) as service:
        run_load(service.port, requests, rate, 3.0)  # has its memory
        memory: list[float] = []
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.wait(1.0):
                memory.append(service.memory_megabytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        over = time.perf_counter() + asked.overload_seconds
        found = run_load(service.port, requests, 3 * rate, asked.overload_seconds)
        is_over.set()
        watcher.join()
        is_back = is_quiet(service.port, requests[0], over + 5.0)
        back = time.perf_counter() - over if is_back else float("inf")
    say(f"{3 * rate:7.0f} asked, {shown(found)}; back to normal after {back:.1f} s")
    fifth = max(1, len(memory) // 5)
    other = sum(n for status, n in found.statuses.items() if status not in _WHEN_BUSY)
    return {
        "overload_statuses": dict(found.statuses), "overload_other": other,
        "overload_goodput": found.goodput,
        "overload_p99_milliseconds": found.milliseconds(99),
        "memory_megabytes_early": float(np.median(memory[:fifth])),
        "memory_megabytes_late": float(np.median(memory[-fifth:])),
        "back_to_normal_seconds": back,
    }  # fmt: skip


def stops(asked: argparse.Namespace, requests: Sequence[bytes], rate: float) -> Figures:
    """Tell services to stop while they are asked; count what was accepted and not answered."""
    lost, other, codes = 0, 0, []
    for _ in range(asked.stops):
        with ours(asked.run, "--shutdown-grace", "0.5") as service:
            found, code = asyncio.run(stopped(service, requests, rate))
        lost += found.statuses[LOST]
        other += sum(n for s, n in found.statuses.items() if s not in (200, LOST, REFUSED, UNSENT))
        codes.append(code)
        say(f"stopped: {shown(found)}, exit code {code}")
    return {"stops": asked.stops, "lost": lost, "not_200": other, "exit_codes": sorted(set(codes))}


async def stopped(
    service: Service, requests: Sequence[bytes], rate: float
) -> tuple[Outcome, int | None]:
    """Return what came of a load in the middle of which the service is told to stop."""
    asking = asyncio.create_task(load(service.port, requests, rate, 3.5))
    await asyncio.sleep(1.0)
    service.process.send_signal(signal.SIGTERM)
    found = await asking
    return found, await asyncio.to_thread(service.process.wait, 30)


def batches(
    asked: argparse.Namespace, requests: Sequence[bytes], images: Images, rate: float
) -> Figures:
    """Compare answers that were read in batches with images read alone."""
    count = asked.images
    with ours(asked.run) as service:
        found = run_load(service.port, requests[:count], rate, count / rate + 2, keep=True)
        size = mean_batch(service)
    answers = {number % count: json.loads(body) for number, body in found.bodies}
    recognizer = Recognizer.load(find_run(asked.run).model_path)
    furthest = 0.0
    for number, answer in answers.items():
        alone = recognizer.recognize(255 - images[number])
        told = np.array([answer["probabilities"][name] for name in recognizer.classes])
        expected = np.array([alone.probabilities[name] for name in recognizer.classes])
        furthest = max(furthest, float(np.abs(told - expected).max()))
    say(f"{len(answers)} images, alone and in batches of {size:.1f}: {furthest:.1e} apart at most")
    return {"images": len(answers), "mean_batch": size, "furthest": furthest}


def mean_batch(service: Service) -> float:
    """Return how many images the service has read at once, on average."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/metrics") as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines()]
    found = {name: value for name, value in lines if not name.startswith("#")}
    total = float(found["penstroke_batch_images_sum"])
    return total / float(found["penstroke_batch_images_count"])


@contextlib.contextmanager
def ours(run: str, *options: str) -> Iterator[Service]:
    """Run `penstroke serve`."""
    command = [sys.executable, "-m", "penstroke", "serve", run, "--port", "0", "--json", *options]
    with started(command, stdout=subprocess.PIPE) as process:
        told = json.loads(process.stdout.readline())
        yield Service(process, int(told["url"].rpartition(":")[2]))


@contextlib.contextmanager
def usual(run: str, threads: int) -> Iterator[Service]:
    """Run the usual way, with so many threads for torch."""
    port = _free_port()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, str(_NAIVE), run, str(port)]
    with started(command, stderr=subprocess.DEVNULL, env=environment) as process:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield Service(process, port)


@contextlib.contextmanager
def recognizer_workers(run: str) -> Iterator[Service]:
    """Run the fair peer: two uvicorn workers, one Recognizer each."""
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(_NAIVE.parent), "--port",
               str(port), "--workers", "2", "--no-access-log", "--log-level", "warning",
               "recognizer_service:app"]  # fmt: skip
    with started(command, env={**os.environ, "RUN": run}) as process:
        _wait_for(port)
        yield Service(process, port)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait_for(port: int) -> None:
    """Return when the service at `port` answers, or after half a minute."""
    for _ in range(300):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").close()
            return
        time.sleep(0.1)


@contextlib.contextmanager
def started(command: list[str], **how: Any) -> Iterator[psutil.Popen]:
    """Run `command`; it has ended when this ends."""
    process = psutil.Popen(command, **how)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(10)
        if process.poll() is None:
            process.kill()  # the usual way answers all that it was ever asked first
            process.wait()


def sample_images(count: int) -> Images:
    """Return so many different images (N, 28, 28) uint8, ink bright on dark."""
    try:
        return load_dataset("mnist").train.images[:count]
    except DataError:
        images = load_dataset("digits").train.images
        turns = [np.roll(images, shift, axis=2) for shift in range(-(-count // len(images)))]
        return np.concatenate(turns)[:count]


def as_requests(
    images: Images, side: int = 28, path: str = "/v1/recognize", *, is_form: bool = False
) -> list[bytes]:
    """Return a request for each image: a PNG, dark on white, `side` pixels a side."""
    requests = []
    for image in images:
        stream = io.BytesIO()
        enlarged = Image.fromarray(255 - image).resize((side, side), Image.Resampling.BICUBIC)
        enlarged.save(stream, "PNG")
        content = stream.getvalue()
        body, kind = as_form(content) if is_form else (content, "image/png")
        requests.append(request_bytes(path, body, kind))
    return requests


def as_form(content: bytes) -> tuple[bytes, str]:
    """Return the body of a form with a file, and its type."""
    head = b'--x\r\ncontent-disposition: form-data; name="image"; filename="7.png"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def shown(found: Outcome) -> str:
    """Return statuses and latencies in a few words."""
    names = {LOST: "lost", REFUSED: "no connection", UNSENT: "not sent"}
    statuses = ", ".join(f"{names.get(s, s)}: {n}" for s, n in sorted(found.statuses.items()))
    return f"p50 {found.milliseconds(50):.1f} ms, p99 {found.milliseconds(99):.1f} ms, {statuses}"


def table(found: Figures) -> str:
    """Return the figures as lines to read."""
    return "\n".join(f"{name:28} {_rounded(value)}" for name, value in found.items())


def _rounded(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
