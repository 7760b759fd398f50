"""The page about an import: images as they came, and the 28×28 that a network will read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from penstroke.data.image_import import ImportResult
from penstroke.data.shards import EMPTY, OK
from penstroke.data.sources.contents import Content
from penstroke.data.sources.listing import open_source
from penstroke.errors import ImageError
from penstroke.files import write_text_atomically
from penstroke.preprocessing.decoding import read_grey
from penstroke.reports.html import render
from penstroke.reports.plots import data_uri, png_uri

_SAMPLES = 5
"""Of each class."""
_SUSPECTS = 24
"""Of each kind."""
_UNREADABLE_SHOWN = 200
_MUCH_DROPPED = 0.05
"""Share of the ink; below it, what is left out is dust."""
_TINY = 8
"""Pixels: of a character whose longer side is less, little can be told."""
_THUMBNAIL = 168
_BEHIND = (128, 128, 128, 255)


def write_page(result: ImportResult, path: Path) -> None:
    """Write the page about an import to `path`.

    Raises:
        StorageError: it cannot be written.
    """
    suspects = _suspects(result)
    samples = _samples(result)
    wanted = {row for _, _, rows in suspects for row in rows[:_SUSPECTS]}
    images = _images(result, wanted | {row for _, rows in samples for row in rows})
    page = render(
        "import.html.j2",
        name=f"Import of {result.name}",
        result=result,
        cards=_cards(result),
        suspects=[
            (title, why, len(rows), [images[row] for row in rows[:_SUSPECTS]])
            for title, why, rows in suspects
        ],
        samples=[
            (name, int(train), int(test), [images[row] for row in rows])
            for (name, rows), train, test in zip(
                samples, result.train.class_counts(), result.test.class_counts(), strict=True
            )
        ],
        unreadable=result.unreadable[:_UNREADABLE_SHOWN],
    )  # fmt: skip
    write_text_atomically(path, page)


def _cards(result: ImportResult) -> list[tuple[str, str]]:
    counts = {
        "images found": len(result.images.status),
        "for training": len(result.train),
        "for the test": len(result.test),
        "classes": len(result.train.classes),
        "without ink": len(result.empty),
        "unreadable": len(result.unreadable),
        "label conflicts": len(result.conflicts),
    }
    return [(name, f"{count:,}") for name, count in counts.items()]


def _suspects(result: ImportResult) -> list[tuple[str, str, list[int]]]:
    """Return (title, why, rows) of what should be looked at first, the worst first."""
    found = result.images
    is_ok = found.status == OK
    much = np.flatnonzero(is_ok & (found.dropped >= _MUCH_DROPPED))
    tiny = np.flatnonzero(is_ok & (found.sides < _TINY))
    return [
        (
            "Most ink left out",
            "Taken for specks, ruled lines, edges of the paper or a neighbour's strokes: more "
            f"than {100 * _MUCH_DROPPED:.0f} % of it. Is the character still whole?",
            much[np.argsort(-found.dropped[much], kind="stable")].tolist(),
        ),
        (
            "Without ink",
            "No step from paper to ink was found. These were left out.",
            np.flatnonzero(found.status == EMPTY).tolist(),
        ),
        (
            "Tiny",
            f"The longer side of the ink is less than {_TINY} pixels: enlarged, it is a guess.",
            tiny[np.argsort(found.sides[tiny], kind="stable")].tolist(),
        ),
    ]


def _samples(result: ImportResult) -> list[tuple[str, list[int]]]:
    """Return for each class some rows, spread over its images in their order."""
    rows = np.sort(np.concatenate(result.rows))
    refs = result.refs
    by_class: dict[str, list[int]] = {name: [] for name in result.train.classes}
    for row in rows.tolist():
        by_class[refs[row].label].append(row)
    return [
        (name, [found[k * len(found) // _SAMPLES] for k in range(_SAMPLES)])
        if len(found) > _SAMPLES else (name, found)
        for name, found in by_class.items()
    ]  # fmt: skip


def _images(result: ImportResult, wanted: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return what the page shows of each row; sources are read again, forward."""
    shown = {}
    first = 0
    for part in result.parts:
        rows = sorted(row for row in wanted if first <= row < first + len(part.images))
        reader = open_source(part.source) if rows else None
        for row in rows:
            ref = part.images[row - first]
            assert reader is not None
            try:
                came = _thumbnail(reader.read(ref.place))
            except ImageError:  # it went away since
                came = None
            shown[row] = {
                "came": came,
                "preprocessed": png_uri(result.images.images[row]),
                "label": ref.label,
                "name": ref.name,
                "dropped": float(result.images.dropped[row]),
                "side": int(result.images.sides[row]),
            }
        first += len(part.images)
    return shown


def _thumbnail(content: Content) -> str:
    """Return an image as it came, upright and small, as a data URI."""
    if not isinstance(content, bytes):
        return png_uri(np.asarray(read_grey(content) * 255, np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
                upright = ImageOps.exif_transpose(image)
                upright.thumbnail((_THUMBNAIL, _THUMBNAIL))
                stream = io.BytesIO()
                _without_alpha(upright).save(stream, "PNG")
        except (OSError, ValueError, SyntaxError) as error:
            raise ImageError(str(error)) from error
    return data_uri(stream.getvalue())


def _without_alpha(image: Image.Image) -> Image.Image:
    """Return the image over a grey that shows dark ink and light, where it is transparent."""
    if image.mode in ("L", "RGB"):
        return image
    seen = image.convert("RGBA")
    paper = Image.new("RGBA", seen.size, _BEHIND)
    return Image.alpha_composite(paper, seen).convert("RGB")
