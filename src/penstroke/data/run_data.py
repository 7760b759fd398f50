"""The data of a run: images of characters, or lines, real and composed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from penstroke.config.settings import SYNTHETIC, DataConfig, RunConfig, SynthesisConfig
from penstroke.data.dataset import Dataset, DataSplits
from penstroke.data.lines import LineDataset, LineSplits
from penstroke.data.loading import load_dataset, load_lines
from penstroke.data.synthetic_lines import LineSynthesizer, composed_alphabet
from penstroke.files import sha256
from penstroke.preprocessing.strips import COLUMN_WIDTH, needed_columns

_FEWEST, _MOST = 100, 1000
"""Lines composed to validate on, where there are no real ones; to test on, twice as many."""


def load_data(config: RunConfig) -> DataSplits | LineSplits:
    """Return the images or lines that a run of `config` needs; raises as `load_dataset` does."""
    if config.reads_lines:
        return line_splits(config.data, config.synthesis)
    return load_dataset(config.data)


def line_splits(data: DataConfig, synthesis: SynthesisConfig | None) -> LineSplits:
    """Return the lines of a line reader, and the characters to compose more of."""
    lines = None if data.dataset == SYNTHETIC else _wide_enough(load_lines(data))
    if synthesis is None:
        assert lines is not None, "refused by RunConfig"
        return lines
    characters = load_dataset(
        data.replace({
            "dataset": synthesis.characters, "split_by": None, "exclude": None,
            "folds": None, "fold": None,
            "max_train_images": data.max_train_images if lines is None else None,
        })
    )  # fmt: skip
    composed = composed_alphabet(characters.train.classes, synthesis)
    if lines is None:
        count = min(max(synthesis.lines_per_epoch // 16, _FEWEST), _MOST)
        validation = empty = LineDataset.of([], [], composed)
        if len(characters.validation):
            validation = _composed(count, 0, synthesis, characters.validation)
        compose_test = partial(_composed, 2 * count, 1, synthesis)
        test = characters.test.converted(compose_test, 2 * count)
        fingerprint = characters.fingerprint
        return LineSplits(SYNTHETIC, empty, validation, test, fingerprint, characters.train)
    widen = partial(replace, alphabet="".join(sorted({*lines.alphabet, *composed})))
    return replace(
        lines,
        train=widen(lines.train),
        validation=widen(lines.validation),
        test=lines.test.converted(widen, len(lines.test)),
        fingerprint=sha256(f"{lines.fingerprint} {characters.fingerprint}".encode()),
        characters=characters.train,
    )


def _composed(
    count: int, seed: int, synthesis: SynthesisConfig, characters: Dataset
) -> LineDataset:
    return LineSynthesizer(characters, synthesis).batch(count, seed)


def _wide_enough(lines: LineSplits) -> LineSplits:
    """Return `lines` without the training lines that are too narrow for CTC to learn."""
    needed = np.array([needed_columns(text) for text in lines.train.texts], np.int64)
    rows = np.flatnonzero(-(-lines.train.widths // COLUMN_WIDTH) >= needed)
    left_out = len(lines.train) - len(rows)
    return replace(lines, train=lines.train.subset(rows), too_narrow=left_out)
