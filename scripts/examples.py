"""Writes examples/page.png and examples/digits.zip, from the digits that come with scikit-learn."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from PIL import Image, ImageOps

import penstroke
from composing import compose_page, drawn_pool

EXAMPLES = Path(__file__).parents[1] / "examples"
_SIDE = 64  # pixels


def write_scans(path: Path) -> None:
    """Write a zip with one folder per class: small scans of validation images, dark on light."""
    digits = penstroke.load_dataset("digits").validation
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
            paper = ImageOps.expand(ImageOps.invert(Image.fromarray(image)), 10, fill=255)
            stream = io.BytesIO()
            paper.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(stream, "PNG")
            file = zipfile.ZipInfo(f"digit_{label}/{number:03d}.png")  # of no date: always the same
            archive.writestr(file, stream.getvalue())


def write_page(path: Path) -> None:
    """Write a photographed page of three lines."""
    digits = penstroke.load_dataset("digits").validation
    pool = drawn_pool(digits.images, [str(label) for label in digits.labels])
    page = Image.fromarray(compose_page(pool, seed=0, lines=3).image)
    page.save(path, optimize=True)


if __name__ == "__main__":
    write_scans(EXAMPLES / "digits.zip")
    write_page(EXAMPLES / "page.png")
