"""Reads lines of characters: the likeliest path through the segments of each line.

Whatever may be one character is recognised, all of a page in one batch, and the path through each
line that explains it best is the answer: segmentation by recognition (LeCun et al. 1998, section
VII).
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.errors import ImageTooComplexError
from penstroke.inference.onnx_session import open_session
from penstroke.inference.page_lines import Scale, find_page_lines
from penstroke.inference.readings import CharacterReading, LineReading, PageReading
from penstroke.inference.recognizer import BATCH, Recognizer, max_logit_score
from penstroke.inference.segments import (
    InkPart,
    TextLine,
    around,
    split_lines,
    too_complex,
    united,
)
from penstroke.inference.viterbi import (
    Step,
    all_features,
    possible_steps,
    posteriors,
    step_scores,
    viterbi_path,
)
from penstroke.preprocessing.decoding import ImageLike, Intensities, read_grey
from penstroke.preprocessing.ink import normalize

_CONFIDENCE_THRESHOLD = 0.8  # below this probability a character is `rejected`
MOST_SHAPES = 50_000  # a page of 60 lines of 80 characters has half as many: 15 s
_MOST_PIXELS = 40_000_000  # of the boxes of all of them, or 10,000 each
_SPACE = 0.65  # of a character's height: a wider gap is a space
_SCORER_SIZE = (24, 32)  # rows and columns of what the character scorer sees
_SCORER_ROWS, _SCORER_COLUMNS = 1.5, 2.0  # how much of the line that is, in heights of a character


def read_page(
    recognizer: Recognizer, image: ImageLike, *, max_shapes: int = MOST_SHAPES
) -> PageReading:
    """Return what is written in `image` (see `penstroke.preprocessing.ink.preprocess`), by line.

    Up to `max_shapes` shapes that may be characters are looked at, each 0.4 ms; a written digit is
    five or six of them.

    ImageError: it is not an image, or too large; one without ink is not an error.
    ImageTooComplexError: it holds more shapes, or they overlap all over.
    """
    max_pixels = recognizer.ink.max_pixels
    whole = read_grey(image, max_pixels, working_side=max_pixels)
    found, scale = find_page_lines(whole, recognizer.ink)
    _refuse_too_many(sum(len(line.parts) for line in found), max_shapes // 2)
    lattices = [(line, possible_steps(line)) for line in split_lines(found)]
    _refuse_too_large(lattices, max_shapes)
    lattices = [pair for pair in lattices if not all(step.is_dirt for step in pair[1])]
    readings = [
        tuple(_characters(recognizer.classes, *lattice, outputs, scale))
        for lattice, outputs in zip(lattices, run_networks(recognizer, lattices), strict=True)
    ]
    written = tuple(_line(characters) for characters in readings if characters)
    return PageReading(written, width=whole.shape[1], height=whole.shape[0])


def _line(characters: Sequence[CharacterReading]) -> LineReading:
    is_sure = all(character.status == "ok" for character in characters)
    return LineReading(
        tuple(characters), around(character.box for character in characters),
        math.prod(character.probability for character in characters),
        "ok" if is_sure else "rejected",
    )  # fmt: skip


def _refuse_too_many(shapes: int, most: int) -> None:
    if shapes > most:
        raise ImageTooComplexError(
            f"the image holds {shapes:,} shapes that may be characters, and {most:,} are read at "
            f"once: cut it into {-(-shapes // most)} parts"
        )


def _refuse_too_large(lattices: Sequence[tuple[TextLine, Sequence[Step]]], max_shapes: int) -> None:
    """Raise ImageTooComplexError where recognising all that may be characters takes too long."""
    boxes = [
        around(segment.box for segment in step.segments)
        for _, steps in lattices
        for step in steps
        if not step.is_dirt
    ]
    _refuse_too_many(len(boxes), max_shapes)
    area = sum(box.width * box.height for box in boxes)
    if area > max(_MOST_PIXELS, 10_000 * len(boxes)):
        raise too_complex("shapes that overlap all over")


class NetworkOutputs(NamedTuple):
    """What the networks make of each of the B characters that there may be in a line.

    `probabilities` (B, K) of the classes; `familiarity` (B,) the ood_score in units of the
    ood_threshold, None where the model has none; `log_odds` (B,) that it is one whole character.
    """

    probabilities: npt.NDArray[np.float32]
    familiarity: npt.NDArray[np.float32] | None
    log_odds: npt.NDArray[np.float64]


def run_networks(
    recognizer: Recognizer, lattices: Sequence[tuple[TextLine, Sequence[Step]]]
) -> list[NetworkOutputs]:
    """Return the outputs for the possible characters of each line; all lines go as one batch."""
    if not lattices:
        return []
    images, inputs = [], []
    for line, steps in lattices:
        parts = [united(step.segments) for step in steps if not step.is_dirt]
        inputs.append(scorer_inputs(line, parts))
        upright = (_half_upright(part.ink, line.slant) for part in parts)
        images += [normalize(ink, recognizer.ink).pixels for ink in upright]
    logits = recognizer.logits(np.stack(images))
    ends = np.cumsum([len(part) for part in inputs])[:-1]
    familiarity: Sequence[Any] = [None] * len(inputs)
    if recognizer.ood_threshold is not None:
        ratios = max_logit_score(logits) / np.float32(recognizer.ood_threshold)
        familiarity = np.split(ratios, ends)
    probabilities = np.split(recognizer.softmax(logits), ends)
    views = np.concatenate(inputs)
    batches = np.array_split(views, -(-len(views) // BATCH))
    odds = np.concatenate([_scorer().run(["log_odds"], {"views": batch})[0] for batch in batches])
    columns = (probabilities, familiarity, np.split(odds.astype(np.float64), ends))
    return [NetworkOutputs(*row) for row in zip(*columns, strict=True)]


@cache
def _scorer() -> Any:
    """Return the session of the network that tells how likely some ink is one whole character.

    A recogniser of characters is confident about scraps and pairs too: half a 0 is a fine 1. The
    scorer knows no classes. It sees the ink and, beside it, all ink around; it was trained on
    composed lines of digits and letters, split in every way that `penstroke.inference.segments`
    offers (scripts/train_character_scorer.py).
    """
    content = (files("penstroke.inference") / "character_scorer.onnx").read_bytes()
    return open_session(content, "character_scorer.onnx", threads=1)  # more would start too late


def scorer_inputs(line: TextLine, parts: Sequence[InkPart]) -> npt.NDArray[np.uint8]:
    """Return what the scorer sees of each of `parts` of a line: (B, 2, 24, 32) uint8.

    The first channel holds the part alone, the second all ink of the line; the part's middle is the
    middle.
    """
    whole = united(line.segments)
    height, width = round(_SCORER_ROWS * line.height), round(_SCORER_COLUMNS * line.height)
    padded = _as_image(np.pad(whole.ink, ((height, height), (width, width))))
    inputs = np.empty((len(parts), 2, *_SCORER_SIZE), np.uint8)
    for number, part in enumerate(parts):
        down, across = (part.box.height - height) // 2, (part.box.width - width) // 2
        alone = Image.new("L", (width, height))
        alone.paste(_as_image(part.ink), (-across, -down))
        top = part.box.top - whole.box.top + height + down
        left = part.box.left - whole.box.left + width + across
        for channel, (image, x, y) in enumerate(((alone, 0, 0), (padded, left, top))):
            window = (x, y, x + width, y + height)
            scaled = image.crop(window).resize(_SCORER_SIZE[::-1], Image.Resampling.BOX)
            inputs[number, channel] = np.asarray(scaled)
    return inputs


def _as_image(ink: Intensities) -> Image.Image:
    return Image.fromarray(np.rint(ink * 255).astype(np.uint8))


def _half_upright(ink: Intensities, slant: float) -> Intensities:
    """Return `ink` (H, W) with half of the line's slant taken away, in a wider field.

    Networks know characters that lean a little: all of the slant taken away is no better, and none
    is worse by 0.2 to 0.7 % of the characters of composed lines.
    """
    height, width = ink.shape
    lean = slant / 2
    margin = int(np.ceil(abs(lean) * height / 2)) + 1
    image = Image.fromarray(ink).transform(
        (width + 2 * margin, height), Image.Transform.AFFINE,
        (1, -lean, lean * height / 2 - margin, 0, 1, 0), Image.Resampling.BICUBIC, fillcolor=0,
    )  # fmt: skip
    return np.asarray(image, np.float32).clip(0.0, 1.0)


def _characters(
    classes: Sequence[str], line: TextLine, steps: Sequence[Step], outputs: NetworkOutputs,
    scale: Scale,
) -> Iterator[CharacterReading]:  # fmt: skip
    scores = step_scores(all_features(steps, *outputs))
    whole, _ = posteriors(steps, scores)
    end = np.inf
    for number in viterbi_path(steps, scores):
        step = steps[number]
        if step.is_dirt:
            continue
        row = outputs.probabilities[number]
        best = int(row.argmax())
        probability = float(row[best] * whole[number])
        edges = (step.segments[0], *line.segments[step.after : step.after + 1])
        start = min(segment.start for segment in step.segments)
        yield CharacterReading(
            label=classes[best],
            probability=probability,
            probabilities=dict(zip(classes, row.tolist(), strict=True)),
            box=scale.original(around(s.box for s in step.segments)),
            status="ok" if probability >= _CONFIDENCE_THRESHOLD else "rejected",
            split=any(segment.split is not None for segment in edges),
            space_before=start - end > _SPACE * line.height,
        )
        end = max(segment.end for segment in step.segments)
