"""A network as one ONNX file, with all that a recogniser needs in its metadata."""

import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from penstroke.config.settings import IMAGE_SIZE
from penstroke.errors import MissingExtraError
from penstroke.inference.onnx_session import CHECKSUM, content_checksum


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

    Each value of `metadata` is stored as JSON under its key, with a checksum of the whole.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    # Batch norm folds into the convolution before it; dropout is nothing in evaluation.
    deployed = Deployed(network).to("cpu").eval()
    example = torch.zeros(2, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    graph = io.BytesIO()
    with warnings.catch_warnings():
        # The older of torch's two exporters: 0.05 s against 2.3 s (docs/decisions/0002).
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            deployed, (example,), graph, dynamo=False,  # type: ignore[arg-type]
            input_names=["images"], output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        )  # fmt: skip
    model = onnx.load_model_from_string(graph.getvalue())
    onnx.helper.set_model_props(
        model, {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    )
    onnx.checker.check_model(model)
    checksum, _ = content_checksum(model.SerializeToString())
    model.metadata_props.add(key=CHECKSUM, value=json.dumps(checksum))
    return bytes(model.SerializeToString())
