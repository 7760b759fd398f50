from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import PLAIN_PAPER, Outcome, line_config
from penstroke.data import store
from penstroke.data.lines import LineDataset, LineSplits
from penstroke.data.loading import imported_folder
from penstroke.data.run_data import load_data
from penstroke.files import runs_root
from penstroke.inference.onnx_session import open_session
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_line_onnx
from penstroke.preprocessing.strips import PAPER
from penstroke.runs.finetuning import find_pretrained
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


def test_weights_in_8_bits_and_temperature(line_run: Run) -> None:
    network = load_network(line_run)
    small = export_line_onnx(network, {"temperature": 2.0}, compress=True)
    assert len(small) < 0.5 * len(line_run.read_model())
    strips = np.full((1, 32, 80), PAPER, np.uint8)
    strips[0, 8:24, 20:24] = 250
    (log_probs,) = open_session(small, "small").run(None, {"strips": strips})
    with torch.inference_mode():
        logits = network(torch.from_numpy(strips)[:, None].float() / 255)
    np.testing.assert_allclose(log_probs, (logits / 2).log_softmax(2), atol=0.1)


def test_finetuning_keeps_the_rows_of_known_characters(line_run: Run) -> None:
    pretrained = find_pretrained(str(line_run.path))
    assert pretrained.classes[0] == "", "the blank"
    network = build_network(line_config().model, num_classes=4, mean=0.25, std=0.15)
    new = network.state_dict()["output.weight"][2].clone()
    pretrained.copy_into(network, ("", "9", "a", "0"))
    rows, trained = network.state_dict()["output.weight"], pretrained.weights["output.weight"]
    for row, name in ((0, ""), (1, "9"), (3, "0")):
        assert np.array_equal(rows[row], trained[pretrained.classes.index(name)])
    assert torch.equal(rows[2], new), "a new character starts at random"


def test_finetuning_on_real_lines_with_synthetic_ones(
    line_run: Run, penstroke: Callable[..., Outcome]
) -> None:
    data = load_data(line_run.record.config)
    assert isinstance(data, LineSplits)
    strips = [data.validation.strip(row) for row in range(40)]
    texts = [text.replace("1", "x") for text in data.validation.texts[:40]]
    narrow = np.full((32, 16), PAPER, np.uint8)
    real = LineDataset.of([*strips, narrow], [*texts, "0123456789"])
    store.save(imported_folder("cells"), "cells", real, real.subset(np.arange(20)))
    settings = [f"synthesis.{name}={value}" for name, value in PLAIN_PAPER.items()]
    settings += ["synthesis.characters=digits", "synthesis.lines_per_epoch=64", "train.threads=1"]
    settings += ["train.batch_size=16", "train.precision=float32", "data.validation_fraction=0.2"]
    done = penstroke(
        "train", "--init-from", line_run.path, "--dataset", "cells", "--epochs", 1, "--name",
        "tuned", *(word for one in settings for word in ("--set", one)),
    )  # fmt: skip
    assert done.exit_code == 0, done.err
    assert "1 training lines are left out" in done.err + done.out
    run = Run.open(runs_root() / "tuned")
    assert run.record.pretrained is not None
    assert run.record.pretrained.new_classes == ("x",)
    assert set("".join(run.record.data.classes)) == {*data.alphabet, "x"}
    assert (run.record.data.test_images, run.status) == (20, "finished")
    other = penstroke("train", "fast", "--init-from", line_run.path)
    assert other.exit_code == 2
    assert "reads lines, but the recipe fast is for single characters" in " ".join(
        other.err.split()
    )


def test_what_line_readers_cannot_do_is_refused(penstroke: Callable[..., Outcome]) -> None:
    for words, message in (
        (("train", "numbers", "--ensemble", 2), "--ensemble is for recognisers of single"),
        (("train", "numbers", "--folds", 3), "data.folds: synthetic lines are new in each epoch"),
        (("train", "numbers", "--set", "train.balance=0.5"), "train.balance: is for characters"),
        (("check", "numbers"), "the checks are for recipes of single characters"),
    ):
        done = penstroke(*words)
        assert done.exit_code in (1, 2)
        assert message in " ".join(done.err.split())


def test_lines_of_a_list_of_texts(tmp_path: Path, penstroke: Callable[..., Outcome]) -> None:
    own, blank, foreign = (tmp_path / f"{name}.txt" for name in ("own", "blank", "foreign"))
    own.write_text("\ufeff12-7\n\n  7 12 \n", "utf-8")
    blank.write_text("\n \n")
    foreign.write_text("12\nNo 12\n")
    words = ("train", "numbers", "--set", "synthesis.characters=digits", "--dry-run", "--json")
    plan = json.loads(penstroke(*words, "--texts", own).out)
    assert plan["config"]["synthesis"]["texts"] == ["12-7", "7 12"]
    for path, message in (
        (blank, "blank.txt: holds no text"),
        (tmp_path / "none.txt", "cannot read"),
        (foreign, "synthesis.texts: 'No 12' cannot be composed: digits has no images of N o;"),
    ):
        refused = penstroke(*words, "--texts", path)
        assert (refused.exit_code, refused.out) == (2, "")
        assert message in " ".join(refused.err.split())


def test_a_plan_counts_lines(penstroke: Callable[..., Outcome]) -> None:
    done = penstroke(
        "train", "numbers", "--dry-run", "--json", "--set", "synthesis.characters=digits"
    )
    assert json.loads(done.out)["lines_seen"] == 30 * 32_000
