from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from helpers import line_config
from penstroke.data.lines import LineSplits
from penstroke.data.run_data import load_data
from penstroke.inference.onnx_session import open_session
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_line_onnx
from penstroke.preprocessing.strips import PAPER
from penstroke.runs.finetuning import find_pretrained
from penstroke.runs.pipeline import start_or_resume
from penstroke.runs.run import Run
from penstroke.runs.trained import load_network


def test_a_line_run_learns_and_says_so(line_run: Run) -> None:
    summary = line_run.summary()
    assert summary.test_accuracy is not None
    assert summary.test_accuracy > 0.15, "of thousands of possible texts"
    assert summary.val_character_error_rate is not None
    assert summary.test_character_error_rate is not None
    assert summary.test_character_error_rate < 0.45
    kept = line_run.history()[line_run.best_epoch() - 1]
    # While it trains the likeliest path is taken, in the end the likeliest text.
    assert summary.val_accuracy == pytest.approx(kept["val_accuracy"], abs=0.1)
    assert summary.val_character_error_rate == pytest.approx(
        kept["val_character_error_rate"], abs=0.1
    )
    assert len((line_run.path / "test_openings.jsonl").read_text().splitlines()) == 1
    assert line_run.total_epochs == 16


def test_the_model_file_computes_what_torch_does_at_any_width(line_run: Run) -> None:
    session = open_session(line_run.read_model(), "model")
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["kind"] == '"lines"'
    temperature = json.loads(metadata["temperature"])
    assert temperature == line_run.summary().temperature
    data = load_data(line_run.record.config)
    assert isinstance(data, LineSplits)
    network = load_network(line_run)
    for count, width in ((1, 16), (3, 100), (2, 640)):
        strips = np.random.default_rng(width).integers(0, 256, (count, 32, width), np.uint8)
        (log_probs,) = session.run(["log_probs"], {"strips": strips})
        with torch.inference_mode():
            logits = network(torch.from_numpy(strips)[:, None].float() / 255)
        assert log_probs.shape == (count, width // 4, 1 + len(data.alphabet))
        np.testing.assert_allclose(log_probs, (logits / temperature).log_softmax(2), atol=1e-4)


def test_half_precision_and_temperature(line_run: Run) -> None:
    network = load_network(line_run)
    half = export_line_onnx(network, {"temperature": 2.0}, half_precision=True)
    assert len(half) < 0.7 * len(line_run.read_model())
    strips = np.full((1, 32, 80), PAPER, np.uint8)
    strips[0, 8:24, 20:24] = 250
    (log_probs,) = open_session(half, "half").run(None, {"strips": strips})
    with torch.inference_mode():
        logits = network(torch.from_numpy(strips)[:, None].float() / 255)
    np.testing.assert_allclose(log_probs, (logits / 2).log_softmax(2), atol=0.02)


def test_finetuning_keeps_the_rows_of_known_characters(line_run: Run) -> None:
    pretrained = find_pretrained(str(line_run.path))
    assert pretrained.classes[0] == "", "the blank"
    config = line_config(epochs=1).replace({"synthesis.content": "numbers"})
    training = start_or_resume(config, stem="tuned", pretrained=pretrained)
    assert training.run.record.pretrained is not None
    assert training.run.record.pretrained.new_classes == ()
    classes = ("", "9", "a", "0")
    network = build_network(config.model, num_classes=4, mean=0.25, std=0.15)
    before = network.state_dict()["output.weight"].clone()
    pretrained.copy_into(network, classes)
    rows, trained = network.state_dict()["output.weight"], pretrained.weights["output.weight"]
    for row, name in ((0, ""), (1, "9"), (3, "0")):
        place = pretrained.classes.index(name)
        assert np.array_equal(rows[row], trained[place])
    assert torch.equal(rows[2], before[2]), "a new character starts at random"
