"""Batches of lines for training, composed and real ones, made ahead in a process of its own.

No torch: that process has no use for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from penstroke.config.settings import RunConfig
from penstroke.data.dataset import Rows
from penstroke.data.lines import LineDataset, LineSplits
from penstroke.data.synthetic_lines import LineSynthesizer
from penstroke.errors import ConfigError
from penstroke.preprocessing.strips import COLUMN_WIDTH, PAPER, STRIP_HEIGHT, Strip
from penstroke.workers import Worker

_BATCHES = 16
"""Batches that are composed at once: lines of about the same width are put into one of them."""

Sizes = npt.NDArray[np.int64]
"""Of batches."""

# Greatest changes to a real line, either way, each time it is shown.
_SCALE, _SHEAR, _ROTATION_DEGREES, _SHIFT_PIXELS = 0.1, 0.15, 1.5, 2.0
_THICKNESS, _CONTRAST = 0.5, 0.25


@dataclass(frozen=True, eq=False)
class LineBatch:
    """Lines padded on the right with paper to one width, a multiple of COLUMN_WIDTH.

    Attributes:
        strips: (B, STRIP_HEIGHT, W) uint8.
        columns: (B,) int64, columns of each line without the padding.
        targets: (B, L) int64, the classes of each text, padded on the right with 0.
        lengths: (B,) int64, of the texts.
        rows: (B,) int64, where the lines are in their data set.
    """

    strips: npt.NDArray[np.uint8]
    columns: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    rows: Rows

    def __len__(self) -> int:
        return len(self.columns)


def line_batch(lines: LineDataset, rows: Rows) -> LineBatch:
    """Return the lines at `rows` as one batch."""
    columns = -(-lines.widths[rows] // COLUMN_WIDTH)
    lengths = np.array([len(lines.texts[row]) for row in rows], np.int64)
    strips = np.full((len(rows), STRIP_HEIGHT, COLUMN_WIDTH * columns.max()), PAPER, np.uint8)
    targets = np.zeros((len(rows), max(1, lengths.max())), np.int64)
    classes = {character: index for index, character in enumerate(lines.alphabet, 1)}
    for index, row in enumerate(rows):
        strip, text = lines.strip(row), lines.texts[row]
        strips[index, :, : strip.shape[1]] = strip
        targets[index, : len(text)] = [classes[character] for character in text]
    return LineBatch(strips, columns, targets, lengths, rows)


def batches_by_width(lines: LineDataset, sizes: Sizes) -> list[LineBatch]:
    """Return all lines in batches of these sizes, the narrowest lines first."""
    order = np.argsort(lines.widths, kind="stable")
    return [line_batch(lines, rows) for rows in np.split(order, np.cumsum(sizes)[:-1])]


class LineSource:
    """The batches of any epoch of a run, the same each time; real lines are distorted anew.

    ConfigError: there is nothing to learn from.
    """

    def __init__(self, config: RunConfig, data: LineSplits) -> None:
        if not len(data.train) and data.characters is None:
            raise ConfigError(f"data.dataset: {data.name} has no lines to train on")
        self._train, self._characters = data.train, data.characters
        self._synthesis = config.synthesis
        self._seed = config.train.seed
        self.size = config.epoch_size(len(data.train))
        batch_size = config.train.batch_size
        steps = config.train.steps_per_epoch(self.size)
        sizes = np.diff([*range(0, steps * batch_size, batch_size), self.size])
        self._chunks = [sizes[first : first + _BATCHES] for first in range(0, steps, _BATCHES)]

    def __len__(self) -> int:
        """The number of chunks in an epoch."""
        return len(self._chunks)

    @cached_property
    def _synthesizer(self) -> LineSynthesizer:
        assert self._characters is not None
        assert self._synthesis is not None
        return LineSynthesizer(self._characters, self._synthesis)

    def chunk(self, number: int) -> list[LineBatch]:
        """Return the batches of chunk `number` of the run, in an order drawn at random."""
        epoch, index = divmod(number, len(self))
        sizes, train = self._chunks[index], self._train
        rng = np.random.default_rng((self._seed, epoch, index))
        rows = self._real_rows(epoch, index)
        strips = [distorted(train.strip(row), rng) for row in rows]
        texts = [train.texts[row] for row in rows]
        if composed := int(sizes.sum()) - len(rows):
            lines = self._synthesizer.batch(composed, int(rng.integers(2**32)))
            strips += [lines.strip(row) for row in range(composed)]
            texts += lines.texts
        batches = batches_by_width(LineDataset.of(strips, texts, self._train.alphabet), sizes)
        return [batches[place] for place in rng.permutation(len(batches))]

    def answer(self, number: int) -> Iterator[list[LineBatch]]:
        """Yield chunk `number`."""
        yield self.chunk(number)

    def _real_rows(self, epoch: int, index: int) -> Rows:
        """Return the real lines of a chunk: all in a random order, then all in another."""
        count, counts = len(self._train), [*map(self._real_in, self._chunks)]
        first = sum(counts[:index])
        turns = range(first // max(count, 1), -(-(first + counts[index]) // max(count, 1)))
        rngs = [np.random.default_rng((self._seed, epoch, turn, 1)) for turn in turns]
        order = np.concatenate([np.zeros(0, np.int64), *(rng.permutation(count) for rng in rngs)])
        return order[first - turns.start * count :][: counts[index]]

    def _real_in(self, sizes: Sizes) -> int:
        """Return how many lines of batches of `sizes` are real."""
        if not len(self._train):
            return 0
        share = self._synthesis.share if self._synthesis else 0.0
        return int(sizes.sum() - np.rint(share * sizes).sum())


class LineFeed:
    """Hands out the batches of a source, composed ahead by as many processes as `workers`.

    Without workers they are composed when they are needed; the bits are the same.
    """

    def __init__(self, source: LineSource, workers: int) -> None:
        self._source = source
        self._workers = [Worker(source.answer) for _ in range(workers)]
        self._requested = 0

    def epoch(self, epoch: int) -> Iterator[LineBatch]:
        """Yield the batches of `epoch`; no epoch comes before an earlier one."""
        first, count = epoch * len(self._source), len(self._workers)
        for number in range(first, first + len(self._source)):
            if not count:
                yield from self._source.chunk(number)
                continue
            for ahead in range(max(self._requested, number), number + count + 1):
                self._workers[ahead % count].send(ahead)
            self._requested = number + count + 1
            yield from self._workers[number % count].receive()

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()


def distorted(strip: Strip, rng: np.random.Generator) -> Strip:
    """Return `strip` mildly changed: size, slant, rotation, place, pen, contrast."""
    height, width = strip.shape
    scale_x, scale_y, contrast = 1 + rng.uniform(-1, 1, 3) * (_SCALE, _SCALE, _CONTRAST)
    shear, degrees, thickness, *shift = rng.uniform(-1, 1, 5) * (
        _SHEAR, _ROTATION_DEGREES, _THICKNESS, _SHIFT_PIXELS, _SHIFT_PIXELS,
    )  # fmt: skip
    wide = max(COLUMN_WIDTH, round(width * scale_x))
    # From a place in the new strip to one in the old, both seen from the centre.
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[cosine, sine], [-sine, cosine]])
    matrix = matrix @ np.array([[1 / scale_x, shear], [0, 1 / scale_y]])
    offset = np.array([width / 2, height / 2]) + shift - matrix @ [wide / 2, height / 2]
    image = Image.fromarray(strip)
    pen = image.filter(ImageFilter.MaxFilter(3) if thickness > 0 else ImageFilter.MinFilter(3))
    changed = Image.blend(image, pen, abs(thickness)).transform(
        (wide, height), Image.Transform.AFFINE,
        (*matrix[0], offset[0], *matrix[1], offset[1]),
        Image.Resampling.BILINEAR, fillcolor=PAPER,
    )  # fmt: skip
    depths = np.asarray(changed, np.float32)
    depths -= np.median(depths)  # a thicker pen lifts the noise of the paper as well
    levels = PAPER + depths * np.float32(contrast)
    return np.asarray(np.rint(levels).clip(0, 255), np.uint8)
