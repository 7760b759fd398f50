from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from helpers import SMALL_CNN, drawn_digit, random_images
from penstroke.errors import ConfigError, ImageError, ModelFileError
from penstroke.inference.onnx_session import CHECKSUM
from penstroke.inference.recognizer import Recognizer, model_metadata
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_onnx
from penstroke.preprocessing.ink import DEFAULT_INK, preprocess


@pytest.fixture(scope="module")
def model() -> bytes:
    network = build_network(SMALL_CNN, num_classes=3, mean=0.1, std=0.3, seed=4)
    return export_onnx(network, model_metadata("abc", DEFAULT_INK, dataset="mine"))


def sure(model: bytes) -> Recognizer:
    """The untrained model, made to answer with whatever is likeliest."""
    recognizer = Recognizer.from_bytes(model)
    recognizer.confidence_threshold = 0.0
    return recognizer


def test_an_answer(model: bytes) -> None:
    answer = sure(model).recognize(drawn_digit())
    assert answer.status == "ok"
    assert answer.label in ("a", "b", "c")
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert answer.probability == max(answer.probabilities.values())
    assert answer.top(1) == [(answer.label, answer.probability)]
    assert np.array_equal(answer.input_image, preprocess(drawn_digit()).pixels)
    assert json.loads(json.dumps(answer.to_dict()))["probabilities"] == answer.probabilities


def test_no_label_without_certainty(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    sure_of = sure(model).recognize(drawn_digit())
    highest = sure_of.probability
    for below, status in (
        (sure_of.probability - 1e-6, "ok"),
        (sure_of.probability + 1e-6, "rejected"),
    ):
        answer = Recognizer.load(path, confidence_threshold=below).recognize(drawn_digit())
        assert (answer.status, answer.label is None) == (status, status == "rejected")
        assert answer.probabilities == sure_of.probabilities
        assert answer.probability == highest
    # The model's own threshold, unless another is given.
    stored = changed(model, lambda props: props.update(confidence_threshold="0.999"))
    assert Recognizer.from_bytes(stored).recognize(drawn_digit()).status == "rejected"


def test_what_is_unlike_the_images_it_knows_has_no_label(model: bytes) -> None:
    recognizer = sure(model)
    logits = recognizer.logits(preprocess(drawn_digit()).pixels[None])[0]
    score = float(logits.max() - logits.mean())
    assert recognizer.recognize(drawn_digit()).ood_score is None
    for threshold, status in ((0.9 * score, "ok"), (1.1 * score, "rejected")):
        with_threshold = changed(model, partial(dict.update, ood_threshold=str(threshold)))
        answer = sure(with_threshold).recognize(drawn_digit())
        assert answer.ood_score == pytest.approx(score)
        assert (answer.status, answer.label is None) == (status, status == "rejected")


def test_a_threshold_by_the_precision_that_was_shown(model: bytes, tmp_path: Path) -> None:
    points = [{"precision": p, "confidence_threshold": t, "answered": 0.5}
              for p, t in ((0.9, 0.6), (0.99, 0.8))]  # fmt: skip
    path = tmp_path / "model.onnx"
    path.write_bytes(changed(model, partial(dict.update, operating_points=json.dumps(points))))
    for precision, threshold in ((0.5, 0.6), (0.9, 0.6), (0.95, 0.8), (0.99, 0.8)):
        assert Recognizer.load(path, precision=precision).confidence_threshold == threshold
    with pytest.raises(ConfigError, match=r"0\.995 was not shown .* highest that was is 0\.99"):
        Recognizer.load(path, precision=0.995)
    with pytest.raises(ConfigError, match="one of the two"):
        Recognizer.load(path, precision=0.9, confidence_threshold=0.5)
    path.write_bytes(changed(model, lambda props: props.update(operating_points="[]")))
    with pytest.raises(ConfigError, match=r"no precision was: train it again"):
        Recognizer.load(path, precision=0.9)


def test_a_rejected_image_has_a_reason(model: bytes) -> None:
    seven = drawn_digit()
    pair = np.concatenate([seven[:, :150], seven[:, 50:]], axis=1)
    recognizer = sure(model)

    def reasons(contrast: int) -> list[str | None]:
        """Of one 7, of two beside each other, and of paper."""
        ink = [(235.0 - image) / 215 for image in (seven, pair, np.full_like(seven, 235))]
        images = [np.rint(235 - contrast * one).astype(np.uint8) for one in ink]
        answers = recognizer.recognize(images)
        assert all((one.label is None) == (one.status != "ok") for one in answers)
        assert answers[-1].status == "empty"
        assert [one.to_dict()["rejection_reason"] for one in answers][-1] is None
        return [one.rejection_reason for one in answers[:2]]

    assert reasons(215) == [None, "several_characters"]
    assert reasons(25) == [None, "several_characters"]
    assert reasons(8) == ["too_faint", "too_faint"], "which is not empty"
    recognizer.confidence_threshold = 1.0
    assert reasons(215) == ["ambiguous", "several_characters"]
    assert reasons(25) == ["too_faint", "several_characters"]
    recognizer.ood_threshold = 1e3
    assert reasons(215) == ["not_a_known_character", "several_characters"]
    recognizer.confidence_threshold = 0.0
    assert reasons(215) == ["not_a_known_character", "several_characters"]


def test_a_thousand_at_once_are_a_thousand_one_by_one(model: bytes) -> None:
    recognizer = sure(model)
    images = list(np.pad(random_images(1000), ((0, 0), (3, 3), (3, 3))))
    together = recognizer.recognize(images)
    for image, answer in zip(images, together, strict=True):
        alone = recognizer.recognize(image)
        assert np.array_equal(alone.input_image, answer.input_image)
        assert alone.label == answer.label
        assert answer.probability == pytest.approx(alone.probability, abs=1e-6)


def test_sixteen_threads_give_the_same_answers(model: bytes) -> None:
    recognizer = sure(model)
    images = [np.pad(image, 4) for image in random_images(160)]
    alone = [dict(recognizer.recognize(image).probabilities) for image in images]
    with ThreadPoolExecutor(16) as threads:
        answers = threads.map(lambda image: recognizer.recognize(image), images * 4)
    for index, answer in enumerate(answers):
        assert answer.probabilities == pytest.approx(alone[index % 160], abs=1e-6)


def test_blank_paper_is_no_digit(model: bytes) -> None:
    answer = Recognizer.from_bytes(model).recognize(np.full((90, 90), 255, np.uint8))
    assert (answer.label, answer.probability, answer.status) == (None, 0.0, "empty")


def test_path_bytes_image_and_list(model: bytes, tmp_path: Path) -> None:
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
    soft = Recognizer.from_bytes(without_checksum(proto))
    images = random_images(20)
    ratio = np.log(sharp.probabilities(images)) / 4
    expected = np.exp(ratio) / np.exp(ratio).sum(1, keepdims=True)
    np.testing.assert_allclose(soft.probabilities(images), expected, atol=1e-5)


def changed(model: bytes, change: Callable[[dict[str, str]], None]) -> bytes:
    proto = onnx.load_from_string(model)
    props = {prop.key: prop.value for prop in proto.metadata_props}
    change(props)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, props)
    return without_checksum(proto)


def without_checksum(proto: onnx.ModelProto) -> bytes:
    """Return the file as releases up to 0.2.0 wrote it."""
    props = [prop for prop in proto.metadata_props if prop.key != CHECKSUM]
    del proto.metadata_props[:]
    proto.metadata_props.extend(props)
    return bytes(proto.SerializeToString())


def test_a_file_of_an_earlier_release_has_no_checksum(model: bytes) -> None:
    earlier = without_checksum(onnx.load_from_string(model))
    assert CHECKSUM.encode() not in earlier
    answer = Recognizer.from_bytes(earlier).logits(random_images(5))
    assert np.array_equal(answer, Recognizer.from_bytes(model).logits(random_images(5)))


def test_no_changed_byte_changes_an_answer_silently(model: bytes) -> None:
    """One byte after the other, anywhere in the file: refused, or the same logits and classes."""
    random, images = np.random.default_rng(0), random_images(20)
    whole = Recognizer.from_bytes(model)
    logits, refused = whole.logits(images), 0
    for at in random.choice(len(model), 300, replace=False):
        damaged = bytearray(model)
        damaged[at] ^= 1 << int(random.integers(8))
        try:
            recognizer = Recognizer.from_bytes(bytes(damaged))
        except ModelFileError:
            refused += 1
            continue
        assert np.array_equal(recognizer.logits(images), logits)
        assert (recognizer.classes, recognizer.temperature) == (whole.classes, whole.temperature)
    assert refused >= 295


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_whose_output_is_not_finite_is_not_loaded(value: float) -> None:
    network = build_network(SMALL_CNN, num_classes=3, mean=0.1, std=0.3, seed=4)
    with torch.no_grad():
        list(network.parameters())[-1].fill_(value)
    content = export_onnx(network, model_metadata("abc", DEFAULT_INK))
    with pytest.raises(ModelFileError, match="mine.onnx cannot be used: .*not finite"):
        Recognizer.from_bytes(content, "mine.onnx")


class Faulty:
    """A session whose logits are not what they should be."""

    def __init__(self, logits: Any) -> None:
        self.logits = logits

    def run(self, _names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [np.repeat(np.array([self.logits], np.float32), len(inputs["images"]), axis=0)]


@pytest.mark.parametrize(
    ("logits", "said"),
    [
        ([0, np.nan, 1], "not finite"), ([0, np.inf, 1], "not finite"),
        ([0, 1], r"logits of shape \(1, 2\)"), (["x"], "cannot be run"),
    ],
)  # fmt: skip
def test_output_that_is_no_answer_is_an_error(model: bytes, logits: Any, said: str) -> None:
    recognizer = Recognizer(Faulty(logits), Recognizer.from_bytes(model).metadata)
    with pytest.raises(ModelFileError, match=said):
        recognizer.recognize(drawn_digit())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda props: props.clear(), "not one that Penstroke wrote"),
        (lambda props: props.update(penstroke_format="2"), "newer Penstroke \\(format 2"),
        (lambda props: props.update(classes='["a", "b"]'), "2 classes for 3 logits"),
        (lambda props: props.update(classes="abc"), "metadata of the model is damaged"),
        (lambda props: props.update(classes="[1, 2, 3]"), "damaged: .*classes"),
        (lambda props: props.pop("classes"), "damaged: classes: is missing"),
        (lambda props: props.update(ood_threshold='"high"'), "metadata of the model is damaged"),
        (
            lambda props: props.update(confidence_threshold='"high"'),
            "metadata of the model is damaged",
        ),
        (
            lambda props: props.update(confidence_threshold="null"),
            "metadata of the model is damaged",
        ),
        (
            lambda props: props.update(confidence_threshold="NaN"),
            "metadata of the model is damaged",
        ),
        (lambda props: props.update(ood_threshold="-1"), "damaged: .*ood_threshold"),
        (lambda props: props.pop("ink"), "damaged: ink: is missing"),
        (lambda props: props.update(ink='{"box_pixels": 99}'), "box_pixels"),
        (lambda props: props.update(temperature="0"), "metadata of the model is damaged"),
    ],
)
def test_a_model_that_cannot_be_used(
    model: bytes, change: Callable[[dict[str, str]], None], message: str
) -> None:
    with pytest.raises(ModelFileError, match=message):
        Recognizer.from_bytes(changed(model, change))


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 50])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=str(path)):
        Recognizer.load(path)


def with_external_weights(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def with_external_weights_within(proto: onnx.ModelProto) -> None:
    """In a branch of an If, which is a graph inside an attribute of a node."""
    branch = onnx.helper.make_graph([], "branch", [], [])
    branch.initializer.add().data_location = onnx.TensorProto.EXTERNAL
    proto.graph.node.append(onnx.helper.make_node("If", ["c"], ["d"], then_branch=branch))


def with_sparse_weights(proto: onnx.ModelProto) -> None:
    sparse = proto.graph.sparse_initializer.add()
    sparse.values.name = "w"
    sparse.values.data_location = onnx.TensorProto.EXTERNAL


def with_sparse_weights_within(proto: onnx.ModelProto) -> None:
    node = onnx.helper.make_node("Constant", [], ["c"])
    attribute = node.attribute.add()
    attribute.name, attribute.type = "sparse_value", onnx.AttributeProto.SPARSE_TENSOR
    attribute.sparse_tensor.values.data_location = onnx.TensorProto.EXTERNAL
    proto.graph.node.append(node)


def with_foreign_operators(proto: onnx.ModelProto) -> None:
    proto.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    proto.graph.node[0].domain = "com.example"


def with_a_loop(proto: onnx.ModelProto) -> None:
    """As it stands in a branch, too: 2^62 rounds."""
    body = onnx.helper.make_graph([], "body", [], [])
    proto.graph.node.append(onnx.helper.make_node("Loop", ["n", "c"], ["d"], body=body))


def with_functions(proto: onnx.ModelProto) -> None:
    proto.functions.add().name = "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_external_weights, "external data"),
        (with_external_weights_within, "control flow|external data"),
        (with_sparse_weights, "sparse tensors"),
        (with_sparse_weights_within, "sparse tensors"),
        (with_foreign_operators, "needs the operators of 'com.example'"),
        (with_functions, "functions of its own"),
        (with_a_loop, "control flow .Loop., which may never end"),
    ],
)
def test_a_model_that_reaches_beyond_itself(
    model: bytes, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    proto = onnx.load_from_string(model)
    change(proto)
    with pytest.raises(ModelFileError, match=message):
        Recognizer.from_bytes(proto.SerializeToString())


def test_a_model_of_other_inputs(model: bytes) -> None:
    proto = onnx.load_from_string(model)
    proto.graph.output[0].name = "something"
    proto.graph.node[-1].output[0] = "something"
    with pytest.raises(ModelFileError, match="does not match its checksum"):
        Recognizer.from_bytes(proto.SerializeToString())
    with pytest.raises(ModelFileError, match="does not turn images of uint8 into logits"):
        Recognizer.from_bytes(without_checksum(proto))


def test_a_model_of_other_outputs(model: bytes) -> None:
    """Another type; two outputs."""
    cast = onnx.load_from_string(model)
    cast.graph.node[-1].output[0] = "floats"
    cast.graph.node.append(onnx.helper.make_node("Cast", ["floats"], ["logits"], to=11))
    cast.graph.output[0].type.tensor_type.elem_type = 11
    two = onnx.load_from_string(model)
    two.graph.output.append(onnx.helper.make_tensor_value_info("images", 2, None))
    for proto in (cast, two):
        with pytest.raises(ModelFileError, match="metadata of the model is damaged"):
            Recognizer.from_bytes(without_checksum(proto))


def test_nothing_is_printed_about_a_model_that_cannot_be_opened(
    model: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load_from_string(model)
    proto.graph.node[0].name = "unicode"
    content = without_checksum(proto).replace(b"unicode", b"unic\xf4de")
    with contextlib.suppress(ModelFileError):
        Recognizer.from_bytes(content)
    proto.graph.node[0].op_type = "Nothing"
    with pytest.raises(ModelFileError, match="damaged"):
        Recognizer.from_bytes(without_checksum(proto))
    assert capfd.readouterr().out == ""


def test_a_cut_model(model: bytes) -> None:
    with pytest.raises(ModelFileError):
        Recognizer.from_bytes(model[: len(model) // 2])


def test_missing_files_are_named(model: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read the model .*nothing\.onnx"):
        Recognizer.load(tmp_path / "nothing.onnx")
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        Recognizer.load(tmp_path)
    with pytest.raises(ImageError, match=r"nothing\.png"):
        Recognizer.from_bytes(model).recognize(tmp_path / "nothing.png")


def test_metadata_is_plain_json(model: bytes) -> None:
    metadata = Recognizer.from_bytes(model).metadata
    assert json.loads(json.dumps(metadata))["dataset"] == "mine"
    assert metadata["classes"] == ["a", "b", "c"]


def test_batches_are_lists_tuples_arrays_and_tensors(model: bytes) -> None:
    recognizer = Recognizer.from_bytes(model)
    images = np.stack([drawn_digit(28, ink=level) for level in (0, 20, 40, 60, 80)])
    alone = [dict(recognizer.recognize(image).probabilities) for image in images]
    colour = np.stack([images] * 3, axis=3)
    batches: list[Any] = [
        list(images), tuple(images), images, images[..., None], images[:, None], colour,
        np.moveaxis(colour, 3, 1), [Image.fromarray(image) for image in images],
        torch.from_numpy(images), torch.from_numpy(images / 255)[:, None],
        list(torch.from_numpy(images)[:, None]),
    ]  # fmt: skip
    for batch in batches:
        for answer, wanted in zip(recognizer.recognize(batch), alone, strict=True):
            assert dict(answer.probabilities) == pytest.approx(wanted, abs=2e-2)
    assert recognizer.recognize([]) == []


@pytest.mark.parametrize(
    "shape", [(10, 784), (1, 784), (1, 28, 28), (3, 28, 28), (3, 1, 28, 3), (2, 28, 28, 5)]
)
def test_one_image_or_several_is_not_guessed(model: bytes, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="may be .* pass a list of images"):
        Recognizer.from_bytes(model).recognize(np.zeros(shape, np.uint8))


def test_open_files_and_tensors(model: bytes, tmp_path: Path) -> None:
    recognizer = Recognizer.from_bytes(model)
    Image.fromarray(drawn_digit()).save(tmp_path / "seven.png")
    wanted = recognizer.recognize(drawn_digit()).to_dict()
    content = (tmp_path / "seven.png").read_bytes()
    ones: list[Any] = [io.BytesIO(content), bytearray(content)]
    for one in (*ones, torch.from_numpy(drawn_digit().copy())):
        assert recognizer.recognize(one).to_dict() == wanted
    with (tmp_path / "seven.png").open("rb") as stream:
        assert recognizer.recognize(stream).to_dict() == wanted
    wrong: list[Any] = [io.StringIO("7"), 7, None, {"image": 7}, [[0, 1], [1, 0]]]
    with pytest.raises(ImageError, match='opened with "rb"'):
        recognizer.recognize(wrong[0])
    for one in wrong:
        with pytest.raises(ImageError, match="is not an image: give a path"):
            recognizer.recognize(one)
