from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch

from helpers import random_images
from penstroke.config.recipes import load_recipe
from penstroke.inference.recognizer import Recognizer, model_metadata
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_onnx
from penstroke.preprocessing.ink import DEFAULT_INK


@pytest.mark.parametrize(
    "recipe", ["balanced", "best", "baseline-mlp", "one-conv-trial-6", "workflow-cnn"]
)
def test_onnx_equals_torch_at_every_batch_size(recipe: str) -> None:
    torch.manual_seed(0)
    model = load_recipe(recipe).model
    network = build_network(model, num_classes=10, mean=0.13, std=0.31).train()
    network(torch.rand(64, 1, 28, 28))  # gives batch norm something to have measured
    network.eval()
    content = export_onnx(network, {"classes": ["é", 1]})
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 7):
        images = random_images(batch)
        (logits,) = session.run(None, {"images": images})
        with torch.inference_mode():
            expected = network(torch.from_numpy(images).unsqueeze(1).float() / 255).numpy()
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["é", 1]


def test_export_prints_nothing_and_leaves_the_network_usable(
    capfd: pytest.CaptureFixture[str],
) -> None:
    network = build_network(load_recipe("balanced").model, num_classes=3, mean=0.0, std=1.0)
    recognizer = Recognizer.from_bytes(export_onnx(network, model_metadata("abc", DEFAULT_INK)))
    assert recognizer.classes == ("a", "b", "c")
    assert capfd.readouterr() == ("", "")
    network.train()(torch.rand(2, 1, 28, 28)).sum().backward()
