"""The page about an import: images as they came, and the 28×28 that a network will read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from penstroke.data.image_import import Imported
from penstroke.data.shards import EMPTY, OK, entries_of
from penstroke.data.sources.entries import Content
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


def write_page(made: Imported, path: Path) -> None:
    """Write the page about an import to `path`.

    Raises:
        StorageError: it cannot be written.
    """
    suspects = _suspects(made)
    samples = _samples(made)
    wanted = {row for _, _, rows in suspects for row in rows[:_SUSPECTS]}
    images = _images(made, wanted | {row for _, rows in samples for row in rows})
    page = render(
        "import.html.j2",
        name=f"Import of {made.name}",
        made=made,
        cards=_cards(made),
        suspects=[
            (title, why, len(rows), [images[row] for row in rows[:_SUSPECTS]])
            for title, why, rows in suspects
        ],
        samples=[
            (name, int(train), int(test), [images[row] for row in rows])
            for (name, rows), train, test in zip(
                samples, made.train.class_counts(), made.test.class_counts(), strict=True
            )
        ],
        unreadable=made.unreadable[:_UNREADABLE_SHOWN],
    )  # fmt: skip
    write_text_atomically(path, page)


def _cards(made: Imported) -> list[tuple[str, str]]:
    counts = {
        "images found": len(made.readings.status),
        "for training": len(made.train),
        "for the test": len(made.test),
        "classes": len(made.train.classes),
        "without ink": len(made.empty),
        "unreadable": len(made.unreadable),
        "label conflicts": len(made.conflicts),
    }
    return [(name, f"{count:,}") for name, count in counts.items()]


def _suspects(made: Imported) -> list[tuple[str, str, list[int]]]:
    """Return (title, why, rows) of what should be looked at first, the worst first."""
    found = made.readings
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


def _samples(made: Imported) -> list[tuple[str, list[int]]]:
    """Return for each class some rows, spread over its images in their order."""
    rows = np.sort(np.concatenate(made.rows))
    entries = entries_of(made.parts)
    by_class: dict[str, list[int]] = {name: [] for name in made.train.classes}
    for row in rows.tolist():
        by_class[entries[row].label].append(row)
    return [
        (name, [found[k * len(found) // _SAMPLES] for k in range(_SAMPLES)])
        if len(found) > _SAMPLES else (name, found)
        for name, found in by_class.items()
    ]  # fmt: skip


def _images(made: Imported, wanted: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return what the page shows of each row; sources are read again, forward."""
    shown = {}
    first = 0
    for part in made.parts:
        rows = sorted(row for row in wanted if first <= row < first + len(part.entries))
        reader = open_source(part.source) if rows else None
        for row in rows:
            entry = part.entries[row - first]
            assert reader is not None
            try:
                came = _thumbnail(reader.read(entry.place))
            except ImageError:  # it went away since
                came = None
            shown[row] = {
                "came": came,
                "preprocessed": png_uri(made.readings.images[row]),
                "label": entry.label,
                "name": entry.name,
                "dropped": float(made.readings.dropped[row]),
                "side": int(made.readings.sides[row]),
            }
        first += len(part.entries)
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
