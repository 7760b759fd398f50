"""Weights in 8 bits: a quarter of the bytes, each output of a layer with a scale of its own."""

import numpy as np
import numpy.typing as npt


def quantize(
    weights: npt.NDArray[np.generic], axis: int = 0
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return matrices or kernels in 8 bits, and by what to multiply them to have them back.

    Along `axis` are a layer's outputs; the largest weight of each becomes 127. The scales have the
    dimensions of `weights`, all but `axis` of length 1. Weights are rounded to 16 bits first, so
    that what was stored in 16 bits gives the same.
    """
    values = weights.astype(np.float16).astype(np.float32)
    others = tuple(other for other in range(values.ndim) if other != axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    scale = (np.where(largest, largest, 1) / 127).astype(np.float32)
    return np.rint(values / scale).astype(np.int8), scale
