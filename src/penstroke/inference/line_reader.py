"""Writing of several characters: lines of pieces, read by a network as the likeliest characters.

Whatever may be one character is read, all of a page in one batch, and the way through each line
that explains it best is the answer: segmentation by recognition (LeCun et al. 1998, section VII).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.config.class_names import as_text
from penstroke.inference.character_scorer import log_odds, views
from penstroke.inference.recognizer import Recognizer, max_logit_score
from penstroke.inference.segments import Box, Piece, TextLine, around, find_lines, overlaid
from penstroke.inference.viterbi import Step, best_way, evidence, posteriors, scores, steps_through
from penstroke.preprocessing.decoding import ImageLike, Intensities
from penstroke.preprocessing.illumination import MARGIN, flattened
from penstroke.preprocessing.ink import InkSettings, Pixels, find_ink, normalize, read_grey

_WORKING_SIDES = (1200, 2400, 4800)
"""An image is looked at about this large first, and larger where its characters are small."""
_LEAST_HEIGHT = 24
"""Pixels of a character, of which the network keeps 20: fewer, and a larger look is worth it."""
_SURE = 0.8
"""Below this a character is `rejected`."""
_SPACE = 0.65
"""Of a character's height: a wider gap is a space."""


@dataclass(frozen=True)
class CharacterReading:
    """One character of a line.

    Attributes:
        label: the likeliest class.
        probability: that it is this class, and one whole character.
        probabilities: by class, if it is one whole character.
        box: around its ink: left, top, right, bottom in pixels of the upright image.
        status: `ok`, or `rejected` where the probability is below 0.8.
        split: whether ink was cut through to part it from a neighbour.
        space_before: whether a wide gap parts it from the character before.
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
        return {
            "label": self.label,
            "probability": self.probability,
            "probabilities": dict(self.probabilities),
            "box": list(self.box),
            "status": self.status,
            "split": self.split,
            "space_before": self.space_before,
        }


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
        return around([character.box for character in self.characters])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        characters = [character.to_dict() for character in self.characters]
        return {"text": self.text, "box": list(self.box), "characters": characters}


@dataclass(frozen=True)
class PageReading:
    """An image's lines from top to bottom; none where there is no ink.

    `width` and `height` are those of the upright image, in pixels.
    """

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


def read_page(recognizer: Recognizer, image: ImageLike) -> PageReading:
    """Return what is written in `image`, line by line.

    Args:
        recognizer: reads the characters.
        image: anything that `penstroke.preprocessing.ink.preprocess` takes.

    Raises:
        ImageError: it is no image, or too large; one without ink is no error.
    """
    whole = read_grey(image, recognizer.ink, working_side=recognizer.ink.max_pixels)
    lines, view = look(whole, recognizer)
    lattices = [steps_through(line) for line in lines]
    pairs = [
        (line, steps)
        for line, steps in zip(lines, lattices, strict=True)
        if not all(step.is_dirt for step in steps)
    ]
    asked = ask(recognizer, pairs)
    found = [
        LineReading(tuple(_characters(recognizer.classes, line, steps, answers, view)))
        for (line, steps), answers in zip(pairs, asked, strict=True)
    ]
    written = tuple(line for line in found if line.characters)
    return PageReading(written, whole.shape[1], whole.shape[0])


@dataclass(frozen=True)
class View:
    """How large an image of `width`×`height` is looked at: one pixel is `across`×`down` of its."""

    width: int
    height: int
    across: int
    down: int

    def original(self, box: Box) -> Box:
        """Return `box` in pixels of the image."""
        return Box(
            max(0, box.left - MARGIN) * self.across,
            max(0, box.top - MARGIN) * self.down,
            min(self.width, (box.right - MARGIN) * self.across),
            min(self.height, (box.bottom - MARGIN) * self.down),
        )


def look(whole: Intensities, recognizer: Recognizer) -> tuple[list[TextLine], View]:
    """Return the lines, found where characters are large enough, and in which view."""
    height, width = whole.shape
    for side in _WORKING_SIDES:
        grey = read_grey(whole, recognizer.ink, working_side=side)
        lines = find_lines(find_ink(flattened(grey), recognizer.ink, alone=False))
        enough = not lines or np.median([line.height for line in lines]) >= _LEAST_HEIGHT
        if enough or grey.shape == whole.shape:
            break
    factor = round(max(whole.shape) / max(grey.shape))
    return lines, View(width, height, min(factor, width), min(factor, height))


class Answers(NamedTuple):
    """What networks say of each character that there may be in a line.

    `probabilities` (B, K) of the classes; `ood_score` (B,) to their network, if it tells;
    `judged` (B,) log odds that it is one whole character.
    """

    probabilities: npt.NDArray[np.float32]
    ood_score: npt.NDArray[np.float32] | None
    judged: npt.NDArray[np.float64]


def ask(
    recognizer: Recognizer, lattices: Sequence[tuple[TextLine, Sequence[Step]]]
) -> list[Answers]:
    """Return by line what the networks say of its characters; all lines go as one batch."""
    if not lattices:
        return []
    groups = [
        (line, [step.pieces for step in steps if not step.is_dirt]) for line, steps in lattices
    ]
    glyphs = [_glyph(pieces, line.slant, recognizer.ink) for line, own in groups for pieces in own]
    seen = [views(line, own) for line, own in groups]
    ends = np.cumsum([len(own) for _, own in groups])[:-1]
    logits = recognizer.logits(np.stack(glyphs))
    told: Sequence[Any] = [None] * len(groups)
    if recognizer.ood_threshold is not None:
        told = np.split(max_logit_score(logits) / np.float32(recognizer.ood_threshold), ends)
    probabilities = np.split(recognizer.softmax(logits), ends)
    judged = np.split(log_odds(np.concatenate(seen)), ends)
    return [Answers(*own) for own in zip(probabilities, told, judged, strict=True)]


def _glyph(pieces: Sequence[Piece], slant: float, settings: InkSettings) -> Pixels:
    """Return what the network reads of `pieces`, (28, 28) uint8."""
    _, ink = overlaid([(piece.box, piece.ink) for piece in pieces])
    return normalize(_half_upright(ink, slant), settings).pixels


def _half_upright(ink: Intensities, slant: float) -> Intensities:
    """Return `ink` (H, W) with half of the line's slant taken away, in a wider field.

    Networks know characters that lean a little: all of the slant taken away is no better, and none
    is worse by 0.2 to 0.7 % of the characters of composed lines.
    """
    height, width = ink.shape
    lean = slant / 2
    margin = int(np.ceil(abs(lean) * height / 2)) + 1
    shear = (1, -lean, lean * height / 2 - margin, 0, 1, 0)
    size = (width + 2 * margin, height)
    image = Image.fromarray(ink).transform(
        size, Image.Transform.AFFINE, shear, Image.Resampling.BICUBIC, fillcolor=0
    )
    return np.asarray(image, np.float32).clip(0.0, 1.0)


def _characters(
    classes: Sequence[str],
    line: TextLine,
    steps: Sequence[Step],
    answers: Answers,
    view: View,
) -> list[CharacterReading]:
    values = scores(evidence(steps, *answers))
    whole, _ = posteriors(steps, values)
    found: list[CharacterReading] = []
    end = np.inf
    for number in best_way(steps, values):
        step = steps[number]
        if step.is_dirt:
            continue
        row = answers.probabilities[number]
        best = int(row.argmax())
        probability = float(row[best] * whole[number])
        neighbours = (step.pieces[0], *line.pieces[step.after : step.after + 1])
        found.append(
            CharacterReading(
                label=classes[best],
                probability=probability,
                probabilities=dict(zip(classes, map(float, row), strict=True)),
                box=view.original(around([piece.box for piece in step.pieces])),
                status="ok" if probability >= _SURE else "rejected",
                split=any(piece.cut is not None for piece in neighbours),
                space_before=min(p.start for p in step.pieces) - end > _SPACE * line.height,
            )
        )
        end = max(piece.end for piece in step.pieces)
    return found
