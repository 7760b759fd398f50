from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from helpers import SMALL_CNN, drawn_digit, random_glyphs
from penstroke.errors import ModelFileError, PictureError
from penstroke.ink import DEFAULT_INK, read_glyph
from penstroke.models import build_network
from penstroke.models.export import export_onnx
from penstroke.recognizer import Recognizer, model_metadata


@pytest.fixture(scope="module")
def model() -> bytes:
    network = build_network(SMALL_CNN, num_classes=3, mean=0.1, std=0.3, seed=4)
    return export_onnx(network, model_metadata("abc", DEFAULT_INK, dataset="mine"))


def test_an_answer(model: bytes) -> None:
    answer = Recognizer.from_bytes(model).recognize(drawn_digit())
    assert answer.status == "ok"
    assert answer.label in ("a", "b", "c")
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert answer.probability == max(answer.probabilities.values())
    assert answer.top(1) == [(answer.label, answer.probability)]
    assert np.array_equal(answer.seen, read_glyph(drawn_digit()).pixels)


def test_blank_paper_is_no_digit(model: bytes) -> None:
    answer = Recognizer.from_bytes(model).recognize(np.full((90, 90), 255, np.uint8))
    assert (answer.label, answer.probability, answer.status) == (None, 0.0, "empty")


def test_path_bytes_picture_and_list(model: bytes, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(drawn_digit()).save(stream, "PNG")
    path = tmp_path / "seven.png"
    path.write_bytes(stream.getvalue())
    recognizer = Recognizer.from_bytes(model)
    sources: list[Any] = [path, str(path), stream.getvalue(), Image.open(path), drawn_digit()]
    answers = [recognizer.recognize(source) for source in sources]
    assert len({answer.probability for answer in answers}) == 1
    together = recognizer.recognize(sources)
    assert [a.label for a in together] == [a.label for a in answers]
    assert recognizer.recognize([]) == []


def test_temperature_softens(model: bytes) -> None:
    sharp = Recognizer.from_bytes(model)
    proto = onnx.load_from_string(model)
    for prop in proto.metadata_props:
        if prop.key == "temperature":
            prop.value = "4.0"
    soft = Recognizer.from_bytes(proto.SerializeToString())
    images = random_glyphs(20)
    ratio = np.log(sharp.probabilities(images)) / 4
    expected = np.exp(ratio) / np.exp(ratio).sum(1, keepdims=True)
    np.testing.assert_allclose(soft.probabilities(images), expected, atol=1e-5)


def changed(model: bytes, change: Callable[[dict[str, str]], None]) -> bytes:
    proto = onnx.load_from_string(model)
    props = {prop.key: prop.value for prop in proto.metadata_props}
    change(props)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, props)
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda props: props.clear(), "not one that Penstroke wrote"),
        (lambda props: props.update(penstroke_format="2"), "newer Penstroke \\(format 2"),
        (lambda props: props.update(classes='["a", "b"]'), "metadata of the model is damaged"),
        (lambda props: props.update(classes="abc"), "metadata of the model is damaged"),
        (lambda props: props.pop("ink"), "metadata of the model is damaged"),
        (lambda props: props.update(ink='{"box_pixels": 99}'), "box_pixels"),
        (lambda props: props.update(temperature="0"), "metadata of the model is damaged"),
    ],
)
def test_a_model_that_cannot_be_used(
    model: bytes, change: Callable[[dict[str, str]], None], said: str
) -> None:
    with pytest.raises(ModelFileError, match=said):
        Recognizer.from_bytes(changed(model, change))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 50])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=str(path)):
        Recognizer.load(path)


def test_a_cut_model(model: bytes) -> None:
    with pytest.raises(ModelFileError):
        Recognizer.from_bytes(model[: len(model) // 2])


def test_missing_files_are_named(model: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read the model .*nothing\.onnx"):
        Recognizer.load(tmp_path / "nothing.onnx")
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        Recognizer.load(tmp_path)
    with pytest.raises(PictureError, match=r"nothing\.png"):
        Recognizer.from_bytes(model).recognize(tmp_path / "nothing.png")


def test_metadata_is_plain_json(model: bytes) -> None:
    metadata = Recognizer.from_bytes(model).metadata
    assert json.loads(json.dumps(metadata))["dataset"] == "mine"
    assert metadata["classes"] == ["a", "b", "c"]
