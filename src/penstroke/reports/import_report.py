"""The report of an import: images as they came, beside the 28×28 that a network reads."""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from penstroke.data.dataset import Images
from penstroke.data.image_import import ImportResult
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
_THUMBNAIL = 168
_BEHIND = (128, 128, 128, 255)


class ShownImage(NamedTuple):
    """One image of the source: as it came, a data URI (None if it is gone), and as (28, 28)."""

    original: str | None
    preprocessed: Images
    label: str
    name: str


def write_import_report(result: ImportResult, path: Path) -> Path:
    """Write the page about an import to `path`."""
    suspicious, refs = _suspicious(result.images), result.refs
    by_class: dict[str, list[int]] = {name: [] for name in result.train.classes}
    for row in np.sort(np.concatenate(result.rows)).tolist():
        by_class[refs[row].label].append(row)
    # A few of each class, spread over its images in their order.
    samples = {
        name: [rows[k * len(rows) // _SAMPLES] for k in range(_SAMPLES)]
        if len(rows) > _SAMPLES
        else rows
        for name, rows in by_class.items()
    }
    wanted = {row for _, _, notes in suspicious for row in list(notes)[:_SHOWN]}
    return write_page(
        path,
        "import.html.j2",
        name=f"Import of {result.name}",
        result=result,
        suspicious=suspicious,
        shown=_SHOWN,
        samples=samples,
        images=_shown_images(result, sorted(wanted.union(*samples.values()))),
    )


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


def _shown_images(result: ImportResult, wanted: Sequence[int]) -> dict[int, ShownImage]:
    """Return what the page shows of each row; sources are read again, in order."""
    shown, first = {}, 0
    for part in result.parts:
        rows = [row for row in wanted if first <= row < first + len(part.images)]
        if rows:
            reader = open_source(part.source)
        for row in rows:
            ref, original = part.images[row - first], None
            with contextlib.suppress(ImageError):  # deleted since
                original = _thumbnail(reader(ref.place))
            shown[row] = ShownImage(original, result.images.images[row], ref.label, ref.name)
        first += len(part.images)
    return shown


def _thumbnail(content: Content) -> str:
    """Return an image as it came, upright and small, as a data URI."""
    if not isinstance(content, bytes):
        return png_uri(np.asarray(read_grey(content) * 255, np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_image(content) as image:
                image.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
                upright = ImageOps.exif_transpose(image)
                upright.thumbnail((_THUMBNAIL, _THUMBNAIL))
                if upright.mode not in ("L", "RGB"):  # over a grey that shows dark and light ink
                    upright = upright.convert("RGBA")
                    paper = Image.new("RGBA", upright.size, _BEHIND)
                    upright = Image.alpha_composite(paper, upright).convert("RGB")
                return data_uri(png_file(upright))
        except (OSError, ValueError, SyntaxError) as error:
            raise ImageError(str(error)) from error
