"""Corrections from the page: checked, preprocessed, and kept in the data set `collected`."""

import base64
import threading
from collections import Counter
from typing import Self

from pydantic import Field, field_validator, model_validator

from penstroke.config.class_names import check_class_name
from penstroke.config.settings import Settings
from penstroke.data import collected
from penstroke.data.collected import Answer, Collected
from penstroke.errors import ConfigError
from penstroke.preprocessing.ink import DEFAULT_INK, preprocess
from penstroke.runs.record import now
from penstroke.serve.responses import ApiError, png
from penstroke.serve.schemas import CorrectionAnswer, CorrectionFacts, CorrectionsAnswer
from penstroke.serve.strokes import Drawing, preprocess_drawing
from penstroke.serve.uploads import open_image


class Correction(Settings):
    """An image with its right label."""

    label: str = Field(
        min_length=1,
        max_length=32,
        description="1 to 32 printable characters; any class, known or new",
    )
    image: str | None = Field(None, description="PNG in base64")
    strokes: Drawing | None = Field(None, description="or the strokes it was drawn with")
    answer: Answer | None = Field(None, description="the answer of a model to it")

    _check_label = field_validator("label")(check_class_name)

    @model_validator(mode="after")
    def _show_something(self) -> Self:
        if self.image is None and self.strokes is None:
            raise ValueError("image: give an image, or strokes")
        try:
            base64.b64decode(self.image or "", validate=True)
        except ValueError:
            raise ValueError(
                "image: not base64; of a data: URL, give what follows the comma"
            ) from None
        return self


class Corrections:
    """The corrections on disk, with their labels in memory."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, correction: Correction, max_pixels: int) -> CorrectionAnswer:
        """Keep `correction`, with what a network reads of its strokes or, without any, its image.

        Raises:
            ConfigError, ImageError: the image is damaged, too large, or without ink.
            StorageError: it cannot be written.
        """
        if correction.strokes is not None:
            image = preprocess_drawing(correction.strokes, DEFAULT_INK)
        else:
            image = preprocess(open_image(base64.b64decode(correction.image or ""), max_pixels))
        if image.is_blank:
            raise ConfigError("image: there is no ink in it")
        strokes = correction.strokes.to_dict() if correction.strokes else None
        name = collected.add(Collected(
            label=correction.label, created=now(), image=correction.image, strokes=strokes,
            input_image=base64.b64encode(png(image.pixels)).decode(), answer=correction.answer,
        ))  # fmt: skip
        # Counted, not read: a damaged file of another correction must not keep this one out.
        return CorrectionAnswer(id=name, label=correction.label, images=len(collected.names()))

    def remove(self, name: str) -> None:
        """Delete the correction `name`; ApiError 404 where there is none."""
        if not collected.remove(name):
            raise ApiError(404, "unknown_correction", f'there is no correction "{name[:100]}"')

    def facts(self, limit: int = 0, before: str | None = None) -> CorrectionsAnswer:
        """Return the number of corrections, in all and by label, where they are, and the newest.

        Of those, `limit` that are older than the correction `before`.
        """
        with self._lock:
            labels = self._labels = collected.labels(self._labels)
        by_label = dict(sorted(Counter(labels.values()).items()))
        older = [name for name in labels if before is None or name < before]
        newest = collected.read(older[len(older) - min(limit, len(older)) :])
        facts = [
            CorrectionFacts(
                id=name, label=image.label, created=image.created, split=collected.split_of(name),
                input_image=f"data:image/png;base64,{image.input_image}",
                answer=image.answer.to_dict() if image.answer else None,
            )
            for name, image in reversed(newest.items())
        ]  # fmt: skip
        return CorrectionsAnswer(
            images=len(labels), by_label=by_label, path=str(collected.folder()), corrections=facts
        )
