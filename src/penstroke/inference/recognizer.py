"""A trained model as a function from image to character and probabilities. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from penstroke.errors import ConfigError, ModelFileError
from penstroke.files import reason
from penstroke.inference import onnx_safety as onnx_file
from penstroke.preprocessing.decoding import ImageLike
from penstroke.preprocessing.ink import InkSettings, Pixels, Preprocessed, preprocess

MODEL_FORMAT_VERSION = 1
"""Of the metadata inside model.onnx."""

CONFIDENCE_THRESHOLD = 0.5
"""With a calibrated probability below it, an answer is more likely wrong than right."""

_BATCH = 256
"""Images that go through the network at once: more are no faster, and take memory."""

Status = Literal["ok", "rejected", "empty"]


@dataclass(frozen=True, eq=False)
class Recognition:
    """The answer to one image.

    Attributes:
        label: the likeliest class; None where there is no ink, or no certainty.
        probability: of the likeliest class, though it may not be certain; 0 where there is no ink.
        probabilities: by class, calibrated; empty where there is no ink.
        seen: (28, 28) uint8, what the network read.
        status: `ok`, `rejected` or `empty`.
        ood_score: how much it looks like what the network was trained on; below 1, less than 999
            in 1,000 images of that kind do, and it is `rejected`. None where there is no ink, or
            the model does not tell.

    Examples:
        >>> import numpy as np
        >>> from penstroke import Recognition
        >>> answer = Recognition("3", 0.9, {"3": 0.9, "8": 0.1}, np.zeros((28, 28)), "ok")
        >>> answer.top(1)
        [('3', 0.9)]
    """

    label: str | None
    probability: float
    probabilities: Mapping[str, float]
    seen: Pixels
    status: Status
    ood_score: float | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` likeliest classes with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]


def model_metadata(
    classes: Sequence[str],
    ink: InkSettings,
    temperature: float = 1.0,
    ood_threshold: float | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Return what a model file must carry to be recognised with; `facts` are for people."""
    return {
        "penstroke_format": MODEL_FORMAT_VERSION,
        "classes": list(classes),
        "ink": ink.to_dict(),
        "temperature": temperature,
        "confidence_threshold": CONFIDENCE_THRESHOLD,
        "ood_threshold": ood_threshold,
        **facts,
    }


class Recognizer:
    """Reads characters with a model.onnx that Penstroke wrote. Needs no torch.

    Attributes:
        classes: the name of each class.
        ink: how it finds and places ink.
        temperature: what logits are divided by, so that probabilities mean what they say.
        confidence_threshold: least probability of a label.
        ood_threshold: least height of logits of a label; None where the model does not tell.
        metadata: all that the model file says about itself.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("fast", ["train.epochs=4", "train.min_steps=0"])
        >>> run = penstroke.train(recipe.run_config(), name="example")
        >>> recognizer = penstroke.Recognizer.load(run.path)
        >>> answer = recognizer.recognize("examples/seven.png")
        >>> answer.top(1)[0][0], answer.seen.shape
        ('7', (28, 28))
    """

    def __init__(self, session: Any, metadata: Mapping[str, Any]) -> None:
        self._session = session
        self.metadata = metadata
        self.classes: tuple[str, ...] = tuple(metadata["classes"])
        self.ink = InkSettings.parse(metadata["ink"], source="model")
        self.temperature = float(metadata["temperature"])
        self.confidence_threshold = float(
            metadata.get("confidence_threshold", CONFIDENCE_THRESHOLD)
        )
        self.ood_threshold: float | None = metadata.get("ood_threshold")

    @classmethod
    def load(cls, path: str | Path, *, confidence_threshold: float | None = None) -> Recognizer:
        """Open `path`: a model.onnx, or a run directory that holds one.

        Args:
            path: the file or directory.
            confidence_threshold: least probability of a label; the model's own (0.5) unless given.

        Raises:
            ModelFileError: it is missing, damaged, not Penstroke's, or of a newer version; or it
                reaches beyond itself, for other files or foreign operators.
        """
        path = Path(path)
        path = path / "model.onnx" if path.is_dir() else path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"cannot read the model {path}: {reason(error)}") from error
        recognizer = cls.from_bytes(content, str(path))
        if confidence_threshold is not None:
            recognizer.confidence_threshold = confidence_threshold
        return recognizer

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "model") -> Recognizer:
        """Open the bytes of a model.onnx; `name` stands in messages. Raises as `load` does."""
        session = _open_session(content, name)
        return cls(session, _read_metadata(session, name))

    @overload
    def recognize(self, image: ImageLike) -> Recognition: ...
    @overload
    def recognize(self, image: list[Any]) -> list[Recognition]: ...

    def recognize(self, image: ImageLike | list[Any]) -> Recognition | list[Recognition]:
        """Return what `image` shows; for a list of images, read as one batch, a list.

        Raises:
            ImageError: it is no image (see `penstroke.preprocessing.ink.preprocess`).
        """
        if isinstance(image, list):
            return self.recognize_preprocessed([preprocess(one, self.ink) for one in image])
        return self.recognize_preprocessed([preprocess(image, self.ink)])[0]

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the softmax (B, K) of images (B, 28, 28) uint8 that are ready to be read."""
        return self.probabilities_of(self.logits(images))

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what the network says of images (B, 28, 28) uint8: (B, K)."""
        parts = [
            self._session.run(["logits"], {"images": np.ascontiguousarray(part)})[0]
            for part in np.array_split(images, max(1, -(-len(images) // _BATCH)))
        ]
        return np.concatenate(parts)

    def probabilities_of(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the softmax of logits (B, K) at the model's temperature."""
        scaled = logits / self.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    def recognize_preprocessed(self, glyphs: Sequence[Preprocessed]) -> list[Recognition]:
        """Return what `glyphs`, which `ink` has placed, show: `recognize` after its first half."""
        if not glyphs:
            return []
        logits = self.logits(np.stack([glyph.pixels for glyph in glyphs]))
        ood_score = self.ood_scores(logits)
        told = [None] * len(glyphs) if ood_score is None else ood_score.tolist()
        answers = zip(glyphs, self.probabilities_of(logits), told, strict=True)
        return [self._answer(*answer) for answer in answers]

    def ood_scores(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Return the ood_score (B,) by logits (B, K); None where the model does not tell it."""
        if not self.ood_threshold:
            return None
        return max_logit_score(logits) / np.float32(self.ood_threshold)

    def _answer(
        self, glyph: Preprocessed, row: npt.NDArray[np.float32], ood_score: float | None
    ) -> Recognition:
        if glyph.is_blank:
            return Recognition(None, 0.0, {}, glyph.pixels, "empty")
        best = int(row.argmax())
        label, probability = self.classes[best], float(row[best])
        by_class = dict(zip(self.classes, map(float, row), strict=True))
        is_strange = ood_score is not None and ood_score < 1
        if probability < self.confidence_threshold or is_strange:
            return Recognition(None, probability, by_class, glyph.pixels, "rejected", ood_score)
        return Recognition(label, probability, by_class, glyph.pixels, "ok", ood_score)


def max_logit_score(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return by how much the largest of each row of logits (B, K) stands above their mean: (B,).

    It is low for images unlike those trained on, whatever the softmax makes of them (the maximum
    logit of Hendrycks et al. 2022; less the mean, to which the softmax is blind).
    """
    return np.asarray(logits.max(axis=1) - logits.mean(axis=1), np.float32)


def _open_session(content: bytes, path: str) -> Any:
    try:
        objection = onnx_file.objection(content)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is no ONNX model that can be read: {error}") from None
    if objection:
        raise ModelFileError(f"{path} is not opened: {objection}; Penstroke writes no such models")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions; nothing is printed beside them
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base but this
        raise ModelFileError(f"{path} is no ONNX model that can be read, or is damaged") from error


def _read_metadata(session: Any, path: str) -> dict[str, Any]:
    raw = session.get_modelmeta().custom_metadata_map
    if "penstroke_format" not in raw:
        raise ModelFileError(f"{path} is an ONNX model, but not one that Penstroke wrote")
    try:
        metadata = {key: json.loads(value) for key, value in raw.items()}
        version = int(metadata["penstroke_format"])
        if version > MODEL_FORMAT_VERSION:
            raise ModelFileError(
                f"{path} was written by a newer Penstroke (format {version}; this one reads up to "
                f"{MODEL_FORMAT_VERSION}): upgrade with pip install -U penstroke"
            )
        InkSettings.parse(metadata["ink"])
        _check(metadata, session)
    except KeyError as error:
        raise ModelFileError(f"{path}: the model does not say its {error.args[0]}") from None
    except (ValueError, TypeError, IndexError, ConfigError) as error:
        raise ModelFileError(f"{path}: the metadata of the model is damaged: {error}") from error
    return metadata


def _check(metadata: Mapping[str, Any], session: Any) -> None:
    """Raise ValueError where metadata and graph do not fit together."""
    if not float(metadata["temperature"]) > 0:
        raise ValueError(f"a temperature of {metadata['temperature']}")
    if not float(metadata.get("ood_threshold") or 1) > 0:
        raise ValueError(f"familiar above {metadata['ood_threshold']}")
    if not 0 <= float(metadata.get("confidence_threshold", CONFIDENCE_THRESHOLD)) <= 1:
        raise ValueError(f"rejected below {metadata['confidence_threshold']}")
    classes = metadata["classes"]
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes):
        raise ValueError("classes are no list of names")
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    if (images.name, images.type, logits.name) != ("images", "tensor(uint8)", "logits"):
        raise ValueError("the graph does not turn images of uint8 into logits")
    if logits.shape[1] != len(classes):
        raise ValueError(f"{len(classes)} classes for {logits.shape[1]} logits")
