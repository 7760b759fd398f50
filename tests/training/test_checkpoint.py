from __future__ import annotations

import numpy as np
import pytest

from penstroke.errors import CheckpointError
from penstroke.training.checkpoint import Array, Checkpoint


def checkpoint() -> Checkpoint:
    arrays: dict[str, Array] = {
        "model.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "optimizer.0.step": np.full((), 3, np.float32),
        "model.empty": np.zeros((0, 4), np.int64),
    }
    return Checkpoint(arrays, {"epoch": 3, "best": {"score": -0.1}})


def test_round_trip_to_the_bit() -> None:
    content = checkpoint().to_bytes()
    again = Checkpoint.from_bytes(content)
    assert again.facts == checkpoint().facts
    assert {k: (v.dtype, v.tolist()) for k, v in again.arrays.items()} == {
        k: (v.dtype, v.tolist()) for k, v in checkpoint().arrays.items()
    }
    assert again.to_bytes() == content == checkpoint().to_bytes()


def test_weights_go_by_the_networks_own_names() -> None:
    assert set(checkpoint().weights) == {"weight", "empty"}


def test_cut_anywhere_is_noticed() -> None:
    content = checkpoint().to_bytes()
    for length in range(len(content)):
        with pytest.raises(CheckpointError, match="cut short or damaged"):
            Checkpoint.from_bytes(content[:length])


def test_every_flipped_bit_of_an_array_is_noticed() -> None:
    content = checkpoint().to_bytes()
    body = 8 + int.from_bytes(content[:8], "little")
    for place in range(body, len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x10
        with pytest.raises(CheckpointError, match="changed"):
            Checkpoint.from_bytes(bytes(changed), "epoch-0003")


def test_somebody_elses_safetensors_is_refused() -> None:
    from safetensors.numpy import save

    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.from_bytes(save({"weight": np.zeros(3)}))
