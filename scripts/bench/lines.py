"""Lines: how many one core composes, and reads, a second; a page of sixty."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from measure import Figure, say
from PIL import Image

from penstroke import load_dataset
from penstroke.config.settings import SynthesisConfig
from penstroke.data.synthetic_lines import LineSynthesizer
from penstroke.inference.bundled import BUNDLED
from penstroke.inference.line_reader import LineReader

COUNT, LINES, DIGITS = 400, 60, 12


def measure(repeats: int) -> dict[str, list[Figure]]:
    """Return the figures, all on one thread."""
    train = load_dataset("digits").train
    synthesizer = LineSynthesizer(train, SynthesisConfig())
    content = (BUNDLED / "numbers" / "model.onnx").read_bytes()
    reader = LineReader.from_bytes(content, threads=1)
    composed = synthesizer.batch(COUNT, seed=0)
    strips = [255 - composed.strip(row) for row in range(COUNT)]
    cells = [strip for strip in strips if strip.shape[1] <= 80]
    page = _page(train.images)
    composing, reading, cell_rates, pages = [], [], [], []
    for repeat in range(repeats):
        say(f"lines: round {repeat + 1} of {repeats}")
        composing.append(COUNT / _seconds(lambda: synthesizer.batch(COUNT, seed=1)))
        reading.append(COUNT / _seconds(lambda: [reader.read_page(strip) for strip in strips]))
        cell_rates.append(len(cells) / _seconds(lambda: [reader.read_page(c) for c in cells]))
        pages.append(_seconds(lambda: reader.read_page(page)))
    return {
        "on one core": [
            Figure("lines composed", "/s", tuple(composing)),
            Figure("synthetic lines read, one at a time", "/s", tuple(reading)),
            Figure("of these, as wide as a cell", "/s", tuple(cell_rates), "≥ 150"),
            Figure(f"a page of {LINES} lines of {DIGITS} digits", "s", tuple(pages), "≤ 3"),
        ]
    }


def _page(images: npt.NDArray[np.uint8]) -> Image.Image:
    """Return a page of lines of the images (N, 28, 28), dark on white, 1,000 pixels wide."""
    rows = np.random.default_rng(0).integers(0, len(images), (LINES, DIGITS))
    lines = [
        np.concatenate([np.pad(images[k], ((10, 10), (6, 6))) for k in row], 1) for row in rows
    ]
    return Image.fromarray(255 - np.pad(np.concatenate(lines), 40))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
