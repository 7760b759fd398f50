"""External evaluation of a line reader: how a model file reads labelled lines from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from penstroke.data.sources.contents import LeftOut
from penstroke.data.sources.listing import LabelledImage
from penstroke.errors import DataError, ImageError
from penstroke.evaluation.external import save_evaluation
from penstroke.evaluation.line_metrics import LineMetrics, LinePredictions
from penstroke.inference.line_reader import LineReader
from penstroke.inference.readings import LineReading

_BATCH = 50


@dataclass(frozen=True)
class ExternalLineEvaluation:
    """The results on one source of lines; `metrics` are of the likeliest texts, rejected or not."""

    source: str
    metrics: LineMetrics
    answered: int  # lines that were not rejected
    answered_right: int
    unknown_characters: str  # in the texts, but not in the model's alphabet
    left_out: tuple[LeftOut, ...] = ()  # images without a text, files of other kinds

    @property
    def precision(self) -> float | None:
        """The share of the answers that are right; None without any."""
        return self.answered_right / self.answered if self.answered else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        left_out = [file._asdict() for file in self.left_out]
        return asdict(self) | {"precision": self.precision, "left_out": left_out}

    def save(self, folder: Path) -> None:
        """Write to a JSON file in `folder`, named after the source."""
        save_evaluation(self, self.source, folder)


def evaluate_external_lines(
    reader: LineReader,
    samples: Iterable[LabelledImage],
    source: str,
    *,
    left_out: Iterable[LeftOut] = (),
    progress: Callable[[int], None] = lambda count: None,
) -> ExternalLineEvaluation:
    """Return how `reader` reads `samples`, images of one line each, their labels the texts.

    What the source has `left_out` is passed on. `progress` is called with the number of lines read
    since the last call.

    Raises:
        ImageError: a file is not an image; names it.
        DataError: there are no lines.
    """
    lines: list[LabelledImage] = []
    readings: list[LineReading] = []
    remaining = iter(samples)
    while batch := list(islice(remaining, _BATCH)):
        readings += _read(reader, batch)
        lines += batch
        progress(len(batch))
    if not lines:
        raise DataError(f"{source} holds no lines with their texts")
    writers = np.array([line.writer for line in lines])
    predictions = LinePredictions(
        tuple(line.label for line in lines),
        tuple(reading.text for reading in readings),
        np.array([reading.probability for reading in readings], float),
        tuple(() for _ in lines),
        writers if (writers != "").any() else None,
    )
    is_answered = np.array([reading.status == "ok" for reading in readings])
    unknown = set("".join(predictions.texts)) - set(reader.alphabet)
    return ExternalLineEvaluation(
        source=source,
        metrics=predictions.metrics,
        answered=int(is_answered.sum()),
        answered_right=int(predictions.is_right[is_answered].sum()),
        unknown_characters="".join(sorted(unknown)),
        left_out=tuple(left_out),
    )


def _read(reader: LineReader, lines: Iterable[LabelledImage]) -> Iterator[LineReading]:
    for line in lines:
        try:
            yield reader.read(line.content)
        except ImageError as error:
            raise ImageError(f"{line.name}: {error}") from None
