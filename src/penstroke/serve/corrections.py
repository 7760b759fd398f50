"""Corrections from the page: checked, brought through ink, and kept in the data set `collected`."""

from __future__ import annotations

import base64
import threading
from collections import Counter
from typing import Any, Self

from pydantic import Field, model_validator

from penstroke.config.settings import Settings
from penstroke.data import collected
from penstroke.data.collected import Answer, Collected, check_label
from penstroke.errors import ConfigError
from penstroke.preprocessing.ink import DEFAULT_INK, Preprocessed, preprocess
from penstroke.runs.record import now
from penstroke.serve.png import png
from penstroke.serve.responses import ApiError
from penstroke.serve.strokes import Drawing, read_drawing
from penstroke.serve.uploads import open_image, parse_json


class Correction(Settings):
    """An image and what a person says it shows."""

    label: str = Field(
        min_length=1,
        max_length=32,
        description="1 to 32 printable characters; any class, old or new",
    )
    image: str | None = Field(None, description="the image: a PNG in base64")
    strokes: Drawing | None = Field(None, description="or the strokes that it was drawn with")
    answer: Answer | None = Field(None, description="what a model said of it")

    @model_validator(mode="after")
    def _be_printable(self) -> Self:
        check_label(self.label)
        return self

    @model_validator(mode="after")
    def _show_something(self) -> Self:
        if self.image is None and self.strokes is None:
            raise ValueError("image: give it, or strokes")
        try:
            base64.b64decode(self.image or "", validate=True)
        except ValueError:
            raise ValueError(
                "image: no base64; of a data: URL, give what follows the comma"
            ) from None
        return self

    def preprocessed(self, max_pixels: int) -> Preprocessed:
        """Return what a network reads: of the strokes where there are any, else of the image."""
        if self.strokes is not None:
            return read_drawing(self.strokes, DEFAULT_INK)
        content = base64.b64decode(self.image or "")
        return preprocess(open_image(content, max_pixels), DEFAULT_INK)


class Collection:
    """The collection on disk, with the labels of its images kept in mind."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, content: bytes, max_pixels: int) -> dict[str, Any]:
        """Keep the correction in the JSON `content`; return its id, label and how many there are.

        Raises:
            ApiError, ConfigError, ImageError: it is no correction, or shows no ink.
            StorageError: it cannot be written.
        """
        correction = Correction.parse(parse_json(content))
        preprocessed = correction.preprocessed(max_pixels)
        if preprocessed.is_blank:
            raise ConfigError("image: there is no ink in it")
        strokes = correction.strokes.to_dict() if correction.strokes else None
        kept = Collected(
            label=correction.label, created=now(), image=correction.image, strokes=strokes,
            input_image=collected.encoded(png(preprocessed.pixels)), answer=correction.answer,
        )  # fmt: skip
        name = collected.add(kept)
        # Counted, not read: of another file that is damaged, this one is kept none the less.
        return {"id": name, "label": kept.label, "images": len(collected.names())}

    def remove(self, name: str) -> None:
        """Delete the image `name`; ApiError 404 where there is none."""
        if not collected.remove(name):
            raise ApiError(404, "unknown_image", f'there is no collected image "{name[:100]}"')

    def facts(self) -> dict[str, Any]:
        """Return how many images there are, of each label, and where."""
        labels = self._refreshed()
        by_label = dict(sorted(Counter(labels.values()).items()))
        return {"images": len(labels), "by_label": by_label, "path": str(collected.folder())}

    def _refreshed(self) -> dict[str, str]:
        with self._lock:
            self._labels = collected.labels(self._labels)
            return self._labels
