"""What the tests of pages and service share: models, images, and one service for all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

import serving
from helpers import drawn_digit
from penstroke.data.dataset import DataSplits
from penstroke.inference.recognizer import Recognizer
from serve.visiting import served
from serving import Running, png, service, write_model


@pytest.fixture(scope="session")
def page_url(mnist_runs: Path) -> Iterator[str]:
    """The drawing page of a service that reads with that model."""
    with served(mnist_runs / "mnist-fast", runs=mnist_runs) as url:
        yield url


@pytest.fixture(scope="session")
def image_of_seven() -> bytes:
    """PNG, 200×200."""
    stream = io.BytesIO()
    Image.fromarray(drawn_digit(200)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that has learned nothing: its answers differ all the same."""
    return write_model(tmp_path_factory.mktemp("served") / "small" / "model.onnx")


@pytest.fixture(scope="session")
def recognizer(model: Path) -> Recognizer:
    return Recognizer.load(model)


@pytest.fixture(scope="session")
def running(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service process for all tests that leave it as it was."""
    other = write_model(tmp_path_factory.mktemp("served") / "letters.onnx", 5, "abc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTROKE_RUNS", str(tmp_path_factory.mktemp("runs")))
        with service(model, other) as found:
            yield found


@pytest.fixture(scope="session")
def client(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application of such a service in this process."""
    other = write_model(tmp_path_factory.mktemp("served") / "letters.onnx", 5, "abc")
    with serving.client(model, other) as found:
        yield found


@pytest.fixture(scope="session")
def images(digits: DataSplits) -> list[bytes]:
    """Five hundred different PNGs, dark on white."""
    return [png(255 - image) for image in digits.train.images[:500]]
