"""How the service bears load, beside other ways to serve: `python scripts/load.py RUN`.

Throughput is measured with `ab` (Debian: apache2-utils), 32 connections that ask without pause; the
other parts by a client that sends on time whatever is answered. RUN is a finished run, best one
trained on MNIST; the images are those of MNIST where it is available.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
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
_PEERS = Path(__file__).parent / "peers"
_WARM_UP_RATE = 100.0
_SHARE_OF_THROUGHPUT = 0.6
_WHEN_BUSY = {200, 429, 503, UNSENT}
"""Expected of a service under too much load, by a client that cannot send it all."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """A service in a process of its own."""

    process: psutil.Popen
    port: int

    def memory_megabytes(self) -> float:
        """Return the memory of the process and those it started."""
        processes = [self.process, *self.process.children(recursive=True)]
        return float(sum(p.memory_info().rss for p in processes) / 1e6)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="name or path of a finished run")
    parser.add_argument("parts", nargs="*", help=f"some of {PARTS}; all if left out")
    parser.add_argument("--seconds", type=float, default=4, help="duration of a measurement")
    parser.add_argument("--overload-seconds", type=float, default=60)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--images", type=int, default=10_000, help="batched against single")
    parser.add_argument("--rate", type=float, help="throughput, if that part is left out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options)
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def measure(options: argparse.Namespace) -> Figures:
    """Return the figures of the chosen parts."""
    parts = options.parts or PARTS
    images = sample_images(max(options.images, 1000))
    requests = [request_bytes("/v1/recognize", as_png(image), "image/png") for image in images]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures: Figures = {"load_before": os.getloadavg()[0]}
    if "throughput" in parts:
        figures |= throughputs(options, images[0])
    rate = figures.get("throughput") or options.rate
    if rate is None:
        raise SystemExit("without the part throughput, give --rate")
    if "latency" in parts:
        figures |= latency(options, requests, rate)
    if "overload" in parts:
        figures |= overload(options, requests, rate)
    if "stops" in parts:
        figures |= stops(options, requests, rate / 2)
    if "batches" in parts:
        figures |= batches(options, requests, images, rate)
    return {**figures, "load_after": os.getloadavg()[0]}


def throughputs(options: argparse.Namespace, image: Images) -> Figures:
    """Return the answers a second of the service and its peers, for an image of 28 and 200 pixels.

    `fair` is uvicorn with two workers and a Recognizer each; `naive` is FastAPI with eager PyTorch
    in one process, with one thread.
    """
    figures: Figures = {}
    for name, start, path in (
        ("throughput", ours, "/v1/recognize"),
        ("fair", recognizer_workers, "/v1/recognize"),
        ("naive", eager_pytorch, "/recognize"),
    ):
        with start(options.run) as service:
            for suffix, side in (("", 28), ("_200px", 200)):
                figures[name + suffix] = throughput(
                    service, path, as_png(image, side), options.seconds
                )
                say(f"{name + suffix}: {figures[name + suffix]:.0f} answers/s")
    return figures


def throughput(service: Service, path: str, image: bytes, seconds: float) -> float:
    """Return the answers a second to 32 connections that ask without pause."""
    ab = shutil.which("ab")
    if ab is None:
        raise SystemExit("ab is not installed: apt-get install apache2-utils")
    url = f"http://127.0.0.1:{service.port}{path}"
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(image)
        file.flush()
        for duration in (1, round(seconds)):  # the first warms up
            command = [ab, "-q", "-k", "-c", "32", "-t", str(duration), "-n", "1000000",
                       "-p", file.name, "-T", "image/png", url]  # fmt: skip
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx responses" in text:
        raise SystemExit(f"{url} did not answer everything:\n{text}")
    found = re.search(r"Requests per second: +([\d.]+)", text)
    assert found is not None
    return float(found[1])


def latency(options: argparse.Namespace, requests: Sequence[bytes], rate: float) -> Figures:
    """Return how long answers take at a share of the throughput."""
    with ours(options.run) as service:
        run_load(service.port, requests, _WARM_UP_RATE, 1.0)
        calm = rate * _SHARE_OF_THROUGHPUT
        outcome = run_load(service.port, requests, calm, 5 * options.seconds)
    say(f"{calm:7.0f} sent a second, {shown(outcome)}")
    return {
        "latency_rate": calm, "p50_milliseconds": outcome.milliseconds(50),
        "p99_milliseconds": outcome.milliseconds(99), "latency_statuses": dict(outcome.statuses),
    }  # fmt: skip


def overload(options: argparse.Namespace, requests: Sequence[bytes], rate: float) -> Figures:
    """Send three times as much as can be answered, and return what that does."""
    with ours(options.run) as service:
        run_load(service.port, requests, rate, 3.0)  # has its memory
        memory: list[float] = []
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.wait(1.0):
                memory.append(service.memory_megabytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        over = time.perf_counter() + options.overload_seconds
        outcome = run_load(service.port, requests, 3 * rate, options.overload_seconds)
        is_over.set()
        watcher.join()
        is_back = is_quiet(service.port, requests[0], over + 5.0)
        back = time.perf_counter() - over if is_back else float("inf")
    say(f"{3 * rate:7.0f} sent a second, {shown(outcome)}; back to normal after {back:.1f} s")
    fifth = max(1, len(memory) // 5)
    other = sum(n for status, n in outcome.statuses.items() if status not in _WHEN_BUSY)
    return {
        "overload_statuses": dict(outcome.statuses), "overload_other": other,
        "overload_goodput": outcome.goodput,
        "overload_p99_milliseconds": outcome.milliseconds(99),
        "memory_megabytes_early": float(np.median(memory[:fifth])),
        "memory_megabytes_late": float(np.median(memory[-fifth:])),
        "back_to_normal_seconds": back,
    }  # fmt: skip


def stops(options: argparse.Namespace, requests: Sequence[bytes], rate: float) -> Figures:
    """Stop services under load; count the requests that were accepted and not answered."""
    lost, other, codes = 0, 0, []
    for _ in range(options.stops):
        with ours(options.run, "--shutdown-grace", "0.5") as service:
            outcome, code = asyncio.run(stopped(service, requests, rate))
        lost += outcome.statuses[LOST]
        expected = (200, LOST, REFUSED, UNSENT)
        other += sum(n for s, n in outcome.statuses.items() if s not in expected)
        codes.append(code)
        say(f"stopped: {shown(outcome)}, exit code {code}")
    exit_codes = list(set(codes))
    return {"stops": options.stops, "lost": lost, "not_200": other, "exit_codes": exit_codes}


async def stopped(
    service: Service, requests: Sequence[bytes], rate: float
) -> tuple[Outcome, int | None]:
    """Return the outcome of a load in the middle of which the service is stopped."""
    loading = asyncio.create_task(load(service.port, requests, rate, 3.5))
    await asyncio.sleep(1.0)
    service.process.send_signal(signal.SIGTERM)
    outcome = await loading
    return outcome, await asyncio.to_thread(service.process.wait, 30)


def batches(
    options: argparse.Namespace, requests: Sequence[bytes], images: Images, rate: float
) -> Figures:
    """Compare answers that were computed in batches with images recognised alone."""
    count = options.images
    with ours(options.run) as service:
        outcome = run_load(service.port, requests[:count], rate, count / rate + 2, keep=True)
        size = mean_batch(service)
    answers = {number % count: json.loads(body) for number, body in outcome.bodies}
    recognizer = Recognizer.load(find_run(options.run).model_path)
    furthest = 0.0
    for number, answer in answers.items():
        alone = recognizer.recognize(255 - images[number])
        batched = np.array([answer["probabilities"][name] for name in recognizer.classes])
        expected = np.array([alone.probabilities[name] for name in recognizer.classes])
        furthest = max(furthest, float(np.abs(batched - expected).max()))
    say(f"{len(answers)} images, alone and in batches of {size:.1f}: {furthest:.1e} apart at most")
    return {"images": len(answers), "mean_batch": size, "furthest": furthest}


def mean_batch(service: Service) -> float:
    """Return the mean size of the batches of the service."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/metrics") as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines()]
    values = {name: value for name, value in lines if not name.startswith("#")}
    total = float(values["penstroke_batch_images_sum"])
    return total / float(values["penstroke_batch_images_count"])


@contextlib.contextmanager
def ours(run: str, *options: str) -> Iterator[Service]:
    """Run `penstroke serve`."""
    command = [sys.executable, "-m", "penstroke", "serve", run, "--port", "0", "--json", *options]
    with started(command, stdout=subprocess.PIPE) as process:
        url = json.loads(process.stdout.readline())["url"]
        yield Service(process, int(url.rpartition(":")[2]))


@contextlib.contextmanager
def recognizer_workers(run: str) -> Iterator[Service]:
    """Run the fair peer: two uvicorn workers, one Recognizer each."""
    with _peer("recognizer_service:app", "--workers", "2", RUN=run) as service:
        yield service


@contextlib.contextmanager
def eager_pytorch(run: str) -> Iterator[Service]:
    """Run FastAPI with eager PyTorch in one process, with one thread."""
    with _peer("naive_service:app", RUN=run, OMP_NUM_THREADS="1") as service:
        yield service


@contextlib.contextmanager
def _peer(app: str, *options: str, **environment: str) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(_PEERS), "--port", str(port),
               "--no-access-log", "--log-level", "warning", *options, app]  # fmt: skip
    with started(command, env={**os.environ, **environment}) as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").close()
                break
            time.sleep(0.1)
        yield Service(process, port)


@contextlib.contextmanager
def started(command: list[str], **how: Any) -> Iterator[psutil.Popen]:
    """Run `command` until the end of the block."""
    process = psutil.Popen(command, **how)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def sample_images(count: int) -> Images:
    """Return that many different images (N, 28, 28) uint8, ink bright on dark."""
    try:
        return load_dataset("mnist").train.images[:count]
    except DataError:
        images = load_dataset("digits").train.images
        turns = [np.roll(images, shift, axis=2) for shift in range(-(-count // len(images)))]
        return np.concatenate(turns)[:count]


def as_png(image: Images, side: int = 28) -> bytes:
    """Return a PNG, dark on white, `side` pixels a side."""
    stream = io.BytesIO()
    enlarged = Image.fromarray(255 - image).resize((side, side), Image.Resampling.BICUBIC)
    enlarged.save(stream, "PNG")
    return stream.getvalue()


def shown(outcome: Outcome) -> str:
    """Return statuses and latencies in a few words."""
    names = {LOST: "lost", REFUSED: "no connection", UNSENT: "not sent"}
    statuses = ", ".join(f"{names.get(s, s)}: {n}" for s, n in sorted(outcome.statuses.items()))
    p50, p99 = outcome.milliseconds(50), outcome.milliseconds(99)
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {statuses}"


def table(figures: Figures) -> str:
    """Return the figures as lines to read."""
    return "\n".join(f"{name:28} {_rounded(value)}" for name, value in figures.items())


def _rounded(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
