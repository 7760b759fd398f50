"""The report of an import: images as they came, beside the 28×28 that a network reads."""

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from penstroke.data.dataset import Images
from penstroke.data.image_import import ImportResult
from penstroke.data.shards import EMPTY, OK
from penstroke.data.sources.contents import Content
from penstroke.data.sources.listing import open_source
from penstroke.errors import ImageError
from penstroke.preprocessing.decoding import read_grey
from penstroke.reports.html import data_uri, png_uri, write_page

_SAMPLES = 5
"""Per class."""
_SHOWN = 24
"""Per kind of suspicious image."""
_MUCH_DROPPED = 0.05
"""Share of the ink; what is dropped below it is dust."""
_TINY = 8
"""Pixels of the longer side; smaller characters have too little detail."""
_THUMBNAIL = 168
_BEHIND = (128, 128, 128, 255)


@dataclass(frozen=True, eq=False)
class ShownImage:
    """One image of the source: as it came, a data URI (None if it is gone), and as (28, 28)."""

    original: str | None
    preprocessed: Images
    label: str
    name: str


@dataclass(frozen=True, eq=False)
class Suspicious:
    """Images to look at first, the worst first: their rows, and a note for each."""

    title: str
    reason: str
    notes: dict[int, str]


def write_import_report(result: ImportResult, path: Path) -> Path:
    """Write the page about an import to `path`.

    Raises:
        StorageError: it cannot be written.
    """
    suspicious = _suspicious(result)
    by_class: dict[str, list[int]] = {name: [] for name in result.train.classes}
    for row in np.sort(np.concatenate(result.rows)).tolist():
        by_class[result.refs[row].label].append(row)
    # A few of each class, spread over its images in their order.
    samples = {
        name: [rows[k * len(rows) // _SAMPLES] for k in range(_SAMPLES)]
        if len(rows) > _SAMPLES
        else rows
        for name, rows in by_class.items()
    }
    wanted = {row for kind in suspicious for row in list(kind.notes)[:_SHOWN]}
    wanted |= {row for rows in samples.values() for row in rows}
    return write_page(
        path,
        "import.html.j2",
        name=f"Import of {result.name}",
        result=result,
        suspicious=suspicious,
        shown=_SHOWN,
        samples=samples,
        images=_shown_images(result, wanted),
    )


def _suspicious(result: ImportResult) -> list[Suspicious]:
    found = result.images
    is_ok = found.status == OK
    dropped = np.flatnonzero(is_ok & (found.dropped >= _MUCH_DROPPED))
    dropped = dropped[np.argsort(-found.dropped[dropped], kind="stable")]
    tiny = np.flatnonzero(is_ok & (found.sides < _TINY))
    tiny = tiny[np.argsort(found.sides[tiny], kind="stable")]
    return [
        Suspicious(
            "Ink left out",
            f"Over {100 * _MUCH_DROPPED:.0f} % of the ink was taken for specks, ruled lines, edges "
            "of the paper or a neighbour's strokes. Is the character still whole?",
            {int(row): f"{100 * found.dropped[row]:.0f} % left out" for row in dropped},
        ),
        Suspicious(
            "Without ink",
            "Nothing stands out from the paper. These images were left out.",
            {int(row): "" for row in np.flatnonzero(found.status == EMPTY)},
        ),
        Suspicious(
            "Tiny",
            f"The longer side of the ink is less than {_TINY} pixels: details are guesswork.",
            {int(row): f"{found.sides[row]} px" for row in tiny},
        ),
    ]


def _shown_images(result: ImportResult, wanted: Iterable[int]) -> dict[int, ShownImage]:
    """Return what the page shows of each row; sources are read again, in order."""
    shown = {}
    first = 0
    for part in result.parts:
        rows = sorted(row for row in wanted if first <= row < first + len(part.images))
        reader = open_source(part.source) if rows else None
        for row in rows:
            ref = part.images[row - first]
            assert reader is not None
            try:
                original = _thumbnail(reader.read(ref.place))
            except ImageError:  # deleted since
                original = None
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
            with Image.open(io.BytesIO(content)) as image:
                image.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
                upright = ImageOps.exif_transpose(image)
                upright.thumbnail((_THUMBNAIL, _THUMBNAIL))
                if upright.mode not in ("L", "RGB"):  # over a grey that shows dark and light ink
                    upright = upright.convert("RGBA")
                    paper = Image.new("RGBA", upright.size, _BEHIND)
                    upright = Image.alpha_composite(paper, upright).convert("RGB")
                stream = io.BytesIO()
                upright.save(stream, "PNG")
        except (OSError, ValueError, SyntaxError) as error:
            raise ImageError(str(error)) from error
    return data_uri(stream.getvalue())
