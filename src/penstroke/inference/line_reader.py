"""A trained reader of lines as a function from an image to its text. No torch.

A line becomes a strip, the strip goes through the network, whole, and the likeliest text of its
columns is the answer: connectionist temporal classification (Graves et al. 2006). Nothing is cut
into characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
from pydantic import ConfigDict, Field

from penstroke.config.settings import Settings
from penstroke.errors import ImageTooComplexError, ModelFileError
from penstroke.inference.constraints import Constraint
from penstroke.inference.line_decoding import Hypothesis, hypothesis_of, likeliest
from penstroke.inference.model_file import (
    CONFIDENCE_THRESHOLD,
    LINES,
    Floats,
    ModelFile,
    OperatingPoint,
    finite,
    model_content,
    read_metadata,
)
from penstroke.inference.onnx_session import open_session
from penstroke.inference.page_lines import LineImage, cut_out, find_page_lines
from penstroke.inference.readings import (
    Alternative,
    CharacterReading,
    LineReading,
    LineStatus,
    PageReading,
)
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.decoding import MAX_PIXELS, ImageLike, Intensities, as_batch, read_grey
from penstroke.preprocessing.ink import DEFAULT_INK
from penstroke.preprocessing.strips import (
    COLUMN_WIDTH,
    PAPER,
    STRIP_HEIGHT,
    Strip,
    needed_columns,
    stretched,
    strip_of,
)

_WINDOW = 2048  # pixels that go through the network at once; longer strips run in several windows
_OVERLAP = 256  # pixels that two windows share: a column sees less than half of it on either side
_STEP = 32  # widths are padded to multiples of it, so that strips of one width make a batch
_BATCH = 16_384  # pixels of width in a batch: 100 MB
_LONGEST = 400  # heights of a line on a page: what is longer is a ruled line
_MOST_WIDTH = 400_000  # pixels of all strips of an image: 60 lines of a page have 100,000
_WIDTHS = (0.8, 1.2)  # of its own, at which a doubtful line is read again
_SURE = 0.9  # probability of a line that is not doubtful
_WEIGHED = 4  # texts of each of these readings
_INK = 38  # levels above paper from which a pixel of a strip is ink, for boxes: one deviation
_SPACE = 1.5  # heights of a line: on a page, a wider gap is a space for models that read none
_TALL, _LOW = 0.5, 0.25  # of an image's height: its line is the image; it is only a part of it
_FEW = 3  # lines that may be one line, found in parts
_SMALL = 96  # pixels of height: so low an image is one line if it reads as one
_LEAST_HEIGHT = 12  # pixels of a character: enough to find a line


class LineReader(ModelFile):
    """Reads lines of writing with a model.onnx that Penstroke wrote. Needs no torch.

    Attributes:
        alphabet: the characters that it reads.
        temperature: what the network's logits were divided by, to calibrate probabilities.
        confidence_threshold: least probability of a whole text.
        operating_points: confidence thresholds, and the precision that was shown with each.
        metadata: everything that the model file says about itself.

    Examples:
        >>> import penstroke
        >>> reader = penstroke.LineReader.load("numbers")  # doctest: +SKIP
        >>> line = reader.read("amount.png")  # doctest: +SKIP
        >>> line.text, line.status  # doctest: +SKIP
        ('1,250.00', 'ok')
    """

    kind = LINES
    _input, _output = "strips", "log_probs"

    def __init__(self, session: Any, metadata: Mapping[str, Any]) -> None:
        super().__init__(session, metadata)
        facts = _Metadata.parse(metadata)
        self.alphabet = facts.alphabet
        self.temperature = facts.temperature
        self.confidence_threshold = facts.confidence_threshold
        self.operating_points = tuple(facts.operating_points)

    @property
    def _columns(self) -> int:
        return 1 + len(self.alphabet)

    def _probe(self) -> None:
        pattern = np.arange(STRIP_HEIGHT * 100, dtype=np.uint32) ** 2 % 256
        self.log_probabilities([pattern.astype(np.uint8).reshape(STRIP_HEIGHT, 100)])

    @overload
    def read(
        self, image: ImageLike, constraint: Constraint | None = None, count: int = 1
    ) -> LineReading: ...
    @overload
    def read(
        self,
        image: list[Any] | tuple[Any, ...],
        constraint: Constraint | None = None,
        count: int = 1,
    ) -> list[LineReading]: ...

    def read(self, image: Any, constraint: Constraint | None = None, count: int = 1) -> Any:
        """Return the one line that fills `image`; for several, read as one batch, a list.

        Images are as in `Recognizer.recognize`. With a `constraint`, the text is one that it
        accepts; `count` texts are weighed, the likeliest is read, and the others are its
        `alternatives`.

        Raises:
            ImageError: it is not an image, or over 500 times as wide as high.
            ImageTooComplexError: they are too many at once.
        """
        several = as_batch(image)
        images = [image] if several is None else several
        greys = [read_grey(one, working_side=MAX_PIXELS) for one in images]
        readings = self._read([LineImage(grey, grey.shape) for grey in greys], constraint, count)
        return readings[0] if several is None else readings

    def read_page(
        self, image: ImageLike, constraint: Constraint | None = None, count: int = 1
    ) -> PageReading:
        """Return what is written in `image`, line by line, each as `read` reads it.

        An image that shows one line, or none that can be found, is read as one. A line that slopes
        is turned level first. Lines without writing are left out.

        Raises:
            ImageError: it is not an image.
            ImageTooComplexError: it holds more than any page of writing does.
        """
        grey = read_grey(image, working_side=MAX_PIXELS)
        readings = self._lines(grey, constraint, count)
        written = tuple(line for line in readings if line.status != "empty")
        return PageReading(written, width=grey.shape[1], height=grey.shape[0])

    def read_line(
        self, image: ImageLike, constraint: Constraint | None = None, count: int = 1
    ) -> PageReading:
        """Return the one line that fills `image`, as a page of it. Raises as `read` does."""
        line = self.read(image, constraint, count)
        left, top, right, bottom = line.box
        written = (line,) if line.status != "empty" else ()
        return PageReading(written, width=right - left, height=bottom - top)

    def _lines(
        self, grey: Intensities, constraint: Constraint | None, count: int
    ) -> list[LineReading]:
        """Return the lines in `grey` (H, W), read as one or as several, whichever reads better."""
        whole: list[LineReading] = []
        if len(grey) <= _SMALL:
            whole = self._read([LineImage(grey, grey.shape)], constraint, count)
            if whole[0].status == "ok":
                return whole
        found, scale = find_page_lines(grey, DEFAULT_INK, _LEAST_HEIGHT)
        tallest = max((line.height for line in found), default=np.inf) * scale.down / len(grey)
        if tallest >= _LOW and len(found) <= _FEW:
            whole = whole or self._read([LineImage(grey, grey.shape)], constraint, count)
            if whole[0].status == "ok" or (tallest >= _TALL and len(found) <= 1):
                return whole
        cut = cut_out(grey, found, scale)
        cut = [one for one in cut if one.grey.shape[1] <= _LONGEST * one.grey.shape[0]]
        lines = self._read(cut, constraint, count, is_page=True)
        return max(whole, lines, key=_certainty) if whole else lines

    def log_probabilities(self, strips: Sequence[Strip]) -> list[Floats]:
        """Return what the network makes of each of `strips` (32, W): (W / 4, 1 + A) float32.

        They are logarithms of the probabilities of the blank and of the characters, in the order of
        the alphabet, for each column of 4 pixels. A strip of more than 2,048 pixels goes through in
        windows that overlap by more than a column sees.

        Raises ModelFileError if the model cannot be run, or its output is not finite.
        """
        widths = [_padded(strip.shape[1]) for strip in strips]
        windows = [
            (number, start, min(start + _WINDOW, width))
            for number, width in enumerate(widths)
            for start in range(0, max(1, width - _OVERLAP), _WINDOW - _OVERLAP)
        ]
        by_width: dict[int, list[tuple[int, int, int]]] = {}
        for window in windows:
            by_width.setdefault(window[2] - window[1], []).append(window)
        results = [np.empty((width // COLUMN_WIDTH, self._columns), np.float32) for width in widths]
        for width, alike in by_width.items():
            most = max(1, _BATCH // width)
            for batch in (alike[at : at + most] for at in range(0, len(alike), most)):
                values = np.full((len(batch), STRIP_HEIGHT, width), PAPER, np.uint8)
                for row, (number, start, end) in zip(values, batch, strict=True):
                    part = strips[number][:, start:end]
                    row[:, : part.shape[1]] = part
                output = self._run(values)
                if output.shape != (len(batch), width // COLUMN_WIDTH, self._columns):
                    raise ModelFileError(f"the model gives log_probs of shape {output.shape}")
                for row, (number, start, end) in zip(output, batch, strict=True):
                    first = (start + _OVERLAP // 2 if start else 0) // COLUMN_WIDTH
                    results[number][first : end // COLUMN_WIDTH] = row[
                        first - start // COLUMN_WIDTH :
                    ]
        return [
            finite(result[: -(-strip.shape[1] // COLUMN_WIDTH)], "log_probs")
            for result, strip in zip(results, strips, strict=True)
        ]

    def _read(
        self,
        lines: Sequence[LineImage],
        constraint: Constraint | None,
        count: int,
        *,
        is_page: bool = False,
    ) -> list[LineReading]:
        total = sum(STRIP_HEIGHT * line.grey.shape[1] // line.grey.shape[0] for line in lines)
        if total > _MOST_WIDTH:
            raise ImageTooComplexError(
                f"the image holds lines of {total:,} pixels at a height of {STRIP_HEIGHT}, and "
                f"{_MOST_WIDTH:,} are read at once: cut it into {-(-total // _MOST_WIDTH)} parts"
            )
        strips = [strip_of(line.grey) for line in lines]
        log_probs = self.log_probabilities(strips)
        decoded = self._decoded(strips, log_probs, constraint, count)
        return [
            self._reading(line, strip, columns, hypotheses, is_page)
            for line, strip, columns, hypotheses in zip(
                lines, strips, log_probs, decoded, strict=True
            )
        ]

    def _decoded(
        self, strips: Sequence[Strip], log_probs: Sequence[Floats], constraint: Constraint | None,
        count: int,
    ) -> list[list[Hypothesis]]:  # fmt: skip
        """Return the likeliest texts of each strip; a doubtful one is read narrower and wider too.

        Their probabilities are then the mean of all readings, as an ensemble's are.
        """
        decoded = [likeliest(one, self.alphabet, constraint, count) for one in log_probs]
        doubtful = [
            number
            for number, found in enumerate(decoded)
            if found and found[0][1] < _SURE and strips[number].shape[1] <= _WINDOW
        ]
        again = [stretched(strips[number], by) for number in doubtful for by in _WIDTHS]
        others = iter(self.log_probabilities(again))
        for number in doubtful:
            outputs = [log_probs[number], *(next(others) for _ in _WIDTHS)]
            means: dict[str, float] = {}
            for one in outputs:
                for text, p in likeliest(one, self.alphabet, constraint, max(count, _WEIGHED)):
                    means[text] = means.get(text, 0.0) + p / len(outputs)
            most = len(log_probs[number])
            possible = [pair for pair in means.items() if needed_columns(pair[0]) <= most]
            decoded[number] = sorted(possible, key=lambda pair: -pair[1])[:count]
        return [
            [hypothesis_of(text, p, columns, self.alphabet) for text, p in found]
            for found, columns in zip(decoded, log_probs, strict=True)
        ]

    def _reading(
        self,
        line: LineImage,
        strip: Strip,
        log_probs: Floats,
        hypotheses: Sequence[Hypothesis],
        is_page: bool,
    ) -> LineReading:
        height, width = line.grey.shape
        place = line.original(0, 0, width, height)
        if float(log_probs[:, 0].sum()) > np.log(0.5):  # there is nothing but paper
            return LineReading((), place, float(np.exp(log_probs[:, 0].sum())), "empty")
        if not hypotheses:
            return LineReading((), place, 0.0, "rejected")
        best, *others = hypotheses
        is_sure = best.probability >= self.confidence_threshold
        status: LineStatus = "ok" if is_sure else "rejected"
        return LineReading(
            tuple(self._characters(line, strip, log_probs, best, is_page)), place,
            best.probability, status if best.text.strip() or not is_sure else "empty",
            tuple(Alternative(one.text, one.probability) for one in others),
        )  # fmt: skip

    def _characters(
        self, line: LineImage, strip: Strip, log_probs: Floats, best: Hypothesis, is_page: bool
    ) -> Iterator[CharacterReading]:
        widest_gap = _SPACE * STRIP_HEIGHT if is_page and " " not in self.alphabet else np.inf
        boxes = _boxes(strip, [COLUMN_WIDTH * (s.first + s.last + 1) / 2 for s in best.spans])
        down, across = np.divide(line.grey.shape, strip.shape)
        end: float = np.inf
        space_before = False
        for character, span, box in zip(best.text, best.spans, boxes, strict=True):
            if character == " ":
                space_before = True
                continue
            shares = np.exp(log_probs[span.peak, 1:])
            shares /= shares.sum()
            yield CharacterReading(
                label=character,
                probability=span.probability,
                probabilities=dict(zip(self.alphabet, shares.tolist(), strict=True)),
                box=line.original(across * box[0], down * box[1], across * box[2], down * box[3]),
                status="ok" if span.probability >= self.confidence_threshold else "rejected",
                split=False,
                space_before=space_before or box[0] - end > widest_gap,
            )
            end, space_before = box[2], False


def open_model(
    content: bytes, name: str = "the model", *, threads: int | None = None
) -> Recognizer | LineReader:
    """Open the bytes of a model.onnx of either kind. Raises as `LineReader.from_bytes` does."""
    session = open_session(content, name, threads)
    metadata = read_metadata(session, name)
    kind = LineReader if metadata.get("kind") == LINES else Recognizer
    return kind.of_session(session, metadata, name)


def load_model(
    path: str | Path, *, confidence_threshold: float | None = None, precision: float | None = None
) -> Recognizer | LineReader:
    """Open a model of either kind, as `LineReader.load` does."""
    with model_content(path) as (content, name):
        model = open_model(content, name)
    model.set_threshold(confidence_threshold, precision)
    return model


def _boxes(strip: Strip, middles: Sequence[float]) -> list[tuple[int, int, int, int]]:
    """Return a box around the ink near each of `middles`, in pixels of the strip.

    It reaches halfway to its neighbours, and no further than a height.
    """
    if not middles:
        return []
    between = [(one + other) / 2 for one, other in pairwise(middles)]
    starts = [middles[0] - STRIP_HEIGHT / 2, *between]
    ends = [*between, middles[-1] + STRIP_HEIGHT / 2]
    boxes = []
    for middle, start, end in zip(middles, starts, ends, strict=True):
        left = max(0, round(max(start, middle - STRIP_HEIGHT / 2)))
        right = min(strip.shape[1], round(min(end, middle + STRIP_HEIGHT / 2)))
        left, right = min(left, strip.shape[1] - 1), max(right, left + 1)
        ink = strip[:, left:right] >= PAPER + _INK
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        if len(rows):
            top, bottom = int(rows[0]), int(rows[-1]) + 1
            left, right = left + int(columns[0]), left + int(columns[-1]) + 1
        else:
            top, bottom = 0, STRIP_HEIGHT
        boxes.append((left, top, right, bottom))
    return boxes


def _padded(width: int) -> int:
    return -(-width // _STEP) * _STEP


def _certainty(lines: Sequence[LineReading]) -> float:
    """Return the mean probability of a character of `lines`, in the geometric sense; 0 of none."""
    written = [line for line in lines if line.characters]
    if not written:
        return 0.0
    total = sum(np.log(max(line.probability or 0.0, 1e-300)) for line in written)
    return float(np.exp(total / sum(len(line.characters) for line in written)))


class _Metadata(Settings):
    """The part of a model file's metadata that reading needs."""

    model_config = ConfigDict(extra="ignore")
    alphabet: str = Field(min_length=1, description="characters that it reads")
    temperature: float = Field(1.0, gt=0, description="what logits were divided by")
    confidence_threshold: float = Field(
        CONFIDENCE_THRESHOLD, ge=0, le=1, description="least probability of a text"
    )
    operating_points: list[OperatingPoint] = Field([], description="thresholds by precision")
