"""What was read of an image: a page of lines of characters, each with its probability and box."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstroke.config.class_names import as_text
from penstroke.inference.segments import Box, around


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


@dataclass(frozen=True)
class LineReading:
    """A line's characters from left to right; at least one."""

    characters: tuple[CharacterReading, ...]

    @property
    def text(self) -> str:
        """The characters, with a space where a wide gap is; a class of both cases in upper case."""
        return "".join(" " * c.space_before + as_text(c.label) for c in self.characters)

    @property
    def box(self) -> Box:
        """Around all its characters, in pixels of the upright image."""
        return around(character.box for character in self.characters)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        characters = [character.to_dict() for character in self.characters]
        return {"text": self.text, "box": list(self.box), "characters": characters}


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
