from __future__ import annotations

import numpy as np
import pytest

from penstroke.errors import CheckpointError
from penstroke.training.checkpoint import MODEL_PREFIX, Array, Checkpoint, compressed


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


def test_weights_in_eight_bits() -> None:
    kernel = np.random.default_rng(0).normal(0, 1, (5, 3, 2, 2)).astype(np.float32)
    kernel[4] = 0
    weights = {"kernel": kernel, "bias": kernel[:, 0, 0, 0], "count": np.array(7)}
    stored = {MODEL_PREFIX + name: array for name, array in compressed(weights).items()}
    read = Checkpoint.from_bytes(Checkpoint(stored).to_bytes()).weights
    assert read.keys() == weights.keys()
    assert stored["model.kernel"].dtype == np.int8
    error = np.abs(np.asarray(read["kernel"], np.float32) - kernel).max(axis=(1, 2, 3))
    assert (error <= 0.51 / 127 * np.abs(kernel).max(axis=(1, 2, 3))).all()
    assert read["bias"] == pytest.approx(weights["bias"], rel=1e-3)
    assert read["count"] == 7
