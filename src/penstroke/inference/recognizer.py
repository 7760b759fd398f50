"""A trained model as a function from an image to a character with probabilities. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from penstroke.config.settings import IMAGE_SIZE, Settings
from penstroke.errors import ModelFileError
from penstroke.inference.model_file import CONFIDENCE_THRESHOLD as CONFIDENCE_THRESHOLD
from penstroke.inference.model_file import MODEL_FORMAT_VERSION, ModelFile, finite
from penstroke.inference.model_file import OperatingPoint as OperatingPoint
from penstroke.preprocessing.decoding import ImageLike, as_batch
from penstroke.preprocessing.ink import InkSettings, Pixels, Preprocessed, preprocess

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


class Recognizer(ModelFile):
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

    _input, _output = "images", "logits"

    def __init__(self, session: Any, metadata: Mapping[str, Any]) -> None:
        super().__init__(session, metadata)
        facts = _Metadata.parse(metadata)
        self.classes = tuple(facts.classes)
        self.ink = facts.ink
        self.temperature = facts.temperature
        self.confidence_threshold = facts.confidence_threshold
        self.ood_threshold = facts.ood_threshold or None
        self.operating_points = tuple(facts.operating_points)

    @property
    def _columns(self) -> int:
        return len(self.classes)

    def _probe(self) -> None:
        self.probabilities(_PROBE)

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
        parts = np.array_split(images, max(1, -(-len(images) // BATCH)))
        logits = np.concatenate([self._run(part) for part in parts])
        if logits.shape != (len(images), len(self.classes)):
            raise ModelFileError(f"the model gives logits of shape {logits.shape}")
        return finite(logits, "logits")

    def softmax(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the softmax of logits (B, K) at the model's temperature."""
        with np.errstate(all="ignore"):  # what overflows is not finite, and refused
            scaled = logits / self.temperature
            powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            shares = np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
        return finite(shares, "probabilities")


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
