"""What the peers share: MNIST as arrays, and one line of figures at the end."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

Split = tuple[np.ndarray, np.ndarray]
STARTED = time.perf_counter()


def mnist() -> tuple[Split, Split]:
    """Return (train, test), each images (N, 28, 28) uint8 and labels (N,) int64."""
    folder = Path(os.environ["PENSTROKE_DATA"]) / "mnist"
    splits = []
    for prefix in ("train", "t10k"):
        images = gzip.decompress((folder / f"{prefix}-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((folder / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())[8:]
        shaped = np.frombuffer(images, np.uint8).reshape(-1, 28, 28).copy()
        splits.append((shaped, np.frombuffer(labels, np.uint8).astype(np.int64)))
    return splits[0], splits[1]


def tell(**figures: Any) -> None:
    """Print the figures as one line of JSON."""
    print(json.dumps({"process_seconds": time.perf_counter() - STARTED, **figures}))
