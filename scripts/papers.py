"""Digits on paper of many kinds, drawn from MNIST's test images, and how many a model reads.

    python scripts/papers.py [MODEL] [--images 300]

Of each kind the same digits are shown: right answers, answers that are wrong with a probability of
0.9 or more, and those that are empty, in percent; a rejected answer is not right.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

import penstroke

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Paper = Callable[[Floats, np.random.Generator], Floats]

SIDE = 400
_DOWN, _ACROSS = np.mgrid[:SIDE, :SIDE]
_CONFIDENT = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", default="digits")
    parser.add_argument("--images", type=int, default=300, help="of each kind")
    options = parser.parse_args()
    recognizer = penstroke.Recognizer.load(options.model)
    test = penstroke.load_dataset("mnist").test.unseal()
    labels = [test.classes[label] for label in test.labels[: options.images]]
    print("| paper | right, % | confidently wrong, % | empty, % |\n|---|--:|--:|--:|")
    for name in PAPERS:
        shares = 100 * read(recognizer, test.images[: options.images], labels, name).mean(axis=0)
        print(f"| {name} | " + " | ".join(f"{share:.1f}" for share in shares) + " |", flush=True)


def read(
    recognizer: penstroke.Recognizer, digits: Pixels, labels: list[str], paper: str
) -> npt.NDArray[np.bool_]:
    """Return whether each answer (N, 3) is right, wrong with confidence, and empty."""
    answers = recognizer.recognize(photos(digits, paper))
    return np.array([
        (
            answer.label == label,
            answer.label not in (label, None) and answer.probability >= _CONFIDENT,
            answer.status == "empty",
        )
        for answer, label in zip(answers, labels, strict=True)
    ])  # fmt: skip


def photos(digits: Pixels, paper: str, seed: int = 0) -> list[Pixels]:
    """Return a photo of each of `digits` (N, 28, 28) on `paper`; each has its own random numbers.

    They are (H, W), or (H, W, 4) where parts are transparent.
    """
    images = []
    for number, digit in enumerate(digits, seed):
        random = np.random.default_rng(number)
        levels = PAPERS[paper](_written(digit, random), random)
        noise = random.normal(0, 0.006, (*levels.shape[:2], 1)).reshape(levels.shape[:2])
        levels = levels + (noise if levels.ndim == 2 else noise[..., None] * (1, 1, 1, 0))
        images.append(np.asarray(np.rint(levels.clip(0, 1) * 255), np.uint8))
    return images


def _written(digit: Pixels, random: np.random.Generator) -> Floats:
    """Return `digit` as ink in 0..1, four to seven tenths of a square sheet, anywhere on it."""
    side = int(random.integers(190, 300))
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.zeros((SIDE, SIDE))
    top, left = random.integers(15, SIDE - side - 15, 2)
    ink[top : top + side, left : left + side] = np.asarray(large, np.float64) / 255
    return np.asarray(((ink - 0.3) / 0.4).clip(0, 1))


def _box(ink: Floats) -> tuple[int, int, int, int]:
    """Return top, bottom, left, right of the ink."""
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def _plain(ink: Floats, random: np.random.Generator) -> Floats:
    return 0.92 - random.uniform(0.4, 0.8) * ink


def _lines(low: float, high: float, *, is_grid: bool) -> Paper:
    """Return paper with lines of which the darkness is between `low` and `high`, of 1."""

    def paper(ink: Floats, random: np.random.Generator) -> Floats:
        period, width = random.uniform(25, 75), random.integers(1, 5)
        starts = np.arange(random.uniform(0, period), SIDE, period).astype(int)
        is_line = np.zeros(SIDE, bool)
        is_line[(starts[:, None] + np.arange(width)).ravel().clip(max=SIDE - 1)] = True
        lines = is_line[:, None] | (is_line[None] & is_grid)
        return np.asarray(np.minimum(0.95 - random.uniform(low, high) * lines, 0.95 - 0.75 * ink))

    return paper


def _frame(least: int, most: int) -> Paper:
    """Return paper with a frame that is so far away from the ink, at each side; below 0, in it."""

    def paper(ink: Floats, random: np.random.Generator) -> Floats:
        top, bottom, left, right = (
            int(place + sign * random.integers(least, most))
            for place, sign in zip(_box(ink), (-1, 1, -1, 1), strict=True)
        )
        outside = (top, bottom, left, right)
        width = random.integers(2, 7)
        frame = np.zeros((SIDE, SIDE))
        frame[max(0, top) : bottom + 1, max(0, left) : right + 1] = random.uniform(0.4, 1)
        inner = np.s_[
            max(0, outside[0] + width) : bottom + 1 - width,
            max(0, outside[2] + width) : right + 1 - width,
        ]
        frame[inner] = 0
        return 0.92 - 0.7 * np.maximum(frame, ink)

    return paper


def _underlined(ink: Floats, random: np.random.Generator) -> Floats:
    row = _box(ink)[1] + random.integers(-12, 15)
    line = np.zeros((SIDE, SIDE))
    line[row : row + random.integers(2, 6)] = random.uniform(0.4, 1)
    return 0.92 - 0.7 * np.maximum(line, ink)


def _edge(random: np.random.Generator, distance: float, softness: float) -> Floats:
    """Return 1 beyond a straight edge that is `distance` from the middle, and 0 before it."""
    angle = random.uniform(0, 2 * np.pi)
    along = (_DOWN - SIDE / 2) * np.cos(angle) + (_ACROSS - SIDE / 2) * np.sin(angle)
    return np.asarray(1 / (1 + np.exp(((distance - along) / softness).clip(-50, 50))))


def _shadowed(ink: Floats, random: np.random.Generator) -> Floats:
    softness = np.exp(random.uniform(0, 3))
    shade = random.uniform(0.2, 0.6) * _edge(random, random.uniform(-80, 80), softness)
    return (1 - shade) * _plain(ink, random)


def _on_table(ink: Floats, random: np.random.Generator) -> Floats:
    is_table = _edge(random, random.uniform(165, 195), 0.5)
    paper = np.linspace(1, 0.8, SIDE) * _plain(ink, random)
    return paper + (random.uniform(0, 0.45) - paper) * is_table


def _lit_from_one_side(ink: Floats, random: np.random.Generator) -> Floats:
    return np.linspace(1, random.uniform(0.3, 0.6), SIDE) * _plain(ink, random)


def _patterned(ink: Floats, random: np.random.Generator) -> Floats:
    bent = _DOWN + 5 * np.sin(_ACROSS / random.uniform(20, 60)) + random.uniform(-1, 1) * _ACROSS
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * bent / random.uniform(9, 25))
    return np.asarray(0.92 - 0.7 * np.maximum(ink, random.uniform(0.1, 0.45) * waves))


def _faint(ink: Floats, random: np.random.Generator) -> Floats:
    return random.uniform(0.5, 0.9) - 20 / 255 * ink


def _pencil(ink: Floats, random: np.random.Generator) -> Floats:
    grain = Image.fromarray(random.random((SIDE // 5, SIDE // 5)).astype(np.float32))
    grain = grain.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return 0.85 - random.uniform(0.15, 0.35) * ink * (0.3 + 0.7 * np.asarray(grain))


def _cropped(ink: Floats, random: np.random.Generator) -> Floats:
    top, bottom, left, right = _box(ink)
    return _plain(ink, random)[top : bottom + 1, left : right + 1]


def _small(side: int) -> Paper:
    """Return photos of `side` pixels, cropped to the character."""

    def paper(ink: Floats, random: np.random.Generator) -> Floats:
        top, bottom, left, right = _box(ink)
        margin = (bottom - top) // 8
        seen = _plain(ink, random)[top - margin : bottom + margin, left - margin : right + margin]
        image = Image.fromarray(seen.astype(np.float32))
        size = [max(1, round(side * part / max(image.size))) for part in image.size]
        return np.asarray(image.resize(size, Image.Resampling.BOX), np.float64)

    return paper


def _clipped(ink: Floats, random: np.random.Generator) -> Floats:
    """Return a circle of paper, around it nothing."""
    distance = np.hypot(_DOWN - SIDE / 2, _ACROSS - SIDE / 2)
    grey = _plain(ink, random)
    return np.dstack([grey, grey, grey, distance < SIDE / 2])


PAPERS: dict[str, Paper] = {
    "plain": _plain,
    "negative": lambda ink, random: 1 - _plain(ink, random),
    "ruled": _lines(0.2, 0.6, is_grid=False),
    "faintly ruled": _lines(0.03, 0.2, is_grid=False),
    "grid": _lines(0.2, 0.6, is_grid=True),
    "faint grid": _lines(0.03, 0.2, is_grid=True),
    "frame": _frame(10, 60),
    "frame through the ink": _frame(-15, 20),
    "a line at the foot": _underlined,
    "patterned": _patterned,
    "lit from one side": _lit_from_one_side,
    "edge of a shadow": _shadowed,
    "edge of a table": _on_table,
    "a circle of paper": _clipped,
    "20 of 255 levels": _faint,
    "pencil": _pencil,
    "cropped to the ink": _cropped,
    "16 pixels": _small(16),
    "10 pixels": _small(10),
}


if __name__ == "__main__":
    main()
