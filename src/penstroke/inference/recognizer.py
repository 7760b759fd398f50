"""A trained model as a function from an image to a character with probabilities. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from penstroke.config.settings import IMAGE_SIZE, Settings
from penstroke.errors import ConfigError, ModelFileError, PenstrokeError
from penstroke.files import explained
from penstroke.inference.bundled import bundled_run, reinstall_hint
from penstroke.inference.onnx_session import open_session
from penstroke.preprocessing.decoding import ImageLike, as_batch
from penstroke.preprocessing.ink import InkSettings, Pixels, Preprocessed, preprocess

MODEL_FORMAT_VERSION = 1
"""Of the metadata inside model.onnx."""

CONFIDENCE_THRESHOLD = 0.5
"""With a calibrated probability below it, an answer is more likely wrong than right."""

_PROBE = np.stack([
    np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8),
    np.full((IMAGE_SIZE, IMAGE_SIZE), 255, np.uint8),
    (np.arange(IMAGE_SIZE**2, dtype=np.uint32) ** 2 % 256).astype(np.uint8)
    .reshape(IMAGE_SIZE, IMAGE_SIZE),
])  # fmt: skip
"""No ink, all ink, and a pattern: a model that is loaded has answered them."""

Status = Literal["ok", "rejected", "empty"]
RejectionReason = Literal["several_characters", "too_faint", "not_a_known_character", "ambiguous"]
"""Why an image gets no label: of several reasons, the first in this order."""

BATCH = 256
"""Images that go through a network at once: more are no faster, and take memory."""


@dataclass(frozen=True, eq=False)
class Recognition:
    """The answer to one image.

    Attributes:
        label: the likeliest class; None unless the status is `ok`.
        probability: of the likeliest class, whatever the status; 0 where there is no ink.
        probabilities: by class, calibrated; empty where there is no ink.
        input_image: (28, 28) uint8, what the network read.
        status: `ok`; `rejected`, for a `rejection_reason`; `empty` where there is no ink.
        ood_score: the max-logit score (see `max_logit_score`): the higher, the more the image is
            like the training data. None where there is no ink, or the model has no `ood_threshold`.
        rejection_reason: None unless the status is `rejected`. `several_characters`: they stand
            side by side; `penstroke read` reads them. `too_faint`: the ink differs too little from
            the paper to be read, or to be found at all. `not_a_known_character`: the `ood_score`
            is below the `ood_threshold` of the model. `ambiguous`: the probability is below its
            `confidence_threshold`.

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
    input_image: Pixels
    status: Status
    ood_score: float | None = None
    rejection_reason: RejectionReason | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` likeliest classes with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the input image as plain values."""
        plain = {name: value for name, value in vars(self).items() if name != "input_image"}
        return plain | {"probabilities": dict(self.probabilities)}


class OperatingPoint(Settings):
    """A confidence threshold, and what of the answers above it was shown on held-out images."""

    precision: float = Field(gt=0, lt=1, description="least share of answers that are right")
    confidence_threshold: float = Field(ge=0, le=1, description="least probability of a label")
    answered: float = Field(ge=0, le=1, description="share of the images of known characters")


class Recognizer:
    """Recognises characters with a model.onnx that Penstroke wrote. Needs no torch.

    Attributes:
        classes: the name of each class.
        ink: how it finds and normalises ink.
        temperature: what logits are divided by to make probabilities calibrated.
        confidence_threshold: least probability of a label.
        ood_threshold: least `ood_score` of a label, which 999 of 1,000 held-out images reach; None
            where the model does not judge whether an image is out of distribution.
        operating_points: confidence thresholds, and the precision that was shown with each.
        metadata: everything that the model file says about itself.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("fast", {"train.epochs": 4})
        >>> run = penstroke.train(recipe.run_config(), name="example")
        >>> recognizer = penstroke.Recognizer.load(run.path)
        >>> answer = recognizer.recognize("examples/seven.png")
        >>> answer.top(1)[0][0], answer.input_image.shape
        ('7', (28, 28))
    """

    def __init__(self, session: Any, metadata: Mapping[str, Any]) -> None:
        self._session = session
        self.metadata = metadata
        facts = _Metadata.parse(metadata, source="model")
        self.classes = tuple(facts.classes)
        self.ink = facts.ink
        self.temperature = facts.temperature
        self.confidence_threshold = facts.confidence_threshold
        self.ood_threshold = facts.ood_threshold or None
        self.operating_points = tuple(facts.operating_points)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        confidence_threshold: float | None = None,
        precision: float | None = None,
    ) -> Recognizer:
        """Open a bundled model by its name, a model.onnx, or the run directory that holds one.

        `confidence_threshold`: least probability of a label; the model's own (0.5) unless given.
        `precision`: least share of answers that are right, as it was shown on held-out images; sets
        the confidence threshold to that of an operating point.

        Raises:
            ConfigError: both are given, or the precision was not shown.
            ModelFileError: the file is missing, damaged, not Penstroke's, or of a newer version; or
                it reaches outside itself, for other files or foreign operators; its checksum is
                wrong; or its output is not finite.
        """
        path = bundled_run(path) or Path(path)
        path = path / "model.onnx" if path.is_dir() else path
        with reinstall_hint(path):
            with explained(f"read the model {path}", ModelFileError):
                content = path.read_bytes()
            recognizer = cls.from_bytes(content, str(path))
        recognizer.set_threshold(confidence_threshold, precision)
        return recognizer

    @classmethod
    def from_bytes(
        cls, content: bytes, name: str = "the model", *, threads: int | None = None
    ) -> Recognizer:
        """Open the bytes of a model.onnx, called `name` in messages. Raises as `load` does.

        `threads` limits those of ONNX Runtime, which uses every core unless given.
        """
        session = open_session(content, name, threads)
        recognizer = cls(session, _read_metadata(session, name))
        try:
            recognizer.probabilities(_PROBE)
        except ModelFileError as error:
            raise ModelFileError(f"{name} cannot be used: {error}") from error
        return recognizer

    def set_threshold(
        self, confidence_threshold: float | None = None, precision: float | None = None
    ) -> None:
        """Set the least probability of a label, by itself or by a precision, as in `load`.

        Raises ConfigError if both are given, or the precision was not shown.
        """
        if confidence_threshold is not None:
            if precision is not None:
                raise ConfigError("precision sets the confidence threshold: give one of the two")
            self.confidence_threshold = confidence_threshold
        if precision is None:
            return
        shown = [point for point in self.operating_points if point.precision >= precision]
        if not shown:
            highest = max((point.precision for point in self.operating_points), default=None)
            name = self.metadata.get("run") or "the model"
            raise ConfigError(
                f"precision {precision:g} was not shown of {name} on held-out images; "
                + (
                    "no precision was: train it again, by this version, or with more validation "
                    "images; or give a confidence threshold instead"
                    if highest is None
                    else f"the highest that was is {highest:g}: more validation images of each "
                    "source (data.validation_fraction) or a better network may show more"
                )
            )
        self.confidence_threshold = min(shown, key=lambda p: p.precision).confidence_threshold

    @overload
    def recognize(self, image: ImageLike) -> Recognition: ...
    @overload
    def recognize(self, image: list[Any] | tuple[Any, ...]) -> list[Recognition]: ...

    def recognize(self, image: Any) -> Recognition | list[Recognition]:
        """Return what `image` shows; for several, read as one batch, a list.

        Several are a list or tuple, or an array or tensor (N, H, W), (N, H, W, C) or (N, C, H, W),
        C of 1, 3 or 4.

        Raises:
            ImageError: it is not an image (see `penstroke.preprocessing.ink.preprocess`), or an
                array that may be one image or several: pass a list.
        """
        several = as_batch(image)
        if several is None:
            return self.recognize_preprocessed([preprocess(image, self.ink)])[0]
        return self.recognize_preprocessed([preprocess(one, self.ink) for one in several])

    def recognize_preprocessed(self, images: Sequence[Preprocessed]) -> list[Recognition]:
        """Return what each of `images` shows: the second half of `recognize`."""
        if not images:
            return []
        logits = self.logits(np.stack([image.pixels for image in images]))
        shares, scores = self.softmax(logits), max_logit_score(logits)
        columns = (shares.tolist(), shares.argmax(axis=1).tolist(), scores.tolist())
        return [
            self._recognition(image, row, best, score)
            for image, row, best, score in zip(images, *columns, strict=True)
        ]

    def _recognition(
        self, image: Preprocessed, probabilities: list[float], best: int, score: float
    ) -> Recognition:
        reason: RejectionReason | None = "too_faint" if image.is_faint else None
        if image.is_blank:
            status: Status = "rejected" if reason else "empty"
            return Recognition(None, 0.0, {}, image.pixels, status, rejection_reason=reason)
        is_unknown = score < np.float32(self.ood_threshold or 0)  # no score is below 0
        if image.characters > 1:
            reason = "several_characters"
        elif is_unknown or probabilities[best] < self.confidence_threshold:
            reason = reason or ("not_a_known_character" if is_unknown else "ambiguous")
        else:
            reason = None
        return Recognition(
            label=None if reason else self.classes[best],
            probability=probabilities[best],
            probabilities=dict(zip(self.classes, probabilities, strict=True)),
            input_image=image.pixels,
            status="rejected" if reason else "ok",
            ood_score=None if self.ood_threshold is None else score,
            rejection_reason=reason,
        )

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the calibrated softmax (B, K) of preprocessed images (B, 28, 28) uint8."""
        return self.softmax(self.logits(images))

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits (B, K) of preprocessed images (B, 28, 28) uint8.

        Raises ModelFileError if the model cannot be run, or its output is not finite.
        """
        try:
            logits: npt.NDArray[np.float32] = np.concatenate(
                [
                    self._session.run(["logits"], {"images": np.ascontiguousarray(part)})[0]
                    for part in np.array_split(images, max(1, -(-len(images) // BATCH)))
                ]
            )
        except PenstrokeError:  # a worker's deadline
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no other base in common
            raise ModelFileError(f"the model cannot be run: {error}") from error
        if logits.shape != (len(images), len(self.classes)):
            raise ModelFileError(f"the model gives logits of shape {logits.shape}")
        return _finite(logits, "logits")

    def softmax(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the softmax of logits (B, K) at the model's temperature."""
        with np.errstate(all="ignore"):  # what overflows is not finite, and refused
            scaled = logits / self.temperature
            powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            shares = np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
        return _finite(shares, "probabilities")


def _finite(values: npt.NDArray[np.float32], what: str) -> npt.NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise ModelFileError(
            f"the model gives {what} that are not finite (nan, infinity): train or export it again"
        )
    return values


def max_logit_score(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return by how much the largest of each row of logits (B, K) stands above their mean: (B,).

    It is low for images unlike the training data, whatever the softmax makes of them (the maximum
    logit of Hendrycks et al. 2022; less the mean, to which the softmax is blind).
    """
    return np.asarray(logits.max(axis=1) - logits.mean(axis=1), np.float32)


def model_metadata(
    classes: Sequence[str], ink: InkSettings, temperature: float = 1.0,
    ood_threshold: float | None = None, operating_points: Sequence[OperatingPoint] = (),
    **facts: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return what a model file must carry so that it can recognise; `facts` are for people."""
    return {
        "penstroke_format": MODEL_FORMAT_VERSION,
        "classes": list(classes),
        "ink": ink.to_dict(),
        "temperature": temperature,
        "confidence_threshold": CONFIDENCE_THRESHOLD,
        "ood_threshold": ood_threshold,
        "operating_points": [point.to_dict() for point in operating_points],
        **facts,
    }


class _Metadata(Settings):
    """The part of a model file's metadata that recognition needs."""

    model_config = ConfigDict(extra="ignore")
    classes: list[str] = Field(description="name of each class")
    ink: InkSettings = Field(description="how it finds and normalises ink")
    temperature: float = Field(gt=0, description="what logits are divided by")
    confidence_threshold: float = Field(
        CONFIDENCE_THRESHOLD, ge=0, le=1, description="least probability of a label"
    )
    ood_threshold: float | None = Field(None, ge=0, description="least ood_score of a label")
    operating_points: list[OperatingPoint] = Field([], description="thresholds by precision")


def _read_metadata(session: Any, name: str) -> dict[str, Any]:
    """Return the metadata of the model called `name`; ModelFileError where they cannot be used."""
    raw = session.get_modelmeta().custom_metadata_map
    if "penstroke_format" not in raw:
        raise ModelFileError(f"{name} is an ONNX model, but not one that Penstroke wrote")
    try:
        metadata = {key: json.loads(value) for key, value in raw.items()}
        version = int(metadata["penstroke_format"])
        if version <= MODEL_FORMAT_VERSION:
            _check_graph(session, len(_Metadata.parse(metadata).classes))
    except (ValueError, TypeError, IndexError, RecursionError, ConfigError) as error:
        raise ModelFileError(f"{name}: the metadata of the model is damaged: {error}") from error
    if version > MODEL_FORMAT_VERSION:
        raise ModelFileError(
            f"{name} was written by a newer Penstroke (format {version}; this one reads up to "
            f"{MODEL_FORMAT_VERSION}): upgrade with pip install -U penstroke"
        )
    return metadata


def _check_graph(session: Any, classes: int) -> None:
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    sides = [(one.name, one.type) for one in (images, logits)]
    if sides != [("images", "tensor(uint8)"), ("logits", "tensor(float)")]:
        raise ValueError("the graph does not turn images of uint8 into logits of float")
    if logits.shape[1] != classes:
        raise ValueError(f"it names {classes} classes for {logits.shape[1]} logits")
