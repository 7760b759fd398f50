"""Images of lines with their texts, in zips and folders."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

Row = Sequence[str]


def line_png(text: str, paper: int = 230, height: int = 40) -> bytes:
    """A PNG of `text` on paper of one grey level; another `paper` makes other bytes of it."""
    image = Image.new("L", (20 + 14 * len(text), height), paper)
    ImageDraw.Draw(image).text((10, height // 2), text, fill=20, anchor="lm", font_size=24)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def table(header: str, rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows([header.split(","), *rows])
    return stream.getvalue()


def zip_of(path: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def folder_of(path: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def amounts(count: int, first: int = 0) -> list[str]:
    return [f"{number * 37 % 1000}.{number % 100:02d}" for number in range(first, first + count)]


def amounts_zip(path: Path, count: int = 40, header: str = "file,text", *more: Row) -> Path:
    """A zip of amounts, each in an image; `more` are the further columns of each row."""
    texts = amounts(count)
    rows = [(f"{n}.png", text, *(column[n] for column in more)) for n, text in enumerate(texts)]
    images = {f"{n}.png": line_png(text) for n, text in enumerate(texts)}
    return zip_of(path, {**images, "labels.csv": table(header, rows)})
