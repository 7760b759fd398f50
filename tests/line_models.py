"""Readers of lines for tests: files of networks that have learned nothing."""

from __future__ import annotations

from pathlib import Path

from penstroke.config.settings import CRNNConfig
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_line_onnx

ALPHABET = "0123456789,.-"


def line_model(seed: int = 1, alphabet: str = ALPHABET, **facts: object) -> bytes:
    """Return the file of a small network."""
    config = CRNNConfig(filters=(4, 4, 8, 8, 8, 8), context=3)
    network = build_network(config, num_classes=1 + len(alphabet), mean=0.3, std=0.1, seed=seed)
    metadata = {
        "penstroke_format": 1, "kind": "lines", "alphabet": alphabet, "temperature": 1.0,
        "confidence_threshold": 0.5, "operating_points": [], "dataset": "synthetic", **facts,
    }  # fmt: skip
    return export_line_onnx(network, metadata)


def write_line_model(path: Path, alphabet: str = ALPHABET) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(line_model(alphabet=alphabet))
    return path
