"""A network as one ONNX file, with all that a recogniser needs in its metadata."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from penstroke.config import IMAGE_SIZE
from penstroke.errors import MissingExtraError


class Deployed(nn.Module):
    """The network as it is deployed: pixels as they are stored in, logits out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 28, 28) uint8 to logits (B, K) float32."""
        logits: Tensor = self.network(images.unsqueeze(1).to(torch.float32) / 255)
        return logits


def export_onnx(network: nn.Module, metadata: Mapping[str, Any]) -> bytes:
    """Return `network` as an ONNX file: `images` uint8 (B, 28, 28) → `logits` float32 (B, K).

    Each value of `metadata` is stored as JSON under its key.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter imports it; its absence is said here
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    # Batch norm folds into the convolution before it; dropout is nothing in evaluation.
    deployed = Deployed(network).to("cpu").eval()
    example = torch.zeros(2, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            deployed, (example,), dynamo=True, verbose=False,
            input_names=["images"], output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(
        model, {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    )
    onnx.checker.check_model(model)
    stream = io.BytesIO()
    onnx.save_model(model, stream)
    return stream.getvalue()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes about torchvision's absence off the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch of its own tree specs
            yield
    finally:
        logger.setLevel(level)
