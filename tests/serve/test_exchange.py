"""Models exchanged and processes ended while requests come in: nothing accepted is lost."""

from __future__ import annotations

import asyncio
import io
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from helpers import SMALL_CNN, until, wait_until
from penstroke.errors import ConfigError, ModelFileError
from penstroke.files import sha256_of_file
from penstroke.inference.recognizer import Recognizer, model_metadata
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_onnx
from penstroke.preprocessing.ink import DEFAULT_INK
from penstroke.serve.inference_worker import respond
from penstroke.serve.messages import Message, read_message
from penstroke.serve.served_models import Models, ServedModel
from penstroke.serve.server import bind, take_waiting
from serving import Running, ask, service, write_model

KIND = {"content-type": "image/png"}


class Asking:
    """Clients that ask without pause, until they are told or refused."""

    def __init__(self, running: Running, images: list[bytes], clients: int = 8) -> None:
        self._running = running
        self._images = images
        self._clients = clients
        self.found: Counter[str] = Counter()
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.is_over = False

    async def run(self) -> None:
        async with httpx2.AsyncClient(base_url=self._running.url, timeout=120) as client:
            await asyncio.gather(*(self._ask(client, k) for k in range(self._clients)))

    async def _ask(self, client: httpx2.AsyncClient, number: int) -> None:
        while not self.is_over:
            image = self._images[number % len(self._images)]
            try:
                answer = await client.post("/v1/recognize", content=image, headers=KIND)
            except httpx2.ConnectError:  # the door is closed: nothing was accepted
                return
            except httpx2.HTTPError as error:
                self.found[repr(error)] += 1
                return
            self.found[str(answer.status_code)] += 1
            if answer.status_code == 200:
                self.answers.append((number % len(self._images), answer.json()))
            number += self._clients


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_under_load(model: Path, images: list[bytes], stop: signal.Signals) -> None:
    async def scene(running: Running) -> Counter[str]:
        asking = Asking(running, images)
        task = asyncio.create_task(asking.run())
        await until(lambda: asking.found["200"] > 20)
        running.process.send_signal(stop)
        async with httpx2.AsyncClient(timeout=120) as client:
            while (ready := await client.get(f"{running.url}/readyz")).status_code == 200:
                pass
            assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
            assert (await client.get(f"{running.url}/healthz")).status_code == 200
        await task
        return asking.found

    with service(model, shutdown_grace=2.0) as running:
        found = asyncio.run(scene(running))
        assert set(found) == {"200"}
        assert running.process.wait(timeout=120) == 0


def test_a_model_is_exchanged_under_load(tmp_path: Path, images: list[bytes]) -> None:
    path = write_model(tmp_path / "mine.onnx", seed=1)
    before = Recognizer.load(path)

    async def scene(running: Running) -> Asking:
        asking = Asking(running, images[:20])
        task = asyncio.create_task(asking.run())
        await until(lambda: asking.answers)
        await asyncio.to_thread(write_model, path, 2)
        async with httpx2.AsyncClient(base_url=running.url, timeout=60) as client:
            while _models_sha256(await client.get("/v1/models")) != sha256_of_file(path):
                await asyncio.sleep(0.02)
        count = len(asking.answers)
        await until(lambda: len(asking.answers) > count + 20)
        asking.is_over = True
        await task
        return asking

    with service(path) as running:
        asking = asyncio.run(scene(running))
    after = Recognizer.load(path)
    alone = [[model.recognize(image) for image in images[:20]] for model in (before, after)]
    sources: Counter[int] = Counter()
    for number, answer in asking.answers:
        by_model = [dict(answers[number].probabilities) for answers in alone]
        told: Any = pytest.approx(answer["probabilities"], abs=1e-5)
        assert told in by_model, "an answer was neither model's"
        sources[by_model.index(told)] += 1
    assert set(asking.found) == {"200"}
    assert min(sources[0], sources[1]) > 0


def test_a_broken_model_is_refused_and_the_old_one_serves_on(
    tmp_path: Path, images: list[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    def refused() -> bool:
        return "is not exchanged, the old one stays in use" in capfd.readouterr().err

    path = write_model(tmp_path / "mine.onnx", seed=1)
    with service(path) as running:
        first = _sha256(running)
        path.write_bytes(path.read_bytes()[:5000])
        wait_until(refused)
        running.process.send_signal(signal.SIGHUP)
        wait_until(refused)
        assert _sha256(running) == first
        assert ask(running, images[0]).status_code == 200
        write_model(path, seed=3)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: _sha256(running) != first)
        assert ask(running, images[0]).status_code == 200
        assert running.stop() == 0


def test_a_model_without_finite_output_is_refused(tmp_path: Path) -> None:
    async def exchange(new: ServedModel, old: ServedModel) -> None:
        raise AssertionError

    path = write_model(tmp_path / "mine.onnx", seed=1)
    models = Models([str(path)])
    first = models.default.sha256
    network = build_network(SMALL_CNN, num_classes=3, mean=float("nan"), std=0.3)
    path.write_bytes(export_onnx(network, model_metadata("abc", DEFAULT_INK)))
    asyncio.run(models.refresh(exchange, force=True))
    assert models.default.sha256 == first
    with pytest.raises(ModelFileError, match="not finite"):
        Models([str(path)])


def test_a_threshold_is_kept_when_the_model_is_exchanged(tmp_path: Path) -> None:
    async def exchange(new: ServedModel, old: ServedModel) -> None:
        exchanged.append(new)

    exchanged: list[ServedModel] = []
    path = write_model(tmp_path / "mine.onnx", seed=1)
    models = Models([str(path)], confidence_threshold=0.25)
    write_model(path, seed=2)
    asyncio.run(models.refresh(exchange))
    (new,) = exchanged
    assert new.facts(is_default=True).metadata["confidence_threshold"] == 0.25
    with pytest.raises(ConfigError, match=r"precision 0\.9 was not shown"):
        Models([str(path)], precision=0.9)


def test_a_worker_outlives_output_that_is_not_finite(model: Path, images: list[bytes]) -> None:
    class Faulty:
        def run(self, *_: Any) -> list[Any]:
            return [np.full((1, 10), np.nan, np.float32)]

    recognizer = Recognizer(Faulty(), Recognizer.load(model).metadata)
    head = {"do": "recognize", "tasks": [[7, "m", "image/png", []]], "batch_seconds": 1,
            "batch_size": 8, "max_pixels": 10_000_000}  # fmt: skip
    (reply,) = respond({"m": recognizer}, Message(head, [images[0]]))
    answer = read_message(io.BytesIO(reply))
    assert answer
    ((number, error),) = answer.head
    assert (number, error[:2]) == (7, [503, "unavailable"])
    assert "not finite" in error[2]


def test_a_signal_while_the_watch_is_at_it(tmp_path: Path) -> None:
    path = write_model(tmp_path / "mine.onnx", seed=1)
    models = Models([str(path)])
    first = models.default
    exchanged: list[tuple[Any, Any]] = []

    async def exchange(new: Any, old: Any) -> None:
        await asyncio.sleep(0)
        exchanged.append((new, old))

    async def scene() -> None:
        write_model(path, seed=2)
        await asyncio.gather(models.refresh(exchange), models.refresh(exchange, force=True))

    asyncio.run(scene())
    (second, before), (third, between) = exchanged
    assert (before, between) == (first, second)
    assert models.default is third


def test_a_fault_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_model(tmp_path / "mine.onnx", seed=1)
    models = Models([str(path)])
    monkeypatch.setattr("penstroke.serve.served_models._CHECK_SECONDS", 0.01)
    exchanged: list[Any] = []

    async def exchange(new: Any, old: Any) -> None:
        exchanged.append(new)
        if len(exchanged) == 1:
            raise RuntimeError("unforeseen")

    async def scene() -> None:
        write_model(path, seed=2)
        watching = asyncio.create_task(models.watch(exchange))
        await until(lambda: len(exchanged) == 2)
        watching.cancel()

    asyncio.run(scene())
    assert models.default is exchanged[1]


def test_what_is_refreshed(tmp_path: Path) -> None:
    path = write_model(tmp_path / "mine.onnx", seed=1)
    models = Models([str(path)])
    exchanged: list[tuple[str, str]] = []

    async def exchange(new: Any, old: Any) -> None:
        exchanged.append((new.sha256, old.sha256))

    def refresh(**how: bool) -> int:
        asyncio.run(models.refresh(exchange, **how))
        return len(exchanged)

    assert refresh() == 0
    assert refresh(force=True) == 1
    path.unlink()
    assert refresh() == 1
    assert models.default.name == "mine"
    write_model(path, seed=2)
    assert refresh() == 2
    assert exchanged[-1][0] == models.default.sha256


def _models_sha256(answer: httpx2.Response) -> str:
    return str(answer.json()["models"][0]["sha256"])


def _sha256(running: Running) -> str:
    return str(httpx2.get(f"{running.url}/v1/models", timeout=120).json()["models"][0]["sha256"])


def test_who_was_let_in_is_taken_before_nobody_listens() -> None:
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    inside = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for number, client in enumerate(inside):
        client.sendall(bytes([number]))
    taken = take_waiting(listener)
    assert sorted(connection.recv(1)[0] for connection in taken) == list(range(20))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    for connection in [*inside, *taken]:
        connection.close()
