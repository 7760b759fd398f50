"""Synthetic lines: characters of a data set, composed as one hand would write them, on paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from string import digits

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from penstroke.config.class_names import as_text, class_of
from penstroke.config.settings import SynthesisConfig
from penstroke.data.dataset import Dataset
from penstroke.data.line_paper import photograph
from penstroke.data.line_texts import SIGNS, number, words
from penstroke.data.lines import LineDataset
from penstroke.errors import ConfigError
from penstroke.preprocessing.strips import STRIP_HEIGHT, Strip, standardized

Generator = np.random.Generator
Ink = npt.NDArray[np.uint8]
"""Coverage (H, W), 255 where the pen was."""
_OVERSAMPLING = 4
"""Of drawn signs."""
_WIDEST = 2048
_FAINTEST = 50
"""Of 255: what is fainter is not taken for a part of a character."""
_LEAST_CHANGE = 20
"""Of 256: a smaller change of a stroke's width is left out."""
_UNREAD = "=#"
"""Signs that close an amount, and are none of its characters."""
_SIGN_STROKES: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    # x and y in heights of a character: 0 is the top, 1 the baseline.
    ".": (((0.05, 0.96), (0.07, 0.98)),),
    ",": (((0.1, 0.9), (0.11, 1.02), (0.02, 1.18)),),
    "-": (((0.0, 0.55), (0.5, 0.53)),),
    "=": (((0.0, 0.45), (0.5, 0.43)), ((0.0, 0.65), (0.5, 0.63))),
    "#": (
        ((0.0, 0.4), (0.6, 0.38)), ((0.0, 0.65), (0.6, 0.63)),
        ((0.25, 0.15), (0.15, 0.9)), ((0.5, 0.15), (0.4, 0.9)),
    ),
    "/": (((0.5, -0.1), (0.0, 1.1)),),
    ":": (((0.05, 0.4), (0.07, 0.42)), ((0.05, 0.93), (0.07, 0.95))),
    "%": (
        ((0.2, 0.05), (0.05, 0.15), (0.05, 0.3), (0.2, 0.4), (0.33, 0.3), (0.33, 0.12),
         (0.2, 0.05)),
        ((0.75, 0.0), (0.1, 1.0)),
        ((0.7, 0.6), (0.55, 0.7), (0.55, 0.88), (0.7, 0.98), (0.84, 0.85), (0.84, 0.7),
         (0.7, 0.6)),
    ),
    "$": (
        ((0.55, 0.15), (0.35, 0.05), (0.1, 0.15), (0.08, 0.35), (0.3, 0.48), (0.55, 0.6),
         (0.58, 0.82), (0.35, 0.97), (0.05, 0.85)),
        ((0.33, -0.1), (0.31, 1.12)),
    ),
    "€": (
        ((0.68, 0.12), (0.5, 0.02), (0.28, 0.1), (0.17, 0.35), (0.15, 0.65), (0.28, 0.92),
         (0.5, 0.99), (0.7, 0.88)),
        ((0.0, 0.42), (0.55, 0.4)),
        ((0.0, 0.6), (0.52, 0.58)),
    ),
    "£": (
        ((0.65, 0.15), (0.5, 0.0), (0.3, 0.1), (0.27, 0.4), (0.28, 0.7), (0.1, 0.98), (0.35, 0.93),
         (0.55, 1.0), (0.7, 0.9)),
        ((0.08, 0.52), (0.5, 0.5)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class _Hand:
    """How one line is written; lengths in pixels of the strip."""

    height: float
    lean: float
    widening: float
    gap: float
    gap_deviation: float
    sign_gap: float
    jitter: float
    pen: float
    weight: float
    zero_height: float
    zero_widening: float
    joins_zeros: bool


def composed_alphabet(classes: Sequence[str], config: SynthesisConfig) -> str:
    """Return the characters of lines composed of characters of these classes.

    They are those of the classes, a letter of either case as a capital, and `SIGNS` or the space;
    with a list of texts, those of the texts alone. ConfigError: the classes lack what is to be
    written, all ten digits, any letter, or a character of a text.
    """
    if config.texts is not None:
        return "".join(sorted({*"".join(_texts(classes, config))}))
    names = [as_text(name) for name in classes]
    if config.content == "numbers":
        if missing := "".join(digit for digit in digits if digit not in names):
            raise ConfigError(
                f"synthesis.characters: {config.characters} lacks {missing}, and numbers are "
                "written with all ten digits; name another data set, or set "
                'synthesis.content to "words"'
            )
        return "".join(dict.fromkeys([*filter(str.isdigit, names), *SIGNS]))
    if all(map(str.isdigit, names)):
        raise ConfigError(
            f"synthesis.content: words need letters, and {config.characters} has none; name "
            'another data set in synthesis.characters, or set synthesis.content to "numbers"'
        )
    return "".join(dict.fromkeys([*names, " "]))


def _texts(classes: Sequence[str], config: SynthesisConfig) -> tuple[str, ...]:
    """Return `config.texts` in the characters of the classes: `a` as `A` where a class is `Aa`."""
    texts, known = config.texts or (), {" ", *SIGNS, *map(as_text, classes)}
    characters = set("".join(texts)) - known
    merged = {one: as_text(name) for one in characters if (name := class_of(one, classes))}
    if missing := characters - merged.keys():
        example = next(text for text in texts if not missing.isdisjoint(text))
        raise ConfigError(
            f"synthesis.texts: {example!r} cannot be composed: {config.characters} has no images "
            f"of {' '.join(sorted(missing))}; name another data set in synthesis.characters (a+b "
            "is a union), or write these texts without them"
        )
    return tuple("".join(merged.get(one, one) for one in text) for text in texts)


class LineSynthesizer:
    """Composes lines of the characters of a data set: whoever asks for a seed gets the same lines.

    `alphabet` holds the characters of the texts: see `composed_alphabet`.
    """

    def __init__(self, characters: Dataset, config: SynthesisConfig) -> None:
        names = [as_text(name) for name in characters.classes]
        self.config = config
        self.alphabet = composed_alphabet(characters.classes, config)
        self._texts = _texts(characters.classes, config)
        self._letters = tuple(name for name in dict.fromkeys(names) if not name.isdigit())
        self._images = characters.images
        rows: dict[str, list[npt.NDArray[np.int64]]] = {}
        for label, name in enumerate(names):
            rows.setdefault(name, []).append(np.flatnonzero(characters.labels == label))
        self._rows = {name: np.concatenate(parts) for name, parts in rows.items()}
        inked = characters.images > _FAINTEST
        self._boxes = np.stack(
            [edge for axis in (2, 1) for edge in _extent(np.any(inked, axis))], axis=1
        )  # top, bottom, left, right

    def batch(self, count: int, seed: int) -> LineDataset:
        """Return `count` lines, drawn by `seed`."""
        rng = np.random.default_rng(seed)
        strips, texts = zip(*(self._line(rng) for _ in range(count)), strict=True)
        return LineDataset.of(strips, texts, self.alphabet)

    def _line(self, rng: Generator) -> tuple[Strip, str]:
        config = self.config
        if self._texts:
            text = self._texts[rng.integers(len(self._texts))]
        elif config.content == "numbers":
            text = number(rng)
        else:
            text = words(rng, self._letters, has_digits=self._rows.keys() >= set(digits))
        if rng.random() < config.blank:
            text = ""
        hand = self._hand(rng)
        ink = self._written(text, hand, rng)
        if rng.random() < config.neighbours:
            self._add_neighbours(ink, rng)
        grey = photograph(ink / np.float32(255), hand.height, config, rng)
        if rng.random() < 0.03:
            grey = 1 - grey
        return standardized(grey), text

    def _hand(self, rng: Generator) -> _Hand:
        config = self.config
        height = STRIP_HEIGHT * rng.uniform(config.least_height, 0.95)
        slant = rng.normal(0.25, 0.5) * config.slant_degrees  # most hands lean to the right
        slant = np.clip(slant, -config.slant_degrees, config.slant_degrees)
        tight, has_small_zeros = rng.random() < 0.25, rng.random() < 0.3
        return _Hand(
            height=height,
            lean=math.tan(math.radians(slant)),
            widening=math.exp(rng.normal(0, 0.18)),
            gap=height * ((0.0 if tight else config.gap) + rng.normal(0, 0.05)
                          + (rng.exponential(0.2) if rng.random() < 0.25 else 0)),
            gap_deviation=height * rng.uniform(0.02, 0.1),
            sign_gap=rng.uniform(0.0, 0.35),
            jitter=rng.uniform(0.02, 0.12),
            pen=height * rng.uniform(0.05, 0.14),
            weight=rng.uniform(-config.stroke_width, config.stroke_width),
            zero_height=rng.uniform(0.5, 1.0) if has_small_zeros else 1.0,
            zero_widening=rng.uniform(0.9, 1.6) if has_small_zeros else 1.0,
            joins_zeros=rng.random() < config.joined_zeros,
        )  # fmt: skip

    def _written(self, text: str, hand: _Hand, rng: Generator) -> Ink:
        """Return the ink (STRIP_HEIGHT, W) of `text`, placed somewhere on the strip."""
        is_number = self.config.content == "numbers" and not self._texts
        if text and is_number and rng.random() < 0.03:
            text += _UNREAD[rng.integers(len(_UNREAD))]
        inks = [self._character(character, hand, rng) for character in text]
        margins = STRIP_HEIGHT * np.where(
            rng.random(2) < 0.7, rng.uniform(-0.02, 0.25, 2), rng.uniform(0, 1.3, 2)
        )
        x, places, extra = max(0.0, margins[0]), [], 0.0
        for position, (character, (ink, _)) in enumerate(zip(text, inks, strict=True)):
            gap = hand.gap + rng.normal(0, hand.gap_deviation)
            if character in _SIGN_STROKES or text[position + 1 : position + 2] in SIGNS:
                gap += hand.height * rng.uniform(-0.05, hand.sign_gap)
            x += extra if position else 0.0
            places.append(x)
            x = max(places[-1] + 0.4 * ink.shape[1], places[-1] + ink.shape[1] + gap)
            extra = rng.uniform(0.2, 0.9) * hand.height if rng.random() < 0.03 else 0.0
        last = places[-1] + inks[-1][0].shape[1] if places else STRIP_HEIGHT * rng.uniform(0.5, 4)
        widest = max(_WIDEST, math.ceil(last)) if self._texts else _WIDEST
        width = int(np.clip(round(last + margins[1]), 16, widest))
        canvas = np.zeros((STRIP_HEIGHT, width), np.uint8)
        # Mostly inside; a tall or low-lying line may be cut a little.
        free = STRIP_HEIGHT - hand.height
        top = (
            rng.uniform(-0.06, 1.06) * free if rng.random() < 0.5 else free * rng.normal(0.5, 0.15)
        )
        slope, drift = rng.normal(0, 0.03), 0.0
        tops = []
        for (ink, offset), left in zip(inks, places, strict=True):
            drift += rng.normal(0, 0.03) * hand.height
            tops.append(top + offset + slope * (left - width / 2) + drift)
            drift *= 0.7
            _paste(canvas, ink, round(left), round(tops[-1]))
        if hand.joins_zeros:
            _join_zeros(canvas, text, inks, places, tops, hand)
        return canvas

    def _character(self, character: str, hand: _Hand, rng: Generator) -> tuple[Ink, float]:
        """Return the ink of one character, and how far below the line's top it begins."""
        if character == " ":
            return np.zeros((1, max(1, round(hand.height * rng.uniform(0.35, 1.0)))), np.uint8), 0
        if character in self._rows:
            return self._glyph(character, hand, rng)
        return _sign(character, hand, rng)

    def _glyph(self, character: str, hand: _Hand, rng: Generator) -> tuple[Ink, float]:
        rows = self._rows[character]
        row = rows[rng.integers(len(rows))]
        image = _weighted(self._images[row], hand.weight + rng.normal(0, 0.1))
        top, bottom, left, right = self._boxes[row]
        tall, wide = bottom - top, right - left
        # A character fills the box of its data set; the flat ones are as wide as others are high.
        scale = hand.height * (1 + rng.normal(0, hand.jitter)) / max(tall, 0.75 * wide)
        sideways = scale * hand.widening * (1 + rng.normal(0, hand.jitter))
        if character == "0":
            scale, sideways = scale * hand.zero_height, sideways * hand.zero_height
            sideways *= hand.zero_widening
        turn = math.radians(rng.normal(0, 3))
        lean = hand.lean + rng.normal(0, 0.04)
        height = max(3, math.ceil(tall * scale) + 2)
        width = max(3, math.ceil(wide * sideways + (abs(lean) + abs(turn)) * height) + 2)
        # Output (x, y) about its middle comes from input about the middle of its ink.
        a, b = 1 / sideways, lean / sideways + turn / scale
        c, d = -turn / scale, 1 / scale
        x0 = (left + right) / 2 - a * width / 2 - b * height / 2
        y0 = (top + bottom) / 2 - c * width / 2 - d * height / 2
        ink = Image.fromarray(image).transform(
            (width, height), Image.Transform.AFFINE, (a, b, x0, c, d, y0),
            Image.Resampling.BILINEAR if scale < 1.2 else Image.Resampling.BICUBIC,
        )  # fmt: skip
        array = np.asarray(ink)
        seen = np.flatnonzero(array.max(0) > _FAINTEST)
        if len(seen):
            array = array[:, seen[0] : seen[-1] + 1]
        # Flat and low characters stand on the line.
        return array, max(0.0, hand.height - height) * rng.uniform(0.6, 1.0)

    def _add_neighbours(self, canvas: Ink, rng: Generator) -> None:
        """Let other writing reach in from outside, where it can be told from that of the line."""
        height, width = canvas.shape
        used = np.flatnonzero(canvas.max(1) > _FAINTEST)
        above, below = (used[0], height - 1 - used[-1]) if len(used) else (height // 3, height // 3)
        for _ in range(int(rng.integers(1, 4))):
            hand = self._hand(rng)
            names = list(self._rows)
            ink, _ = self._glyph(names[rng.integers(len(names))], hand, rng)
            tall, wide = ink.shape
            side = rng.integers(4)
            if side < 2:
                room = (above, below)[side]
                seen = int(min(room, 0.3 * tall + 1) * rng.random())
                top = seen - tall if side == 0 else height - seen
                left = int(rng.uniform(-wide, width))
            else:
                seen = int(0.25 * wide * rng.random())
                left = seen - wide if side == 2 else width - seen
                top = int(rng.uniform(-0.3, 1) * height)
            _paste(canvas, ink, left, top)


def _join_zeros(
    canvas: Ink, text: str, inks: Sequence[tuple[Ink, float]],
    places: Sequence[float], tops: Sequence[float], hand: _Hand,
) -> None:  # fmt: skip
    """Draw the stroke that joins one zero to the next, at their tops."""
    for k in range(len(text) - 1):
        if text[k : k + 2] == "00":
            start = (places[k] + 0.6 * inks[k][0].shape[1], tops[k] + 0.08 * hand.height)
            end = (places[k + 1] + 0.45 * inks[k + 1][0].shape[1], tops[k + 1] + 1)
            middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.06 * hand.height)
            stroke = _strokes([(start, middle, end)], hand.pen, canvas.shape)
            np.maximum(canvas, stroke, out=canvas)


def _sign(character: str, hand: _Hand, rng: Generator) -> tuple[Ink, float]:
    """Return a sign drawn as strokes, and how far below the line's top it begins."""
    strokes = [np.array(stroke) for stroke in _SIGN_STROKES[character]]
    pen = hand.pen * (1 + rng.normal(0, 0.1)) * (rng.uniform(1, 2) if character in ".:" else 1)
    stretch, shift = rng.uniform(0.85, 1.15, 2), rng.normal(0, 0.04)
    if character == ",":
        stretch = rng.uniform(0.4, 1.6, 2)
    elif character in "-=":
        stretch[0] = rng.uniform(0.5, 1.6) if rng.random() < 0.85 else rng.uniform(1.6, 5)
        shift = rng.normal(0, 0.12) + 0.4 * (rng.random() < 0.15)
    moved = []
    for stroke in strokes:
        anchor = np.array([0.0, 1.0])
        points = (stroke - anchor) * stretch + anchor + rng.normal(0, 0.02, stroke.shape)
        points[:, 1] += shift
        points[:, 0] += (1 - points[:, 1]) * hand.lean * (character not in ".,:-")
        moved.append(points * hand.height)
    every = np.concatenate(moved)
    low, high = every.min(0) - pen, every.max(0) + pen
    shape = (max(2, math.ceil(high[1] - low[1])), max(2, math.ceil(high[0] - low[0])))
    ink = _strokes([points - low for points in moved], pen, shape)
    return ink, float(low[1])


def _strokes(
    strokes: Sequence[Sequence[Sequence[float]] | npt.NDArray[np.float64]],
    pen: float,
    shape: tuple[int, ...],
) -> Ink:
    """Return polylines of points (x, y), in pixels, drawn with a round pen of that width."""
    image = Image.new("L", (shape[1] * _OVERSAMPLING, shape[0] * _OVERSAMPLING))
    draw = ImageDraw.Draw(image)
    width, radius = max(1, round(pen * _OVERSAMPLING)), pen * _OVERSAMPLING / 2
    for stroke in strokes:
        points = [(float(x) * _OVERSAMPLING, float(y) * _OVERSAMPLING) for x, y in stroke]
        draw.line(points, fill=255, width=width, joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    small = image.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(small)


def _weighted(image: Ink, weight: float) -> Ink:
    """Return a character with thinner (`weight` below 0) or thicker strokes, by up to a pixel."""
    share = round(256 * min(abs(weight), 1.0))
    if share < _LEAST_CHANGE:
        return image
    choose = np.minimum if weight < 0 else np.maximum
    changed = image.copy()
    choose(changed[1:], image[:-1], out=changed[1:])
    choose(changed[:-1], image[1:], out=changed[:-1])
    choose(changed[:, 1:], image[:, :-1], out=changed[:, 1:])
    choose(changed[:, :-1], image[:, 1:], out=changed[:, :-1])
    mixed = image.astype(np.uint16) * (256 - share) + changed.astype(np.uint16) * share
    return (mixed >> 8).astype(np.uint8)


def _extent(inked: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return first and end (N,) of what is true in rows (N, L); all of a row where nothing is."""
    none = ~inked.any(1)
    end = inked.shape[1] - inked[:, ::-1].argmax(1)
    return np.where(none, 0, inked.argmax(1)), np.where(none, inked.shape[1], end)


def _paste(canvas: Ink, ink: Ink, left: int, top: int) -> None:
    """Put `ink` on `canvas`, its corner at (left, top); what lies outside is cut off."""
    height, width = canvas.shape
    rows = slice(max(top, 0), min(top + ink.shape[0], height))
    columns = slice(max(left, 0), min(left + ink.shape[1], width))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = ink[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.maximum(canvas[rows, columns], part, out=canvas[rows, columns])
