"""Characters in boxes, read jointly: what each box may hold, and what the field may say."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from penstroke.config.class_names import as_text
from penstroke.errors import ConfigError
from penstroke.forms.description import FormField
from penstroke.inference.constraints import Constraint, Format, compiled
from penstroke.inference.line_decoding import align, likeliest

Floats = npt.NDArray[np.float64]
Texts = list[tuple[str, float]]
"""What a field may say, with probabilities, likeliest first."""

_DATE = Format(r"(0[1-9]|[12]\d|3[01])(0[1-9]|1[0-2])(1[89]|20)\d\d")
_SIGNS = "-/"
"""That a format may ask for, and no model reads."""
_SIGN, _UNKNOWN_SIGN = 0.01, 0.3
"""Probability of a sign in a box that looks like a character, and in one that does not."""
_LEAST = 1e-6
"""Probability of whatever a network calls impossible."""
_DOUBT = 0.95
_MOST_TEXTS = 12


@dataclass(frozen=True, eq=False)
class BoxReading:
    """What one box may hold: the probability that it is empty, and of each class (K,) if not."""

    empty: float
    probabilities: Floats
    is_known: bool = True


class BoxedText:
    """How the boxes of one field are read, with a model of these classes.

    Letters are capitals: in a box of its own, a c may be either. Of the values of a list, case,
    accents and spaces are not looked for.

    ConfigError: the field admits nothing that the model can write.
    """

    def __init__(self, field: FormField, classes: Sequence[str]) -> None:
        self.field = field
        self._keys: dict[str, str] = {}
        for value in field.values:
            if (other := self._keys.setdefault(_key(value), value)) != value:
                raise ConfigError(f"values: {other!r} and {value!r} read alike in boxes")
        own = [as_text(name).upper() for name in classes]
        read = dict.fromkeys(own)
        signs = {*"".join(self._keys), *(set(field.format or "") & set(_SIGNS))} - {*read}
        self.signs = "".join(sorted(signs))
        self.alphabet = "".join(read) + self.signs
        self._columns = np.array([self.alphabet.index(name) for name in own])
        self._constraint = self._constraint_of_keys()
        if self._constraint is not None:
            compiled(self._constraint, self.alphabet)

    def _constraint_of_keys(self) -> Constraint | None:
        if self.field.type == "date":
            return _DATE
        changes = {"values": tuple(self._keys)}
        return self.field.model_copy(update=changes).constraint

    def read(self, boxes: Sequence[BoxReading]) -> tuple[Texts, list[str]]:
        """Return what the field may say, and the character in each box of the likeliest text.

        No text: nothing that the field admits is written there.
        """
        columns = self._log_probabilities(boxes)
        empty = float(np.prod([box.empty for box in boxes]))
        if empty > 0.5:
            return [("", empty)], [""] * len(boxes)
        if self._constraint is None:
            texts, characters = self._independent(columns[::2])
        else:
            texts, characters = self._joint(columns)
        within = limited(texts, self.admits)
        if not within:
            return [], self._independent(columns[::2])[1]
        if within[0][0] != texts[0][0]:
            characters = self._placed(columns, within[0][0])
        named = [(self.value(text), p * (1 - empty)) for text, p in within]
        return [*named, *([("", empty)] if empty > 0.001 else [])], characters

    def admits(self, text: str) -> bool:
        """Return whether the field admits `text`, besides what decoding sees to."""
        if self.field.type == "date":
            return _iso(text) is not None
        return in_range(self.field, text)

    def value(self, text: str) -> str:
        """Return `text` as it is written into the table."""
        if self.field.type == "date":
            return _iso(text) or text
        return self._keys.get(text, text)

    def probability(self, box: BoxReading, character: str) -> float:
        """Return the probability that `character`, or nothing, is written in `box`."""
        column = self._log_probabilities([box])[0]
        return float(np.exp(column[self.alphabet.index(character) + 1 if character else 0]))

    def _log_probabilities(self, boxes: Sequence[BoxReading]) -> Floats:
        """Return (2k, 1 + A): each box, and a blank, that separates equal characters."""
        columns = np.full((2 * len(boxes), 1 + len(self.alphabet)), -np.inf)
        columns[1::2, 0] = 0.0
        for row, box in zip(columns[::2], boxes, strict=True):
            counted = np.bincount(self._columns, box.probabilities, len(self.alphabet))
            shares: Floats = np.maximum(counted.astype(np.float64), _LEAST)
            if self.signs:
                sign = _SIGN if box.is_known else _UNKNOWN_SIGN
                shares = shares * (1 - sign)
                shares[-len(self.signs) :] = sign / len(self.signs)
            shares *= (1 - box.empty) / shares.sum()
            row[:] = np.log(np.maximum([box.empty, *shares], _LEAST**2))
        return columns

    def _independent(self, columns: Floats) -> tuple[Texts, list[str]]:
        """Return texts of boxes (k, 1 + A) that say nothing of each other."""
        names = ["", *self.alphabet]
        ranks = np.argsort(-columns, axis=1, kind="stable")
        best = [names[k] for k in ranks[:, 0]]
        each = np.arange(len(columns))
        probability = float(np.exp(columns[each, ranks[:, 0]].sum()))
        lost = columns[each, ranks[:, 1]] - columns[each, ranks[:, 0]]
        texts = [(self._joined(best), probability)]
        for number in np.argsort(-lost, kind="stable")[:_MOST_TEXTS]:
            other = [*best]
            other[number] = names[ranks[number, 1]]
            texts.append((self._joined(other), probability * float(np.exp(lost[number]))))
        return texts, best

    def _joined(self, characters: Sequence[str]) -> str:
        """Return the text of boxes: an empty one between letters is a space."""
        if self.field.type == "digits":
            return "".join(characters)
        return " ".join("".join(one or " " for one in characters).split())

    def _joint(self, columns: Floats) -> tuple[Texts, list[str]]:
        texts = likeliest(columns, self.alphabet, self._constraint)
        if texts and (texts[0][1] < _DOUBT or not self.admits(texts[0][0])):
            texts = likeliest(columns, self.alphabet, self._constraint, _MOST_TEXTS)
        return texts, self._placed(columns, texts[0][0]) if texts else []

    def _placed(self, columns: Floats, text: str) -> list[str]:
        """Return the character in each box, where `text` is written in them."""
        characters = [""] * (len(columns) // 2)
        text = text.replace(" ", "")
        for character, span in zip(text, align(columns, text, self.alphabet), strict=True):
            characters[span.peak // 2] = character
        return characters


def limited(texts: Texts, admits: Callable[[str], bool]) -> Texts:
    """Return those of `texts` that are admitted, with probabilities given that one of them is."""
    outside = sum(p for text, p in texts if not admits(text))
    inside = [(text, p) for text, p in texts if admits(text)]
    likely = sum(p for _, p in inside)
    if not outside or likely < 0.01:
        return inside if likely >= 0.01 or not outside else []
    return [(text, p / (1 - outside)) for text, p in inside]


def in_range(field: FormField, text: str) -> bool:
    """Return whether the number that `text` is lies in the range of `field`."""
    if field.least is None and field.greatest is None:
        return True
    number = number_of(text)
    if number is None:
        return False
    return (field.least is None or number >= field.least) and (
        field.greatest is None or number <= field.greatest
    )


def number_of(text: str) -> float | None:
    """Return the number that `text` is, of which the last sign may be a decimal one."""
    digits = text.strip("$€£% ").replace(",", ".")
    whole, point, fraction = digits.rpartition(".")
    try:
        return float(whole.replace(".", "") + point + fraction)
    except ValueError:
        return None


def _iso(text: str) -> str | None:
    """Return the date DDMMYYYY as YYYY-MM-DD; None if there is no such day."""
    try:
        return date(int(text[4:]), int(text[2:4]), int(text[:2])).isoformat()
    except ValueError:
        return None


def _key(text: str) -> str:
    """Return `text` as it stands in boxes: in capitals, without spaces and accents."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(
        one for one in parts if not (unicodedata.combining(one) or one.isspace())
    ).upper()
