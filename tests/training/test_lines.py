from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import line_config
from penstroke.config.settings import RunConfig
from penstroke.data.dataset import sealed
from penstroke.data.edits import edit_distance
from penstroke.data.line_batches import LineFeed, LineSource, batches_by_width, distorted
from penstroke.data.lines import LineDataset, LineSplits
from penstroke.data.run_data import load_data
from penstroke.errors import SealedTestError
from penstroke.models.build import network_for
from penstroke.preprocessing.strips import PAPER
from penstroke.training.checkpoint import Checkpoint
from penstroke.training.line_step import ctc, greedy, logits_by_width, score_lines
from penstroke.training.loop import Epoch, fit


def splits(config: RunConfig) -> LineSplits:
    data = load_data(config)
    assert isinstance(data, LineSplits)
    return data


@pytest.fixture(scope="module")
def data() -> LineSplits:
    return splits(line_config())


def with_real(data: LineSplits) -> LineSplits:
    """The same data with its validation lines as real training lines."""
    return LineSplits(
        "real", data.validation, data.validation, data.test, "f" * 64, data.characters
    )


def bits(epoch: Epoch) -> bytes:
    facts = {k: v for k, v in epoch.state.facts.items() if k != "elapsed_seconds"}
    return Checkpoint(epoch.state.arrays, facts).to_bytes()


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_resumed_to_the_same_bits(data: LineSplits, ema_decay: float) -> None:
    config = line_config(epochs=2, ema_decay=ema_decay).replace({
        "model.dropout": 0.1, "synthesis.lines_per_epoch": 60, "train.precision": "bfloat16",
    })  # fmt: skip
    first, second = fit(config, with_real(data))
    state = Checkpoint.from_bytes(first.state.to_bytes())
    (resumed,) = fit(config, with_real(data), state)
    assert bits(resumed) == bits(second)


def test_batches_composed_by_a_process_are_those_composed_here(data: LineSplits) -> None:
    config = line_config().replace({"synthesis.lines_per_epoch": 16 * 35 + 1})
    source = LineSource(config, with_real(data))
    assert len(source) == 3
    here, there = LineFeed(source, workers=0), LineFeed(source, workers=1)
    try:
        for epoch in (1, 2):
            pairs = list(zip(here.epoch(epoch), there.epoch(epoch), strict=True))
            assert [len(batch) for batch, _ in pairs].count(17) == 1, "a single line joins others"
            assert sum(len(batch) for batch, _ in pairs) == source.size == 561
            for one, other in pairs:
                assert np.array_equal(one.strips, other.strips)
                assert np.array_equal(one.targets, other.targets)
    finally:
        there.close()


def test_epochs_differ_and_real_lines_take_their_turn() -> None:
    strips = [np.full((32, 40 + row), PAPER + row, np.uint8) for row in range(10)]
    texts = [chr(ord("a") + row) for row in range(10)]
    lines = LineDataset.of(strips, texts)
    real = LineSplits("real", lines, lines, None, "f" * 64)  # type: ignore[arg-type]
    config = line_config(batch_size=3).replace({"synthesis": None, "data.dataset": "real"})
    source = LineSource(config, real)
    for epoch in (1, 2):
        targets = [batch.targets[:, 0] for batch in LineFeed(source, 0).epoch(epoch)]
        assert [len(one) for one in targets] == [3, 3, 4] or sorted(map(len, targets)) == [3, 3, 4]
        assert sorted(np.concatenate(targets).tolist()) == list(range(1, 11))
    orders = [source._real_rows(epoch, 0).tolist() for epoch in (1, 2)]
    assert orders[0] != orders[1]


def test_share_of_composed_lines(data: LineSplits) -> None:
    config = line_config().replace({"synthesis.share": 0.25})
    source = LineSource(config, with_real(data))
    counts = [len(source._real_rows(1, 0)), len(source._real_rows(2, 0))]
    assert counts == [192, 192]
    assert set(source._real_rows(1, 0)) == set(range(100)), "each before any comes again"


def test_distorted_lines_stay_lines(data: LineSplits) -> None:
    rng = np.random.default_rng(0)
    strip = data.validation.strip(0)
    for _ in range(20):
        changed = distorted(strip, rng)
        assert changed.shape[0] == 32
        assert 0.9 * strip.shape[1] - 1 <= changed.shape[1] <= 1.1 * strip.shape[1] + 1
        assert abs(float(np.median(changed)) - PAPER) <= 1
    blank = np.full((32, 50), PAPER, np.uint8)
    assert (distorted(blank, rng) == PAPER).all()


def test_batches_are_padded_with_paper_to_whole_columns(data: LineSplits) -> None:
    lines = data.validation
    batches = batches_by_width(lines, np.array([60, 40]))
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(100))
    for batch in batches:
        assert batch.strips.shape[2] == 4 * batch.columns.max()
        for place, row in enumerate(batch.rows):
            width = lines.widths[row]
            assert batch.columns[place] == -(-width // 4)
            assert np.array_equal(batch.strips[place, :, :width], lines.strip(row))
            assert (batch.strips[place, :, width:] == PAPER).all()
            text = "".join(lines.alphabet[k - 1] for k in batch.targets[place] if k)
            assert text == lines.texts[row]


def test_greedy_merges_and_drops_blanks() -> None:
    path = torch.tensor([[1, 1, 0, 1, 2, 2], [0, 0, 3, 0, 0, 1]])
    read = greedy(torch.nn.functional.one_hot(path, 4).float(), torch.tensor([6, 5]))
    assert read.tolist() == [[1, 1, 2, 0, 0, 0], [3, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [("", "", 0), ("12", "", 2), ("", "7", 1), ("1234", "124", 1), ("19,5", "1.95", 2),
     ("kitten", "sitting", 3)],
)  # fmt: skip
def test_edit_distance(one: str, other: str, edits: int) -> None:
    assert edit_distance(one, other) == edits


def test_scores_are_those_of_each_line_alone(data: LineSplits) -> None:
    network = network_for(line_config().model, data.train)
    lines = data.validation.subset(np.arange(5))
    loss, accuracy, error_rate = score_lines(network, lines)
    losses, exact = zip(*(
        score_lines(network, lines.subset(np.array([row])))[:2] for row in range(5)
    ), strict=True)  # fmt: skip
    # Beside wider lines there is more paper, which the last columns see.
    assert loss == pytest.approx(np.mean(losses), rel=0.02)
    assert accuracy == np.mean(exact)
    assert error_rate > 0
    for batch, logits in logits_by_width(network, lines):
        assert logits.shape == (5, batch.columns.max(), 1 + len(lines.alphabet))
        assert float(ctc(logits, batch)[0]) == pytest.approx(loss, rel=1e-5)


def test_the_test_lines_are_sealed(data: LineSplits) -> None:
    assert len(data.test) == 200
    with sealed(), pytest.raises(SealedTestError):
        data.test.unseal()
    assert len(data.test.unseal()) == 200
