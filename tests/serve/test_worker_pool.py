"""Images are recognized in batches, and each gets its own answer."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from penstroke.errors import MissingToolError
from penstroke.inference.recognizer import Recognizer
from penstroke.serve.inference_worker import load_single_threaded, respond
from penstroke.serve.messages import Message, read_message
from penstroke.serve.responses import ApiError
from penstroke.serve.served_models import load
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.uploads import Options, Upload
from penstroke.serve.worker_pool import WorkerPool, start_process
from serving import Running, ask, service, write_model

KIND = {"content-type": "image/png"}


async def ask_all(running: Running, images: list[bytes], clients: int) -> list[httpx2.Response]:
    """Return the answers, requested by that many clients at once."""
    answers: dict[int, httpx2.Response] = {}
    left = iter(enumerate(images))
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=running.url, limits=limits, timeout=120) as client:

        async def one() -> None:
            for number, image in left:
                answers[number] = await client.post("/v1/recognize", content=image, headers=KIND)

        await asyncio.gather(*(one() for _ in range(clients)))
    return [answers[number] for number in range(len(images))]


def test_64_clients_get_their_own_answers_as_if_alone(
    running: Running, recognizer: Recognizer, images: list[bytes]
) -> None:
    answers = asyncio.run(ask_all(running, images[:320], clients=64))
    assert {answer.status_code for answer in answers} == {200}
    for answer, image in zip(answers, images[:320], strict=True):
        alone = recognizer.recognize(image)
        assert answer.json()["label"] == alone.label
        assert answer.json()["probabilities"] == pytest.approx(dict(alone.probabilities), abs=1e-5)


def test_ctrl_c_cannot_interrupt_a_worker_that_is_starting() -> None:
    ours, process = start_process()
    with ours:
        status = Path(f"/proc/{process.pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk"))
    assert int(blocked.split()[1], 16) & 1 << (signal.SIGINT - 1)
    assert process.wait() == 0


def replies(model: Path, bodies: list[bytes], batch_seconds: float) -> Iterator[Message]:
    models = {"m": load_single_threaded(model.read_bytes())}
    tasks = [(number, "m", "image/png", Options()) for number in range(len(bodies))]
    head = {"do": "recognize", "tasks": tasks, "max_pixels": 10_000, "batch_size": 32,
            "batch_seconds": batch_seconds}  # fmt: skip
    for reply in respond(models, Message(head, bodies)):
        message = read_message(io.BytesIO(reply))
        assert message is not None
        yield message


def test_batches_answer_as_single_images_do(
    model: Path, recognizer: Recognizer, images: list[bytes]
) -> None:
    found = list(replies(model, [*images[:99], b"damaged", *images[99:]], 60))
    assert [len(reply.head) for reply in found] == [32] * 15 + [21]
    answers = [pair for reply in found for pair in zip(*reply, strict=True)]
    assert [number for (number, _), _ in answers] == list(range(501))
    assert answers.pop(99)[0][1][:2] == [422, "bad_image"]
    for (_, answer), image in zip(answers, images, strict=True):
        alone = dict(recognizer.recognize(image).probabilities)
        assert json.loads(answer)["probabilities"] == pytest.approx(alone, abs=1e-5)


def test_a_large_image_holds_up_only_its_own_batch(model: Path, images: list[bytes]) -> None:
    assert [len(reply.head) for reply in replies(model, images[:3], 0)] == [1, 1, 1]


# In a process of its own, as a worker is: among many threads the timer's signal can go to another.
GIVING_UP = """
import io, json, sys
from pathlib import Path
from penstroke.serve import inference_worker as worker
from penstroke.serve.messages import Message, read_message
from penstroke.serve.uploads import Options

def read_for_ever(*_, **__):
    while True:
        pass

def errors():
    replies = worker.respond(models, Message(head, [image, image]))
    heads = [read_message(io.BytesIO(reply)).head for reply in replies]
    return [error for head in heads for _, error in head]

model, image = (Path(path).read_bytes() for path in sys.argv[1:])
models = {"m": worker.load_single_threaded(model)}
tasks = [(number, "m", "image/png", Options(page=True)) for number in range(2)]
head = {"do": "recognize", "tasks": tasks, "max_pixels": 10_000, "batch_size": 32,
        "batch_seconds": 60}
given = worker.TASK_SECONDS, worker.read_page
worker.TASK_SECONDS, worker.read_page = 0.05, read_for_ever
gave_up = errors()
worker.TASK_SECONDS, worker.read_page = given
print(json.dumps([gave_up, errors()]))
"""


def test_a_worker_gives_up_what_takes_too_long(
    model: Path, images: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "image.png").write_bytes(images[0])
    command = [sys.executable, "-c", GIVING_UP, str(model), str(tmp_path / "image.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    gave_up, read = json.loads(done.stdout)
    for status, code, message in gave_up:
        assert (status, code) == (422, "bad_image")
        assert "takes more than 0.05 s to read" in message
    assert len(gave_up) == 2
    assert read == [None, None]


def test_a_full_queue_is_refused(model: Path, images: list[bytes]) -> None:
    with service(model, queue_size=2) as small:
        answers = asyncio.run(ask_all(small, images[:100], clients=20))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "busy"
        assert ask(small, images[0]).status_code == 200


SHORT, LONG = Options(), Options(occlusion=True)
UPLOAD = Upload("image/png", b"")


def pool(**settings: Any) -> WorkerPool:
    """Return a pool whose workers have not started: all that is requested waits."""
    return WorkerPool(ServiceSettings(**{"workers": 1, **settings}), on_batch=_refuse)


def _refuse(size: float) -> None:
    raise AssertionError(size)


def test_long_requests_have_a_queue_of_their_own(model: Path) -> None:
    served = load("small", model)

    async def scene() -> None:
        workers = pool(queue_size=1, page_queue_size=1)
        waiting = asyncio.create_task(workers.recognize(served, LONG, UPLOAD))
        await asyncio.sleep(0)
        workers.refuse_if_full(SHORT)
        with pytest.raises(ApiError) as error:
            workers.refuse_if_full(LONG)
        assert error.value.status_code == 429
        waiting.cancel()

    asyncio.run(scene())


def test_long_requests_come_in_turn_with_characters(model: Path) -> None:
    served = load("small", model)

    async def scene() -> None:
        workers = pool()
        (worker,) = workers._workers
        requests = [SHORT] * 100 + [LONG, LONG]
        waiting = [asyncio.create_task(workers.recognize(served, r, UPLOAD)) for r in requests]
        await asyncio.sleep(0)
        taken = []
        for _ in range(4):
            batch = workers._take(worker)
            is_long = batch[0].options.is_long
            taken.append((len(batch), is_long))
            worker.jobs = dict(enumerate(batch))
            assert is_long <= (workers._take(worker) == []), "nothing is put before it"
            worker.jobs = {}
        assert taken == [(1, True), (32, False), (1, True), (32, False)]
        for task in waiting:
            task.cancel()

    asyncio.run(scene())


def test_an_abandoned_request_is_not_computed(model: Path) -> None:
    served = load("small", model)

    async def scene() -> None:
        workers = pool()
        (worker,) = workers._workers
        requests = [SHORT, SHORT, LONG, SHORT]
        waiting = [asyncio.create_task(workers.recognize(served, r, UPLOAD)) for r in requests]
        await asyncio.sleep(0)
        for task in waiting[1:]:
            task.cancel()
        await asyncio.sleep(0)
        assert len(workers._take(worker)) == 1
        assert workers._take(worker) == []
        assert (workers.short.waiting, workers.long.waiting) == (1, 0)
        waiting[0].cancel()

    asyncio.run(scene())


def test_workers_that_cannot_be_started_are_an_error_in_time(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_process() -> None:
        raise OSError("no memory")

    monkeypatch.setattr("penstroke.serve.worker_pool.start_process", start_process)
    monkeypatch.setattr("penstroke.serve.worker_pool._START_SECONDS", 0.3)

    async def scene() -> None:
        with pytest.raises(MissingToolError, match="try fewer, --workers 1"):
            await pool(workers=2).start([load("small", model)])

    asyncio.run(scene())


def test_a_worker_that_dies_is_replaced(model: Path, images: list[bytes]) -> None:
    with service(model) as fragile:
        (worker,) = psutil.Process(fragile.process.pid).children()
        os.kill(worker.pid, signal.SIGKILL)
        assert ask(fragile, images[0]).status_code in (200, 503)
        assert ask(fragile, images[0]).status_code == 200


@pytest.mark.parametrize("number", range(2), ids=["short", "long"])
def test_a_worker_that_hangs_is_replaced(model: Path, images: list[bytes], number: int) -> None:
    with service(model, worker_seconds=0.5) as stuck:
        (worker,) = psutil.Process(stuck.process.pid).children()
        worker.suspend()
        ended = ask(stuck, images[0], occlusion=number)
        assert ended.status_code == 503
        assert "took too long" in ended.json()["error"]["message"]
        assert ask(stuck, images[0], occlusion=number).status_code == 200
        assert not worker.is_running()


def test_a_worker_that_hangs_while_it_loads_is_replaced(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, other = load("small", model), load("other", write_model(model.with_name("o.onnx"), 6))

    async def scene() -> None:
        before = set(psutil.Process().children())
        workers = pool()
        await workers.start([served])
        (process,) = set(psutil.Process().children()) - before
        process.suspend()
        monkeypatch.setattr("penstroke.serve.worker_pool._START_SECONDS", 0.2)
        replaced = asyncio.create_task(workers.exchange(other, served))
        while workers._workers[0].is_running:
            await asyncio.sleep(0.01)
        monkeypatch.setattr("penstroke.serve.worker_pool._START_SECONDS", 60)
        await replaced
        assert other.sha256 in workers._workers[0].loaded
        await workers.stop()

    asyncio.run(scene())
