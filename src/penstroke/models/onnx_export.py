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
from penstroke.models.quantization import quantize
from penstroke.preprocessing.strips import COLUMN_WIDTH, PAPER, STRIP_HEIGHT

_FEW = 256
"""Weights: so few are not worth storing in fewer bytes."""


class Deployed(nn.Module):
    """The network as it is deployed: pixels as they are stored in, logits out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 28, 28) uint8 to logits (B, K) float32."""
        logits: Tensor = self.network(images.unsqueeze(1).to(torch.float32) / 255)
        return logits


def export_onnx(
    network: nn.Module, metadata: Mapping[str, Any], *, compress: bool = False
) -> bytes:
    """Return `network` as an ONNX file: `images` uint8 (B, 28, 28) → `logits` float32 (B, K).

    Each value of `metadata` is stored as JSON under its key, with a checksum of the whole; for
    `compress` see `serialize_onnx`.
    """
    # Batch norm folds into the convolution before it; dropout is nothing in evaluation.
    example = torch.zeros(2, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    return serialize_onnx(
        Deployed(network), example, ("images", "logits"), metadata, compress=compress
    )


class DeployedLines(nn.Module):
    """A line reader as it is deployed: strips as they are stored in, log-probabilities out."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, strips: Tensor) -> Tensor:
        """Map strips (B, 32, W) uint8 to log-probabilities (B, W/4, 1+A) float32."""
        logits = self.network(strips.unsqueeze(1).to(torch.float32) / 255)
        return torch.log_softmax(logits / self.temperature, dim=2)


def export_line_onnx(
    network: nn.Module, metadata: Mapping[str, Any], *, compress: bool = False
) -> bytes:
    """Return a line reader as an ONNX file: `strips` uint8 → `log_probs`, see `DeployedLines`.

    The width W is any multiple of 4; `metadata` holds the `temperature`. For the rest see
    `export_onnx`.
    """
    example = torch.full((2, STRIP_HEIGHT, 16 * COLUMN_WIDTH), PAPER, dtype=torch.uint8)
    return serialize_onnx(
        DeployedLines(network, metadata["temperature"]), example, ("strips", "log_probs"), metadata,
        dynamic={"strips": {2: "width"}, "log_probs": {1: "columns"}},
        compress=compress,
    )  # fmt: skip


def serialize_onnx(
    network: nn.Module,
    example: Tensor,
    names: tuple[str, str],
    metadata: Mapping[str, Any],
    *,
    compress: bool = False,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
) -> bytes:
    """Return a network of one input and one output, called `names`, as an ONNX file.

    Both have a first dimension of any size, and others that `dynamic` names by their positions.
    With `compress` its weights are stored in 8 bits (`quantize`), and computed with in 32.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    graph = io.BytesIO()
    with warnings.catch_warnings():
        # The older of torch's two exporters: 0.05 s against 2.3 s (docs/decisions/0002).
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.to("cpu").eval(), (example,), graph, dynamo=False,  # type: ignore[arg-type]
            input_names=names[:1], output_names=names[1:],
            dynamic_axes={name: {0: "batch", **(dynamic or {}).get(name, {})} for name in names},
        )  # fmt: skip
    model = onnx.load_model_from_string(graph.getvalue())
    if compress:
        _compress(model.graph)
    onnx.helper.set_model_props(
        model, {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    )
    onnx.checker.check_model(model)
    checksum, _ = content_checksum(model.SerializeToString())
    model.metadata_props.add(key=CHECKSUM, value=json.dumps(checksum))
    return bytes(model.SerializeToString())


def _compress(graph: Any) -> None:
    """Store the larger weights of an ONNX graph in 8 bits, each with what makes floats of them."""
    from onnx import helper, numpy_helper

    uses = {name: node.op_type for node in graph.node for name in node.input}
    for weight in [*graph.initializer]:
        values, name = numpy_helper.to_array(weight), weight.name
        if values.dtype == "float32" and values.ndim > 1 and values.size > _FEW:
            axis = values.ndim - 1 if uses[name] == "MatMul" else int(uses[name] == "ConvTranspose")
            stored, scale = quantize(values, axis)
            parts = (name + ".int8", name + ".scale")
            weight.CopyFrom(numpy_helper.from_array(stored, parts[0]))
            graph.initializer.append(numpy_helper.from_array(scale.ravel(), parts[1]))
            node = helper.make_node("DequantizeLinear", parts, [name], axis=axis)
            graph.node.insert(0, node)
