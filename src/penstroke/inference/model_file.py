"""What recognisers of characters and readers of lines share: their file, and what they reject."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from penstroke.config.settings import Settings
from penstroke.errors import ConfigError, ModelFileError, ModelKindError, PenstrokeError
from penstroke.files import explained
from penstroke.inference.bundled import bundled_run, reinstall_hint
from penstroke.inference.onnx_session import open_session

MODEL_FORMAT_VERSION = 1
"""Of the metadata inside model.onnx."""
CONFIDENCE_THRESHOLD = 0.5
"""With a calibrated probability below it, an answer is more likely wrong than right."""
LINES = "lines"
"""`kind` of a model that reads whole lines; one of characters names no kind."""
_KINDS = {
    None: "reads one character at a time: give it to `penstroke predict` or penstroke.Recognizer; "
    "`penstroke train numbers` trains a reader of lines",
    LINES: "reads whole lines: give it to `penstroke read` or penstroke.LineReader; "
    "`penstroke train` trains a recogniser of characters",
}

Floats = npt.NDArray[np.float32]


class OperatingPoint(Settings):
    """A confidence threshold, and what of the answers above it was shown on held-out images."""

    precision: float = Field(gt=0, lt=1, description="least share of answers that are right")
    confidence_threshold: float = Field(ge=0, le=1, description="least probability of a label")
    answered: float = Field(ge=0, le=1, description="share of the images of known characters")


class ModelFile(ABC):
    """A model.onnx that Penstroke wrote, open. Needs no torch.

    Attributes:
        metadata: everything that the model file says about itself.
        confidence_threshold: least probability of an answer.
        operating_points: confidence thresholds, and the precision that was shown with each.
    """

    kind: ClassVar[str | None] = None
    _input: ClassVar[str]
    _output: ClassVar[str]
    confidence_threshold: float
    operating_points: tuple[OperatingPoint, ...]

    def __init__(self, session: Any, metadata: Mapping[str, Any]) -> None:
        self._session = session
        self.metadata = metadata

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        confidence_threshold: float | None = None,
        precision: float | None = None,
    ) -> Self:
        """Open a bundled model by its name, a model.onnx, or the run directory that holds one.

        `confidence_threshold`: least probability of an answer; the model's own (0.5) unless given.
        `precision`: least share of answers that are right, as it was shown on held-out images; sets
        the confidence threshold to that of an operating point.

        Raises:
            ConfigError: both are given, or the precision was not shown.
            ModelFileError: the file is missing, damaged, not Penstroke's, of another kind, or of a
                newer version; or it reaches outside itself, for other files or foreign operators;
                its checksum is wrong; or its output is not finite.
        """
        with model_content(path) as (content, name):
            model = cls.from_bytes(content, name)
        model.set_threshold(confidence_threshold, precision)
        return model

    @classmethod
    def from_bytes(
        cls, content: bytes, name: str = "the model", *, threads: int | None = None
    ) -> Self:
        """Open the bytes of a model.onnx, called `name` in messages. Raises as `load` does.

        `threads` limits those of ONNX Runtime, which uses every core unless given.
        """
        session = open_session(content, name, threads)
        return cls.of_session(session, read_metadata(session, name), name)

    @classmethod
    def of_session(cls, session: Any, metadata: Mapping[str, Any], name: str) -> Self:
        """Return the model of an open `session`, checked. Raises as `load` does."""
        if metadata.get("kind") != cls.kind:
            raise ModelKindError(f"{name} {_KINDS[metadata.get('kind')]}")
        try:
            model = cls(session, metadata)
            model._check_graph()
        except (ValueError, TypeError, IndexError, RecursionError, ConfigError) as error:
            raise _damaged(name, error) from error
        try:
            model._probe()
        except ModelFileError as error:
            raise ModelFileError(f"{name} cannot be used: {error}") from error
        return model

    def _check_graph(self) -> None:
        """Raise ValueError where input and output are not what the metadata say."""
        (given,), (result,) = self._session.get_inputs(), self._session.get_outputs()
        sides = [(one.name, one.type) for one in (given, result)]
        if sides != [(self._input, "tensor(uint8)"), (self._output, "tensor(float)")]:
            raise ValueError(
                f"the graph does not turn {self._input} of uint8 into {self._output} of float"
            )
        if result.shape[-1] != self._columns:
            raise ValueError(
                f"it names {self._columns} classes for {result.shape[-1]} {self._output}"
            )

    @property
    @abstractmethod
    def _columns(self) -> int:
        """Of the output."""

    @abstractmethod
    def _probe(self) -> None:
        """Answer something; ModelFileError where that fails."""

    def _run(self, batch: npt.NDArray[np.uint8]) -> Floats:
        """Return the output for a batch of the input; ModelFileError where the model fails."""
        try:
            result: Floats = self._session.run(
                [self._output], {self._input: np.ascontiguousarray(batch)}
            )[0]
        except PenstrokeError:  # a worker's deadline
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no other base in common
            raise ModelFileError(f"the model cannot be run: {error}") from error
        return result

    def set_threshold(
        self, confidence_threshold: float | None = None, precision: float | None = None
    ) -> None:
        """Set the least probability of an answer, by itself or by a precision, as in `load`.

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


@contextlib.contextmanager
def model_content(path: str | Path) -> Iterator[tuple[bytes, str]]:
    """Yield the bytes and the name of the model file that `path` stands for, as `load` has it.

    An error in the block says how to restore it, if it is a bundled one.
    """
    path = bundled_run(path) or Path(path)
    path = path / "model.onnx" if path.is_dir() else path
    with reinstall_hint(path):
        with explained(f"read the model {path}", ModelFileError):
            content = path.read_bytes()
        yield content, str(path)


def finite(values: Floats, what: str) -> Floats:
    """Return `values`; ModelFileError where one is not finite."""
    if not np.isfinite(values).all():
        raise ModelFileError(
            f"the model gives {what} that are not finite (nan, infinity): train or export it again"
        )
    return values


def read_metadata(session: Any, name: str) -> dict[str, Any]:
    """Return the metadata of the model called `name`; ModelFileError where they cannot be used."""
    raw = session.get_modelmeta().custom_metadata_map
    if "penstroke_format" not in raw:
        raise ModelFileError(f"{name} is an ONNX model, but not one that Penstroke wrote")
    try:
        metadata = {key: json.loads(value) for key, value in raw.items()}
        version, kind = int(metadata["penstroke_format"]), metadata.get("kind")
        is_known = version <= MODEL_FORMAT_VERSION and kind in _KINDS
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(name, error) from error
    if not is_known:
        what = f"format {version}" if kind in _KINDS else f"kind {kind}"
        raise ModelFileError(
            f"{name} was written by a newer Penstroke ({what}; this one reads formats up to "
            f"{MODEL_FORMAT_VERSION}): upgrade with pip install -U penstroke"
        )
    return metadata


def _damaged(name: str, error: Exception) -> ModelFileError:
    return ModelFileError(f"{name}: the metadata of the model is damaged: {error}")
