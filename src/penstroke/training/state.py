"""From the network and optimiser to a checkpoint, and back to the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from penstroke.checkpoint import MODEL_PREFIX, Array, Checkpoint

_OPTIMIZER_PREFIX = "optimizer."


def capture(
    network: nn.Module, optimizer: torch.optim.Optimizer, facts: dict[str, Any]
) -> Checkpoint:
    """Return copies of all weights and of the optimiser's state, with `facts` beside them."""
    arrays = {MODEL_PREFIX + name: _array(t) for name, t in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        for key, tensor in values.items():
            if tensor is not None:
                arrays[f"{_OPTIMIZER_PREFIX}{index}.{key}"] = _array(tensor)
    return Checkpoint(arrays, facts)


def restore(network: nn.Module, optimizer: torch.optim.Optimizer, state: Checkpoint) -> None:
    """Put a captured state back."""
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.weights.items()})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    values: dict[int, dict[str, Tensor]] = {}
    for name, array in state.arrays.items():
        if name.startswith(_OPTIMIZER_PREFIX):
            index, key = name.removeprefix(_OPTIMIZER_PREFIX).split(".", 1)
            values.setdefault(int(index), {})[key] = _laid_out_like(parameters[int(index)], array)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": values, "param_groups": groups})


def _array(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _laid_out_like(parameter: Tensor, array: Array) -> Tensor:
    """Return `array` laid out as its parameter: the fused optimiser walks both as one."""
    tensor = torch.from_numpy(np.array(array))
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter.detach(), dtype=tensor.dtype).copy_(tensor)
