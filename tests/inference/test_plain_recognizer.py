"""The example that uses a model.onnx without Penstroke gives the same answers."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers import small_config, trained_run
from penstroke.data.dataset import DataSplits
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.ink import Preprocessed
from transcripts import ROOT

SCRIPT = ROOT / "examples/plain_recognizer.py"


def module() -> Any:
    spec = importlib.util.spec_from_file_location("plain_recognizer", SCRIPT)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_it_imports_three_packages_and_the_standard_library() -> None:
    imports = [node for node in ast.walk(ast.parse(SCRIPT.read_text()))
               if isinstance(node, ast.Import | ast.ImportFrom)]  # fmt: skip
    names = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else one.name
        for node in imports
        for one in node.names
    }
    assert names - sys.stdlib_module_names == {"numpy", "onnxruntime", "PIL"}


def test_the_same_answers_on_preprocessed_images(digits: DataSplits) -> None:
    path = trained_run(small_config(epochs=12), name="first").path / "model.onnx"
    ours, plain = Recognizer.load(path), module().PlainRecognizer(str(path))
    images = np.concatenate([digits.validation.images, 255 - digits.validation.images])
    _, probabilities = plain.probabilities(images)
    assert np.allclose(probabilities, ours.probabilities(images), atol=1e-6)
    answers = ours.recognize_preprocessed([Preprocessed(image, False) for image in images])
    labels = [label for label, _ in plain.recognize(images)]
    assert labels == [answer.label for answer in answers]
    assert None in labels


def test_it_runs_as_a_command(tmp_path: Path) -> None:
    path = trained_run(small_config(epochs=12), name="first").path / "model.onnx"
    blank = tmp_path / "blank.png"
    Image.new("L", (40, 40), 250).save(blank)
    words = [sys.executable, SCRIPT, path, ROOT / "examples/seven.png", blank]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("blank.png: no ink")


@pytest.mark.mnist
def test_agreement_with_our_preprocessing(mnist_runs: Path, shared: Path) -> None:
    """On photographed digits; the page states it."""
    path = mnist_runs / "mnist-fast" / "model.onnx"
    ours, plain = Recognizer.load(path), module().PlainRecognizer(str(path))
    with zipfile.ZipFile(shared / "pen-photos.zip") as photos:
        names = sorted(name for name in photos.namelist() if name.startswith("digit_"))[::5]
        images = [Image.open(io.BytesIO(photos.read(name))) for name in names]
    truth = [name.removeprefix("digit_")[0] for name in names]
    theirs = [plain.preprocess(image) for image in images]
    assert all(character is not None for character in theirs)
    labels = [plain.classes[k] for k in plain.probabilities(theirs)[1].argmax(axis=1)]
    expected = [answer.top(1)[0][0] for answer in ours.recognize(images)]
    facts = {
        "images": len(images),
        "agreement": float(np.mean([a == b for a, b in zip(labels, expected, strict=True)])),
        "plain": float(np.mean([a == b for a, b in zip(labels, truth, strict=True)])),
        "ours": float(np.mean([a == b for a, b in zip(expected, truth, strict=True)])),
    }
    print(json.dumps(facts))
    assert facts["agreement"] >= 0.98
