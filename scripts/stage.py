"""Image files for the commands in the pages, made from the embedded digits."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import penstroke
from composing import compose_page, drawn_pool

_SCANS = 400


def write_scans(path: Path) -> None:
    """Write a zip with one folder per class: small scans, dark on light."""
    digits = penstroke.load_dataset("digits").train.subset(np.arange(_SCANS))
    with zipfile.ZipFile(path, "w") as archive:
        for number, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
            paper = ImageOps.expand(ImageOps.invert(Image.fromarray(image)), 10, fill=255)
            stream = io.BytesIO()
            paper.resize((96, 96), Image.Resampling.BICUBIC).save(stream, "PNG")
            archive.writestr(f"digit_{label}/{number:03d}.png", stream.getvalue())


def write_page(path: Path) -> None:
    """Write a photographed page of three lines."""
    digits = penstroke.load_dataset("digits").validation
    pool = drawn_pool(digits.images, [str(label) for label in digits.labels])
    Image.fromarray(compose_page(pool, seed=0, lines=3).image).save(path)


STAGE: Mapping[str, Callable[[Path], None]] = {"scans.zip": write_scans, "page.png": write_page}
"""By their name in the pages."""
