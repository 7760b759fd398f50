"""A trained model as a function from picture to character and probabilities. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from penstroke import onnx_file
from penstroke.errors import ConfigError, ModelFileError
from penstroke.files import reason
from penstroke.ink import Glyph, InkSettings, Picture, Pixels, read_glyph

MODEL_FORMAT_VERSION = 1
"""Of the metadata inside model.onnx."""

UNSURE_BELOW = 0.5
"""With a calibrated probability below it, an answer is more likely wrong than right."""

_BATCH = 256
"""Pictures that go through the network at once: more are no faster, and take memory."""

Status = Literal["ok", "unsure", "empty"]


@dataclass(frozen=True, eq=False)
class Recognition:
    """The answer to one picture.

    Attributes:
        label: the likeliest class; None where there is no ink, or no certainty.
        probability: of the likeliest class, though it may not be certain; 0 where there is no ink.
        probabilities: by class, calibrated; empty where there is no ink.
        seen: (28, 28) uint8, what the network read.
        status: `ok`, `unsure` or `empty`.
        familiarity: how much it looks like what the network was trained on; below 1, less than 999
            in 1,000 pictures of that kind do, and it is `unsure`. None where there is no ink, or
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
    familiarity: float | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` likeliest classes with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]


def model_metadata(
    classes: Sequence[str],
    ink: InkSettings,
    temperature: float = 1.0,
    familiar_above: float | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Return what a model file must carry to be recognised with; `facts` are for people."""
    return {
        "penstroke_format": MODEL_FORMAT_VERSION,
        "classes": list(classes),
        "ink": ink.to_dict(),
        "temperature": temperature,
        "unsure_below": UNSURE_BELOW,
        "familiar_above": familiar_above,
        **facts,
    }


class Recognizer:
    """Reads characters with a model.onnx that Penstroke wrote. Needs no torch.

    Attributes:
        classes: the name of each class.
        ink: how it finds and places ink.
        temperature: what logits are divided by, so that probabilities mean what they say.
        unsure_below: least probability of a label.
        familiar_above: least height of logits of a label; None where the model does not tell.
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
        self.unsure_below = float(metadata.get("unsure_below", UNSURE_BELOW))
        self.familiar_above: float | None = metadata.get("familiar_above")

    @classmethod
    def load(cls, path: str | Path, *, unsure_below: float | None = None) -> Recognizer:
        """Open `path`: a model.onnx, or a run directory that holds one.

        Args:
            path: the file or directory.
            unsure_below: least probability of a label; the model's own (0.5) unless given.

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
        if unsure_below is not None:
            recognizer.unsure_below = unsure_below
        return recognizer

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "model") -> Recognizer:
        """Open the bytes of a model.onnx; `name` stands in messages. Raises as `load` does."""
        session = _open_session(content, name)
        return cls(session, _read_metadata(session, name))

    @overload
    def recognize(self, picture: Picture) -> Recognition: ...
    @overload
    def recognize(self, picture: list[Any]) -> list[Recognition]: ...

    def recognize(self, picture: Picture | list[Any]) -> Recognition | list[Recognition]:
        """Return what `picture` shows; for a list of pictures, read as one batch, a list.

        Raises:
            PictureError: it is no picture (see `penstroke.ink.read_glyph`).
        """
        if isinstance(picture, list):
            return self.recognize_glyphs([read_glyph(one, self.ink) for one in picture])
        return self.recognize_glyphs([read_glyph(picture, self.ink)])[0]

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

    def recognize_glyphs(self, glyphs: Sequence[Glyph]) -> list[Recognition]:
        """Return what `glyphs`, which `ink` has placed, show: `recognize` after its first half."""
        if not glyphs:
            return []
        logits = self.logits(np.stack([glyph.pixels for glyph in glyphs]))
        familiarity = self.familiarity_of(logits)
        told = [None] * len(glyphs) if familiarity is None else familiarity.tolist()
        answers = zip(glyphs, self.probabilities_of(logits), told, strict=True)
        return [self._answer(*answer) for answer in answers]

    def familiarity_of(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Return the familiarity (B,) by logits (B, K); None where the model does not tell it."""
        if not self.familiar_above:
            return None
        return height_of_logits(logits) / np.float32(self.familiar_above)

    def _answer(
        self, glyph: Glyph, row: npt.NDArray[np.float32], familiarity: float | None
    ) -> Recognition:
        if glyph.is_blank:
            return Recognition(None, 0.0, {}, glyph.pixels, "empty")
        best = int(row.argmax())
        label, probability = self.classes[best], float(row[best])
        by_class = dict(zip(self.classes, map(float, row), strict=True))
        is_strange = familiarity is not None and familiarity < 1
        if probability < self.unsure_below or is_strange:
            return Recognition(None, probability, by_class, glyph.pixels, "unsure", familiarity)
        return Recognition(label, probability, by_class, glyph.pixels, "ok", familiarity)


def height_of_logits(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return by how much the largest of each row of logits (B, K) stands above their mean: (B,).

    It is low for pictures unlike those trained on, whatever the softmax makes of them (the maximum
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
    if not float(metadata.get("familiar_above") or 1) > 0:
        raise ValueError(f"familiar above {metadata['familiar_above']}")
    if not 0 <= float(metadata.get("unsure_below", UNSURE_BELOW)) <= 1:
        raise ValueError(f"unsure below {metadata['unsure_below']}")
    classes = metadata["classes"]
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes):
        raise ValueError("classes are no list of names")
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    if (images.name, images.type, logits.name) != ("images", "tensor(uint8)", "logits"):
        raise ValueError("the graph does not turn images of uint8 into logits")
    if logits.shape[1] != len(classes):
        raise ValueError(f"{len(classes)} classes for {logits.shape[1]} logits")
