"""The fields of a registered page, each read by what it is and what it may say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from penstroke.errors import ConfigError
from penstroke.forms.answers import FieldAnswer, FieldStatus
from penstroke.forms.boxed_text import BoxedText, BoxReading, Texts, in_range, limited
from penstroke.forms.cells import Cell, cut
from penstroke.forms.description import COMBS, MARKS, Area, Form, FormField
from penstroke.forms.ink_amounts import coverage, empty_probability, ink_depth, marks, signature
from penstroke.forms.page_images import Grey, page_image
from penstroke.forms.precision import Promise, kind_of
from penstroke.forms.registration import PIXELS_PER_MM, RegisteredPage, whitened
from penstroke.inference.character_lines import read_page
from penstroke.inference.constraints import Format, compiled
from penstroke.inference.line_reader import LineReader
from penstroke.inference.model_file import model_content
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.ink import preprocess

_MODELS = {"digits": "digits", "date": "digits", "letters": "letters", "characters": "characters",
           "text": "characters"}  # fmt: skip
"""The bundled model that recognises the characters of a field, by its type."""
_ALTERNATIVES = 3
_ANY_NUMBER = Format(r"-?\d+([.,]\d+)?")
_NOTHING = 0.01
"""Probability below which nothing that a field admits is written there."""
_LINE = 4.0
"""Times that a line is longer than what may stand in it alone."""
_EMPTY = 0.999
"""Probability from which a box is not looked at."""
_STRANGE = 0.5
"""Weight of what the network says of a shape that it does not know."""


class _Written(NamedTuple):
    """What one field may say, and for each of its boxes a character, and its probability."""

    texts: Texts
    characters: Sequence[tuple[str, float]] = ()


class FieldReader:
    """Reads the fields of registered pages of one form.

    ConfigError: names the field that no model can read as it is constrained.
    """

    def __init__(self, form: Form, promise: Promise | None = None) -> None:
        self._form = form
        self._promise = promise or Promise()
        self._boxed: dict[str, BoxedText] = {}
        self._blank_shares: dict[str, list[float]] = {}
        for field in form.fields:
            try:
                self._prepare(field)
            except ConfigError as error:
                raise ConfigError(f"field {field.name}: {error}") from error

    def _prepare(self, field: FormField) -> None:
        if field.type in _MODELS:
            classes = _recognizer(_MODELS[field.type]).classes
            self._boxed[field.name] = BoxedText(field, classes)
        elif field.type == "number" and field.constraint is not None:
            compiled(field.constraint, _line_reader().alphabet)

    def read(self, page: RegisteredPage) -> dict[str, FieldAnswer]:
        """Return what each field of `page` says, by its name."""
        fields = self._form.on_page(page.form_page)
        cells = {field.name: cut(page.image, field.boxes) for field in fields}
        depth = ink_depth(cell for of_field in cells.values() for cell in of_field)
        readings = self._box_readings(fields, cells, depth)
        answers = {}
        for field in fields:
            if field.type in (*COMBS, "date"):
                written = self._of_boxes(field, readings[field.name])
            elif field.type in MARKS:
                written = _of_marks(field, cells[field.name], self._printed(field))
            elif field.type == "signature":
                written = _Written(signature(coverage(cells[field.name][0], field.boxes[0], depth)))
            else:
                written = self._of_line(field, cells[field.name][0], depth)
            answers[field.name] = self._answer(field, written)
        return answers

    def _box_readings(
        self, fields: Sequence[FormField], cells: Mapping[str, Sequence[Cell]], depth: float
    ) -> dict[str, list[BoxReading]]:
        """Return that of each box of characters: all of a page go through a network at once."""
        found: dict[str, list[BoxReading]] = {}
        for model in ("digits", "letters", "characters"):
            alike = [
                field for field in fields
                if field.type in (*COMBS, "date") and _MODELS[field.type] == model
            ]  # fmt: skip
            boxes = [
                (cell.image, empty_probability(coverage(cell, box, depth)))
                for field in alike
                for cell, box in zip(cells[field.name], field.boxes, strict=True)
            ]
            if boxes:
                readings = iter(_recognized(_recognizer(model), boxes))
                for field in alike:
                    found[field.name] = [next(readings) for _ in field.boxes]
        return found

    def _of_boxes(self, field: FormField, boxes: Sequence[BoxReading]) -> _Written:
        boxed = self._boxed[field.name]
        texts, characters = boxed.read(boxes)
        return _Written(texts, [
            (character, boxed.probability(box, character))
            for box, character in zip(boxes, characters, strict=True)
        ])  # fmt: skip

    def _of_line(self, field: FormField, cell: Cell, depth: float) -> _Written:
        empty = empty_probability(_LINE * coverage(cell, field.boxes[0], depth))
        if empty > 0.5:
            return _Written([("", empty)])
        if field.type == "text":
            return _Written(self._text(field, cell.image))
        constraint = field.constraint
        if constraint is None and not (field.least is field.greatest is None):
            constraint = _ANY_NUMBER
        reading = _line_reader().read(cell.image, constraint, count=8)
        texts = [(reading.text, reading.probability)] if reading.text else []
        texts += [(one.text, one.probability) for one in reading.alternatives]
        return _Written(limited(texts, lambda text: in_range(field, text)))

    def _printed(self, field: FormField) -> list[float]:
        """Return how much of each box of `field` is ink on the blank form."""
        if self._form.blank is None:
            return [0.0] * len(field.boxes)
        if field.name not in self._blank_shares:
            size = [round(PIXELS_PER_MM * side) for side in self._form.size_mm]
            blank = cv2.resize(page_image(Path(self._form.blank), field.page), size)
            page = whitened(np.asarray(blank, np.uint8))
            shares = [cell.ink_share for cell in cut(page, field.boxes)]
            self._blank_shares[field.name] = shares
        return self._blank_shares[field.name]

    def _text(self, field: FormField, crop: Grey) -> Texts:
        """Return what a line of characters that stand apart says."""
        recognizer = _recognizer(_MODELS["text"])
        page = read_page(recognizer, crop)
        line = max(page.lines, key=lambda one: len(one.characters), default=None)
        if line is None:
            return []
        boxed = self._boxed[field.name]
        boxes: list[BoxReading] = []
        for one in line.characters:
            shares = np.array([one.probabilities[name] for name in recognizer.classes])
            if one.space_before and boxes:
                boxes.append(BoxReading(1.0, shares))
            boxes.append(BoxReading(1 - one.probability, shares))
        return boxed.read(boxes)[0]

    def _answer(self, field: FormField, written: _Written) -> FieldAnswer:
        places = [_pixels(box) for box in field.boxes]
        lefts, tops, rights, bottoms = zip(*places, strict=True)
        box = min(lefts), min(tops), max(rights), max(bottoms)
        value, probability = written.texts[0] if written.texts else ("", 0.0)
        if not written.texts:
            value = "".join(character for character, _ in written.characters)
        status: FieldStatus = "doubtful"
        kind = kind_of(field)
        calibrated = self._promise.calibrated(kind, probability)
        if probability < _NOTHING:
            status = "rejected"
        elif self._promise.accepts(kind, calibrated):
            status = "accepted" if value else "empty"
        return FieldAnswer(
            field.name, value, calibrated, status, box,
            tuple(written.texts[1 : 1 + _ALTERNATIVES]),
            tuple((character, p, place) for (character, p), place
                  in zip(written.characters, places, strict=False)),
        )  # fmt: skip


@cache
def _recognizer(name: str) -> Recognizer:
    with model_content(name) as (content, title):
        return Recognizer.from_bytes(content, title, threads=1)


@cache
def _line_reader() -> LineReader:
    with model_content("numbers") as (content, title):
        return LineReader.from_bytes(content, title, threads=1)


def _recognized(
    recognizer: Recognizer, boxes: Sequence[tuple[Grey, float]]
) -> Iterator[BoxReading]:
    """Yield what each of the boxes may hold: its image, and the probability that it is empty."""
    nothing = np.full(len(recognizer.classes), 1 / len(recognizer.classes))
    written = [number for number, (_, empty) in enumerate(boxes) if empty < _EMPTY]
    images = [preprocess(boxes[number][0], recognizer.ink) for number in written]
    answers = dict(zip(written, recognizer.recognize_preprocessed(images), strict=True))
    for number, (_, empty) in enumerate(boxes):
        answer = answers.get(number)
        if answer is None or not answer.probabilities:
            yield BoxReading(empty, nothing, is_known=False)
            continue
        shares = np.array(list(answer.probabilities.values()))
        is_known = answer.rejection_reason in (None, "ambiguous")
        if not is_known:
            shares = _STRANGE * shares + (1 - _STRANGE) * nothing
        yield BoxReading(empty, shares, is_known)


def _of_marks(field: FormField, cells: Sequence[Cell], printed: Sequence[float]) -> _Written:
    above = {
        option: cell.ink_share - share
        for option, cell, share in zip(field.options, cells, printed, strict=True)
    }
    texts, each = marks(above, several=field.type == "choices")
    return _Written(texts, [
        (option if p > 0.5 else "", max(p, 1 - p))
        for option, p in zip(field.options, each, strict=True)
    ])  # fmt: skip


def _pixels(box: Area) -> tuple[int, int, int, int]:
    left, top, right, bottom = (
        round(PIXELS_PER_MM * side) for side in (box.left, box.top, box.right, box.bottom)
    )
    return left, top, right, bottom
