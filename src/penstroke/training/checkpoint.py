"""Checkpoints: arrays and facts in one safetensors file with a checksum. Nothing is pickled.

One file, so that weights and facts always belong to the same moment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from penstroke.errors import CheckpointError
from penstroke.models.quantization import quantize

Array = npt.NDArray[np.generic]

MODEL_PREFIX = "model."
"""Prefix of the network's arrays, as opposed to the optimiser's."""

_KEY = "penstroke"
_SCALE = "#scale"
"""After the name of weights that are stored in 8 bits: by what they are multiplied."""


@dataclass(frozen=True)
class Checkpoint:
    """Arrays, such as weights (`model.…`) and optimiser state (`optimizer.…`), and JSON `facts`."""

    arrays: Mapping[str, Array]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Array]:
        """The network's arrays, by their names inside the network."""
        stored = self.under(MODEL_PREFIX)
        scales = {
            name: stored.pop(name + _SCALE).astype(np.float32)
            for name in [*stored]
            if name + _SCALE in stored
        }
        return {
            name: array.astype(np.float32) * scales[name] if name in scales else array
            for name, array in stored.items()
        }

    def under(self, prefix: str) -> dict[str, Array]:
        """Return the arrays whose names begin with `prefix`, by the rest of their names."""
        arrays = self.arrays.items()
        return {k.removeprefix(prefix): array for k, array in arrays if k.startswith(prefix)}

    def to_bytes(self) -> bytes:
        """Return the checkpoint as one safetensors file; equal checkpoints give equal bytes."""
        header = json.dumps({"facts": self.facts, "sha256": _digest(self.arrays)}, sort_keys=True)
        # safetensors reads raw memory: an array in another order would be stored wrongly.
        in_order = {name: np.asarray(array, order="C") for name, array in self.arrays.items()}
        return safetensors.numpy.save(in_order, metadata={_KEY: header})

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "checkpoint") -> Checkpoint:
        """Read what `to_bytes` wrote; CheckpointError with `name` if it is damaged or changed."""
        try:
            arrays = safetensors.numpy.load(content)
            length = int.from_bytes(content[:8], "little")
            header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
            facts, digest = dict(header["facts"]), header["sha256"]
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{name} is cut short or damaged: {error}") from error
        if _digest(arrays) != digest:
            raise CheckpointError(f"{name} was changed: its arrays do not match their checksum")
        return cls(arrays, facts)


def compressed(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Return float `weights` for `Checkpoint`, matrices and kernels in 8 bits, others in 16."""
    arrays: dict[str, Array] = {}
    for name, array in weights.items():
        if array.dtype.kind != "f":
            arrays[name] = array
        elif array.ndim > 1:
            arrays[name], arrays[name + _SCALE] = quantize(array)
        else:
            arrays[name] = array.astype(np.float16)
    return arrays


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
