"""Runs that read lines, made by hand: nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from penstroke.config.settings import (
    CRNNConfig,
    DataConfig,
    Resolved,
    RunConfig,
    SynthesisConfig,
    TrainConfig,
)
from penstroke.data.lines import LineDataset
from penstroke.evaluation.line_evaluator import LineNetworkEvaluation
from penstroke.evaluation.line_metrics import LineEvaluation, LinePredictions
from penstroke.files import runs_root, sha256
from penstroke.models.build import build_network
from penstroke.runs.record import DataFacts
from penstroke.runs.run import Run, RunRecord

SMALL_CRNN = CRNNConfig(filters=(2, 2, 4, 4, 4, 4), context=3)
ALPHABET = "0123456789,. <"


def lines_read_as(pairs: Sequence[tuple[str, str]], seed: int = 0) -> LineEvaluation:
    """Lines of noise with these texts, each read as the other of its pair."""
    random = np.random.default_rng(seed)
    texts, predicted = zip(*pairs, strict=True)
    strips = [
        random.integers(40, 255, (32, 12 + 20 * len(text)), np.uint8) for text in texts
    ]  # fmt: skip
    spans = tuple(tuple((1 + 5 * k, 3 + 5 * k) for k in range(len(text))) for text in predicted)
    probabilities = random.uniform(0.3, 1, len(texts))
    predictions = LinePredictions(texts, predicted, probabilities, spans)
    return LineEvaluation(predictions, LineDataset.of(strips, texts, ALPHABET), 0.5)


def line_evaluation(**splits: LineEvaluation) -> LineNetworkEvaluation:
    network = build_network(SMALL_CRNN, num_classes=1 + len(ALPHABET), mean=0.25, std=0.15)
    return LineNetworkEvaluation(network.eval(), splits)


def made_line_run(name: str, test: LineEvaluation, dataset: str = "cells", seed: int = 0) -> Run:
    """A run directory with the predictions `test`, and a network that has learned nothing."""
    config = RunConfig(
        data=DataConfig(dataset=dataset), model=SMALL_CRNN,
        synthesis=SynthesisConfig(), train=TrainConfig(seed=seed, epochs=len(name)),
    )  # fmt: skip
    data = DataFacts(
        fingerprint=sha256(dataset.encode()), classes=("", *ALPHABET), mean=0.25, std=0.15,
        train_images=100, validation_images=10, test_images=len(test.lines),
    )  # fmt: skip
    resolved = Resolved(device="cpu", precision="float32", threads=1)
    run = Run.create(Path(runs_root()) / name, RunRecord(
        created="2026-01-01T00:00:00Z", config=config, resolved=resolved, data=data,
        versions={}, machine={},
    ))  # fmt: skip
    weights = line_evaluation(test=test).network.state_dict()
    run.write_weights({key: value.numpy() for key, value in weights.items()})
    test.predictions.save(run.path / "predictions" / "test.csv")
    return run
