"""A service in a process of its own, or in this one, and what tests send to it."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
from PIL import Image
from starlette.testclient import TestClient

from helpers import SMALL_CNN
from penstroke.inference.recognizer import model_metadata
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_onnx
from penstroke.preprocessing.ink import DEFAULT_INK
from penstroke.serve.app import create_app
from penstroke.serve.served_models import Models
from penstroke.serve.service import Service
from penstroke.serve.service_settings import ServiceSettings

DIGITS = "0123456789"
_SCRIPT = """
import json, sys
from penstroke.serve.server import serve
from penstroke.serve.service_settings import ServiceSettings

def on_ready(listening, service):
    print(json.dumps({"url": listening.url, "token": listening.token}), flush=True)

serve(sys.argv[2:], ServiceSettings.parse(json.loads(sys.argv[1])), on_ready)
"""


@dataclass(frozen=True)
class Running:
    """A service that answers."""

    process: subprocess.Popen[str]
    url: str
    token: str | None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **how: Any) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=120, **how)

    def post(self, path: str, **how: Any) -> httpx2.Response:
        return httpx2.post(self.url + path, timeout=120, **how)

    def delete(self, path: str, **how: Any) -> httpx2.Response:
        return httpx2.delete(self.url + path, timeout=120, **how)

    def stop(self) -> int:
        """Stop it with SIGTERM, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)


@contextmanager
def service(*models: Path | str, data: Any = None, **settings: Any) -> Iterator[Running]:
    """Run a service on a free port with one worker and a short end, unless `settings` differ.

    `data`: its own data folder.
    """
    own = {"PENSTROKE_DATA": str(data)} if data else {}
    chosen = {"port": 0, "workers": 1, "shutdown_grace": 0.2, "shutdown_linger": 0.2, **settings}
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, json.dumps(chosen), *map(str, models)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, **own, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Running(process, **json.loads(process.stdout.readline()))
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=120)
        process.stdout.close()


def write_model(path: Path, seed: int = 4, classes: str = DIGITS, dataset: str = "d") -> Path:
    """Write a small network that has learned nothing, each seed another."""
    network = build_network(SMALL_CNN, num_classes=len(classes), mean=0.1, std=0.3, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    metadata = model_metadata(classes, DEFAULT_INK, dataset=dataset)
    temporary.write_bytes(export_onnx(network, metadata))
    temporary.replace(path)
    return path


def png(pixels: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@contextmanager
def client(*models: Path | str, **settings: Any) -> Iterator[TestClient]:
    """Run the application of a service in this process, with one worker."""
    chosen = ServiceSettings(workers=1, **settings)
    thresholds = chosen.confidence_threshold, chosen.precision
    service = Service(Models(list(map(str, models)), *thresholds), chosen)
    with TestClient(create_app(service), base_url="http://localhost") as found:
        yield found


def ask(service: Running | TestClient, image: bytes, **query: Any) -> httpx2.Response:
    headers = {"content-type": "image/png"}
    return service.post("/v1/recognize", content=image, params=query, headers=headers)


def exchange(running: Running, request: bytes, timeout: float = 5) -> bytes:
    """Send bytes as they are; return all that comes until the connection is closed, or quiet."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=timeout) as connection:
        found = b""
        try:
            connection.sendall(request)
            while chunk := connection.recv(65536):
                found += chunk
        except (TimeoutError, ConnectionError):
            pass
        return found
