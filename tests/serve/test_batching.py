"""Images are read together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from penstroke.errors import MissingToolError
from penstroke.inference.recognizer import Recognizer
from penstroke.serve.inference_worker import respond, single_threaded
from penstroke.serve.messages import Question, read_message
from penstroke.serve.responses import ApiError
from penstroke.serve.served_models import load
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.uploads import Body
from penstroke.serve.worker_pool import Readers
from serving import Running, ask, service

KIND = {"content-type": "image/png"}


async def ask_all(running: Running, images: list[bytes], clients: int) -> list[httpx.Response]:
    """Return the answers, asked for by so many clients at once."""
    answers: dict[int, httpx.Response] = {}
    left = iter(enumerate(images))
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=running.url, limits=limits, timeout=30) as client:

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


def test_batches_answer_as_single_images_do(
    model: Path, recognizer: Recognizer, images: list[bytes]
) -> None:
    known = {"m": single_threaded(model.read_bytes())}
    asked = ("m", "image/png", *Question())
    bodies = [*images[:99], b"damaged", *images[99:]]
    head = {
        "do": "read",
        "jobs": [asked] * 501,
        "max_pixels": 10_000,
        "batch_size": 32,
        "batch_seconds": 60,
    }
    replies = [read_message(io.BytesIO(reply)) for reply in respond(known, head, bodies)]
    assert [len(reply.head) for reply in replies if reply] == [32] * 15 + [21]
    told = [pair for reply in replies if reply for pair in zip(*reply, strict=True)]
    assert [head["index"] for head, _ in told] == list(range(501))
    assert told.pop(99)[0]["error"][:2] == [422, "bad_image"]
    for (_, answer), image in zip(told, images, strict=True):
        alone = dict(recognizer.recognize(image).probabilities)
        assert json.loads(answer)["probabilities"] == pytest.approx(alone, abs=1e-5)


def test_a_large_image_holds_up_only_its_own_batch(model: Path, images: list[bytes]) -> None:
    known = {"m": single_threaded(model.read_bytes())}
    asked = ("m", "image/png", *Question())
    head = {
        "do": "read",
        "jobs": [asked] * 3,
        "max_pixels": 10_000,
        "batch_size": 32,
        "batch_seconds": 0,
    }
    sizes = [read_message(io.BytesIO(reply)) for reply in respond(known, head, images[:3])]
    assert [len(reply.head) for reply in sizes if reply] == [1, 1, 1]


def test_a_full_queue_is_said_so(model: Path, images: list[bytes]) -> None:
    with service(model, queue_size=2) as small:
        answers = asyncio.run(ask_all(small, images[:100], clients=20))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "busy"
        assert ask(small, images[0]).status_code == 200


def test_long_questions_have_a_queue_of_their_own(model: Path) -> None:
    served = load("small", model)
    settings = ServiceSettings(queue_size=1, page_queue_size=1, readers=1)
    explain = Question(explain=True)

    async def scene() -> None:
        readers = Readers(settings, _Nowhere())  # not started: all that is asked waits
        waiting = asyncio.create_task(readers.read(served, explain, Body("image/png", b"")))
        await asyncio.sleep(0)
        readers.refuse_if_full(Question())
        with pytest.raises(ApiError) as error:
            readers.refuse_if_full(explain)
        assert error.value.status == 429
        waiting.cancel()

    asyncio.run(scene())


def test_long_questions_come_in_turn_with_characters(model: Path) -> None:
    served = load("small", model)
    explain, body = Question(explain=True), Body("image/png", b"")

    async def scene() -> None:
        readers = Readers(ServiceSettings(readers=1), _Nowhere())
        (reader,) = readers._readers
        asked = [Question()] * 100 + [explain, explain]
        waiting = [asyncio.create_task(readers.read(served, q, body)) for q in asked]
        await asyncio.sleep(0)
        taken = []
        for _ in range(4):
            batch = readers._take(reader)
            taken.append((len(batch), batch[0].question.is_long))
            reader.in_hand.append(batch)
            assert batch[0].question.is_long <= (readers._take(reader) == []), "nothing ahead of it"
            reader.in_hand.clear()
        assert taken == [(1, True), (32, False), (1, True), (32, False)]
        for task in waiting:
            task.cancel()

    asyncio.run(scene())


def test_who_has_gone_is_not_read(model: Path) -> None:
    served = load("small", model)

    async def scene() -> None:
        readers = Readers(ServiceSettings(readers=1), _Nowhere())
        (reader,) = readers._readers
        asked = [Question(), Question(), Question(explain=True), Question()]
        waiting = [
            asyncio.create_task(readers.read(served, q, Body("image/png", b""))) for q in asked
        ]
        await asyncio.sleep(0)
        for task in waiting[1:]:
            task.cancel()
        await asyncio.sleep(0)
        assert len(readers._take(reader)) == 1
        assert readers._take(reader) == []
        assert (readers.waiting_short, readers.waiting_long) == (1, 0)
        waiting[0].cancel()

    asyncio.run(scene())


def test_readers_that_cannot_be_started_are_an_error_in_time(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start() -> None:
        raise OSError("no memory")

    monkeypatch.setattr("penstroke.serve.pipe.Link.start", start)
    monkeypatch.setattr("penstroke.serve.worker_pool._START_SECONDS", 0.3)

    async def scene() -> None:
        with pytest.raises(MissingToolError, match="try fewer, --workers 1"):
            await Readers(ServiceSettings(readers=2), _Nowhere()).start([load("small", model)])

    asyncio.run(scene())


class _Nowhere:
    def observe(self, amount: float) -> None:
        raise AssertionError


def test_a_reader_that_dies_is_replaced(model: Path, images: list[bytes]) -> None:
    with service(model) as fragile:
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(fragile.process.pid)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        (child,) = [
            line
            for line in listed.stdout.splitlines()
            if "penstroke.serve.inference_worker" in line
        ]
        os.kill(int(child.split()[0]), signal.SIGKILL)
        assert ask(fragile, images[0]).status_code in (200, 503)
        assert ask(fragile, images[0]).status_code == 200
