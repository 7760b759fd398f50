"""Architectures, one per file, transfer of weights, and ONNX export."""
