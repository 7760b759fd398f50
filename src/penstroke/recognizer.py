"""A trained model as a function from picture to character and probabilities. No torch."""

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
from penstroke.ink import Glyph, InkSettings, Picture, Pixels, read_glyph

MODEL_FORMAT_VERSION = 1
"""Of the metadata inside model.onnx."""

Status = Literal["ok", "unsure", "empty"]


@dataclass(frozen=True, eq=False)
class Recognition:
    """The answer to one picture.

    Attributes:
        label: the likeliest class; None where there is no ink, or no certainty.
        probability: of that class; 0 where there is no label.
        probabilities: by class; empty where there is no ink.
        seen: (28, 28) uint8, what the network read.
        status: `ok`, `unsure` or `empty`.
    """

    label: str | None
    probability: float
    probabilities: Mapping[str, float]
    seen: Pixels
    status: Status

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` likeliest classes with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]


def model_metadata(
    classes: Sequence[str], ink: InkSettings, temperature: float = 1.0, **facts: Any
) -> dict[str, Any]:
    """Return what a model file must carry to be recognised with; `facts` are for people."""
    return {
        "penstroke_format": MODEL_FORMAT_VERSION,
        "classes": list(classes),
        "ink": ink.to_dict(),
        "temperature": temperature,
        **facts,
    }


class Recognizer:
    """Reads characters with a model.onnx that Penstroke wrote."""

    def __init__(self, session: Any, metadata: Mapping[str, Any]) -> None:
        self._session = session
        self.metadata = metadata
        self.classes: tuple[str, ...] = tuple(metadata["classes"])
        self.ink = InkSettings.parse(metadata["ink"], source="model")
        self.temperature = float(metadata["temperature"])

    @classmethod
    def load(cls, path: str | Path) -> Recognizer:
        """Open `path`: a model.onnx, or a run directory that holds one.

        Raises:
            ModelFileError: it is missing, damaged, not Penstroke's, or of a newer version.
        """
        path = Path(path)
        path = path / "model.onnx" if path.is_dir() else path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"cannot read the model {path}: {reason(error)}") from error
        return cls.from_bytes(content, str(path))

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
            return self._read([read_glyph(one, self.ink) for one in picture])
        return self._read([read_glyph(picture, self.ink)])[0]

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the softmax (B, K) of images (B, 28, 28) uint8 that are ready to be read."""
        (logits,) = self._session.run(["logits"], {"images": np.ascontiguousarray(images)})
        scaled = logits / self.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    def _read(self, glyphs: Sequence[Glyph]) -> list[Recognition]:
        if not glyphs:
            return []
        rows = self.probabilities(np.stack([glyph.pixels for glyph in glyphs]))
        return [self._answer(glyph, row) for glyph, row in zip(glyphs, rows, strict=True)]

    def _answer(self, glyph: Glyph, row: npt.NDArray[np.float32]) -> Recognition:
        if glyph.is_blank:
            return Recognition(None, 0.0, {}, glyph.pixels, "empty")
        best = int(row.argmax())
        by_class = dict(zip(self.classes, map(float, row), strict=True))
        return Recognition(self.classes[best], float(row[best]), by_class, glyph.pixels, "ok")


def _open_session(content: bytes, path: str) -> Any:
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
        assert float(metadata["temperature"]) > 0
        assert len(metadata["classes"]) == session.get_outputs()[0].shape[1]
    except (ValueError, KeyError, TypeError, IndexError, AssertionError, ConfigError) as error:
        raise ModelFileError(f"{path}: the metadata of the model is damaged: {error}") from error
    return metadata
