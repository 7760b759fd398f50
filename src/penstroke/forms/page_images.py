"""The pages in a file: an image, a TIFF of several, or a PDF, one grey image at a time."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pypdfium2

from penstroke.errors import ImageError
from penstroke.files import explained
from penstroke.preprocessing.decoding import MAX_PIXELS, open_image, page_count, read_grey

Grey = npt.NDArray[np.uint8]
"""A grey image (H, W): 0 black, 255 white."""
SUFFIXES = frozenset(
    (".pdf", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".avif")
)
"""Of files that are looked for in folders, in lower case."""
MOST_PAGES = 500
"""Of one file."""
_PDF_DPI, _MOST_PDF_SIDE = 200, 5000
_WORKING_SIDE = 2400
"""Larger images are averaged down by a whole factor, to this side or up to twice as many pixels."""
_PDFIUM = threading.Lock()  # it is not safe in threads


def count_pages(path: Path) -> int:
    """Return the number of pages in the file at `path`.

    ImageError: it cannot be read, is encrypted, or has more than MOST_PAGES.
    """
    with explained(f"read {path}", ImageError):
        content = path.read_bytes()
    if _is_pdf(content):
        with _PDFIUM:
            document = _open_pdf(content, path)
            count = len(document)
            document.close()
    else:
        count = page_count(content)
    if not count:
        raise ImageError(f"{path} has no pages")
    if count > MOST_PAGES:
        raise ImageError(
            f"{path} has {count:,} pages, and at most {MOST_PAGES} are read of one file: split it"
        )
    return count


def page_image(path: Path, number: int) -> Grey:
    """Return page `number`, from 1, of the file at `path`, upright by its metadata.

    ImageError: it cannot be decoded, or is larger than 50 megapixels.
    """
    with explained(f"read {path}", ImageError):
        content = path.read_bytes()
    if _is_pdf(content):
        return _pdf_page(content, path, number)
    image = open_image(content)
    try:
        image.seek(number - 1)
    except Exception as error:  # Pillow's plug-ins raise any kind on damaged files
        raise ImageError(f"{path}, page {number} is damaged: {error}") from error
    try:
        levels = read_grey(image, MAX_PIXELS, _WORKING_SIDE)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    return np.asarray(np.rint(255 * levels), np.uint8)


def page_images(path: Path) -> Iterator[tuple[int, Grey]]:
    """Yield (number from 1, image) of each page in the file at `path`; raises as `page_image`."""
    for number in range(1, count_pages(path) + 1):
        yield number, page_image(path, number)


def pdf_pages(content: bytes) -> list[Grey]:
    """Return all pages of a PDF of our own."""
    path = Path("the form's PDF")
    with _PDFIUM:
        document = _open_pdf(content, path)
        count = len(document)
        document.close()
    return [_pdf_page(content, path, number) for number in range(1, count + 1)]


def _is_pdf(content: bytes) -> bool:
    return b"%PDF-" in content[:1024]


def _open_pdf(content: bytes, path: Path) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(io.BytesIO(content))
    except pypdfium2.PdfiumError as error:
        if "assword" in str(error):
            raise ImageError(f"{path} is encrypted: save it without a password") from error
        raise ImageError(f"{path} is not a PDF that can be read: {error}") from error


def _pdf_page(content: bytes, path: Path, number: int) -> Grey:
    with _PDFIUM:
        document = _open_pdf(content, path)
        try:
            page = document[number - 1]
            side = max(page.get_size())
            scale = min(_PDF_DPI / 72, _MOST_PDF_SIDE / max(side, 1))
            bitmap = page.render(scale=scale, grayscale=True)
            return np.asarray(bitmap.to_pil().convert("L")).copy()
        except (pypdfium2.PdfiumError, IndexError, ValueError) as error:
            raise ImageError(f"{path}, page {number} cannot be drawn: {error}") from error
        finally:
            document.close()
