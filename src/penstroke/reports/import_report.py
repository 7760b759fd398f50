"""The report of an import: images as they came, beside what a network reads of them."""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from penstroke.data.dataset import Images
from penstroke.data.image_import import Import
from penstroke.data.line_import import LineImportResult
from penstroke.data.shards import EMPTY, OK, PreprocessedImages
from penstroke.data.sources.contents import Content
from penstroke.data.sources.listing import open_source
from penstroke.errors import ImageError
from penstroke.preprocessing.decoding import open_image, read_grey
from penstroke.reports.html import data_uri, png_file, png_uri, write_page

_SAMPLES, _SHOWN = 5, 24
"""Per class; per kind of suspicious image."""
_MUCH_DROPPED = 0.05
"""Share of the ink; what is dropped below it is dust."""
_TINY = 8
"""Pixels of the longer side; smaller characters have too little detail."""
_LOW = 12
"""Pixels of a line's height; a network sees it enlarged to 32."""
_THUMBNAIL, _LINE_THUMBNAIL = 168, 640
"""Pixels of the longer side."""
_BEHIND = (128, 128, 128, 255)


class ShownImage(NamedTuple):
    """One image of the source: as it came, a data URI (None if it is gone), and as it is read."""

    original: str | None
    preprocessed: Images
    label: str
    name: str


def write_import_report(result: Import[Any], path: Path) -> Path:
    """Write the page about an import to `path`."""
    refs, rows = result.refs, np.sort(np.concatenate(result.rows)).tolist()
    if isinstance(result, LineImportResult):
        suspicious = _suspicious_lines(result)
        samples = {"": _spread(rows, _SHOWN)}
    else:
        suspicious = _suspicious(result.images)
        by_class: dict[str, list[int]] = {name: [] for name in result.train.classes}
        for row in rows:
            by_class[refs[row].label].append(row)
        samples = {name: _spread(of_class, _SAMPLES) for name, of_class in by_class.items()}
    wanted = {row for _, _, notes in suspicious for row in list(notes)[:_SHOWN]}
    return write_page(
        path,
        "import.html.j2",
        name=f"Import of {result.name}",
        result=result,
        of_lines=isinstance(result, LineImportResult),
        suspicious=suspicious,
        shown=_SHOWN,
        samples=samples,
        images=_shown_images(result, sorted(wanted.union(*samples.values()))),
    )


def _spread(rows: list[int], count: int) -> list[int]:
    """Return `count` of the rows, or all if there are fewer, spread over them in their order."""
    return [rows[k * len(rows) // count] for k in range(count)] if len(rows) > count else rows


def _suspicious(images: PreprocessedImages) -> list[tuple[str, str, dict[int, str]]]:
    """Return (title, reason, note by row) of what to look at first, the worst images first."""
    is_ok = images.status == OK
    dropped = np.flatnonzero(is_ok & (images.dropped >= _MUCH_DROPPED))
    dropped = dropped[np.argsort(-images.dropped[dropped], kind="stable")]
    tiny = np.flatnonzero(is_ok & (images.sides < _TINY))
    tiny = tiny[np.argsort(images.sides[tiny], kind="stable")]
    return [
        (
            "Ink left out",
            f"Over {100 * _MUCH_DROPPED:.0f} % of the ink was taken for specks, ruled lines, edges "
            "of the paper or a neighbour's strokes. Is the character still whole?",
            {int(row): f"{100 * images.dropped[row]:.0f} % left out" for row in dropped},
        ),
        (
            "Without ink",
            "Nothing stands out from the paper. These images were left out.",
            {int(row): "" for row in np.flatnonzero(images.status == EMPTY)},
        ),
        (
            "Tiny",
            f"The longer side of the ink is less than {_TINY} pixels: details are guesswork.",
            {int(row): f"{images.sides[row]} px" for row in tiny},
        ),
    ]


def _suspicious_lines(result: LineImportResult) -> list[tuple[str, str, dict[int, str]]]:
    """Return (title, reason, note by row) of lines to look at first, the worst first."""
    images, refs = result.images, result.refs
    rows = np.concatenate(result.rows)
    pixels = np.array([images.images[row].shape[1] / len(refs[row].label) for row in rows])
    usual, order = float(np.median(pixels)), np.argsort(pixels, kind="stable")
    squeezed, sparse = (
        order[pixels[order] < usual / 3],
        order[::-1][pixels[order[::-1]] > 3 * usual],
    )
    low = rows[images.sides[rows] < _LOW]
    return [
        (
            "Narrow for its text",
            "An image is this narrow where its text has too many characters, or it is cut off. "
            f"Less than {usual / 3:.0f} pixels per character; {usual:.0f} are usual here.",
            {int(rows[k]): f"{pixels[k]:.0f} px per character" for k in squeezed},
        ),
        (
            "Wide for its text",
            "An image is this wide where its text lacks characters, or there is much empty paper. "
            f"More than {3 * usual:.0f} pixels per character; {usual:.0f} are usual here.",
            {int(rows[k]): f"{pixels[k]:.0f} px per character" for k in sparse},
        ),
        (
            "Without ink",
            "Nothing stands out from the paper. These images were left out.",
            {int(row): "" for row in np.flatnonzero(images.status == EMPTY)},
        ),
        (
            "Low",
            f"The image is less than {_LOW} pixels high: details are guesswork.",
            {int(row): f"{images.sides[row]} px" for row in low[np.argsort(images.sides[low])]},
        ),
    ]


def _shown_images(result: Import[Any], wanted: Sequence[int]) -> dict[int, ShownImage]:
    """Return what the page shows of each row; sources are read again, in order."""
    shown, first = {}, 0
    side = _LINE_THUMBNAIL if isinstance(result, LineImportResult) else _THUMBNAIL
    for part in result.parts:
        rows = [row for row in wanted if first <= row < first + len(part.images)]
        if rows:
            reader = open_source(part.source)
        for row in rows:
            ref, original = part.images[row - first], None
            with contextlib.suppress(ImageError):  # deleted since
                original = _thumbnail(reader(ref.place), side)
            pixels = result.images.images[row]
            shown[row] = ShownImage(original, pixels, ref.label, ref.name)
        first += len(part.images)
    return shown


def _thumbnail(content: Content, side: int) -> str:
    """Return an image as it came, upright and small, as a data URI."""
    if not isinstance(content, bytes):
        return png_uri(np.asarray(read_grey(content) * 255, np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_image(content) as image:
                image.draft("RGB", (side, side))
                upright = ImageOps.exif_transpose(image)
                upright.thumbnail((side, side))
                if upright.mode not in ("L", "RGB"):  # over a grey that shows dark and light ink
                    upright = upright.convert("RGBA")
                    paper = Image.new("RGBA", upright.size, _BEHIND)
                    upright = Image.alpha_composite(paper, upright).convert("RGB")
                return data_uri(png_file(upright))
        except (OSError, ValueError, SyntaxError) as error:
            raise ImageError(str(error)) from error
