"""What was read of an image: a page of lines of characters, each with its probability and box."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from penstroke.config.class_names import as_text
from penstroke.inference.segments import Box

LineStatus = Literal["ok", "rejected", "empty"]


@dataclass(frozen=True)
class CharacterReading:
    """One character of a line.

    Attributes:
        probability: that it is of the likeliest class, `label`, and one whole character.
        probabilities: by class, if it is one whole character.
        box: around its ink, in pixels of the upright image.
        status: `ok`, or `rejected` where the probability is below 0.8.
        split: whether ink was split to separate it from a neighbour.
        space_before: whether a wide gap separates it from the character before.
    """

    label: str
    probability: float
    probabilities: Mapping[str, float]
    box: Box
    status: Literal["ok", "rejected"]
    split: bool
    space_before: bool

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` likeliest classes with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return vars(self) | {"probabilities": dict(self.probabilities), "box": list(self.box)}


class Alternative(NamedTuple):
    """What a line may say instead."""

    text: str
    probability: float


@dataclass(frozen=True)
class LineReading:
    """A line's characters from left to right.

    Attributes:
        box: where it was read, in pixels of the upright image.
        probability: that the whole text is right.
        status: `ok`; `rejected` where the model is not sure enough, or a constraint admits nothing
            that is written there; `empty` where nothing is.
        alternatives: other texts, likeliest first, where they were asked for.
    """

    characters: tuple[CharacterReading, ...]
    box: Box
    probability: float
    status: LineStatus = "ok"
    alternatives: tuple[Alternative, ...] = ()

    @property
    def text(self) -> str:
        """The characters, with a space where a wide gap is; a class of both cases in upper case."""
        return "".join(" " * c.space_before + as_text(c.label) for c in self.characters)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "text": self.text, "box": list(self.box), "probability": self.probability,
            "status": self.status,
            "alternatives": [one._asdict() for one in self.alternatives],
            "characters": [character.to_dict() for character in self.characters],
        }  # fmt: skip


@dataclass(frozen=True)
class PageReading:
    """The lines of an upright image (width, height in pixels) from top to bottom, if any."""

    lines: tuple[LineReading, ...]
    width: int
    height: int

    @property
    def text(self) -> str:
        """The lines, one below the other."""
        return "\n".join(line.text for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        lines = [line.to_dict() for line in self.lines]
        return {"text": self.text, "width": self.width, "height": self.height, "lines": lines}
