"""The pages in images, TIFF and PDF files."""

import io
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from penstroke.errors import ImageError
from penstroke.forms.page_images import MOST_PAGES, count_pages, page_image, page_images

PAGE = np.full((300, 200), 250, np.uint8)
PAGE[20:60, 20:60] = 10  # dark at the upper left


def is_dark(image: np.ndarray) -> list[bool]:
    """Return whether each quarter is dark somewhere: upper left and right, lower left and right."""
    middle, centre = image.shape[0] // 2, image.shape[1] // 2
    halves = image[:middle], image[middle:]
    return [bool(part.min() < 100) for half in halves for part in (half[:, :centre],
                                                                   half[:, centre:])]  # fmt: skip


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_photographs_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]  # as the camera was held
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.rot90(PAGE, turns)).save(path := tmp_path / "photo.jpg", exif=exif)
    ((number, image),) = page_images(path)
    assert number == 1
    assert image.dtype == np.uint8
    assert image.shape == PAGE.shape
    assert is_dark(image) == [True, False, False, False]


def test_large_images_are_averaged_down_and_larger_ones_refused(tmp_path: Path) -> None:
    Image.new("L", (6000, 8000), 255).save(tmp_path / "large.png")
    assert page_image(tmp_path / "large.png", 1).shape == (2667, 2000)
    Image.new("1", (10_000, 6000)).save(tmp_path / "huge.png")
    with pytest.raises(ImageError, match=r"huge\.png.*60 megapixels, 50 are allowed"):
        page_image(tmp_path / "huge.png", 1)


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    turned = [Image.fromarray(np.rot90(PAGE, turns)) for turns in range(3)]
    path = tmp_path / "scan.tiff"
    turned[0].save(path, save_all=True, append_images=turned[1:])
    pages = dict(page_images(path))
    assert list(pages) == [1, 2, 3]
    assert [is_dark(page).index(True) for page in pages.values()] == [0, 2, 3]
    path.write_bytes(path.read_bytes()[:-40_000])
    with pytest.raises(ImageError, match=r"scan\.tiff"):
        [*page_images(path)]


def pdf(path: Path, pages: int = 2, password: str | None = None) -> Path:
    encrypt = password and StandardEncryption(password)
    canvas = Canvas(str(path), A4, encrypt=encrypt)
    for _ in range(pages):
        canvas.rect(50, 700, 100, 100, fill=1)
        canvas.showPage()
    canvas.save()
    return path


def test_pages_of_a_pdf_are_drawn_at_200_dpi(tmp_path: Path) -> None:
    pages = dict(page_images(pdf(tmp_path / "form.pdf")))
    assert list(pages) == [1, 2]
    for page in pages.values():
        np.testing.assert_allclose(page.shape, (297 / 25.4 * 200, 210 / 25.4 * 200), atol=2)
        assert is_dark(page) == [True, False, False, False]


def test_scans_in_a_pdf(tmp_path: Path) -> None:
    canvas = Canvas(str(path := tmp_path / "scan.pdf"), (200, 300))
    png = io.BytesIO()
    Image.fromarray(PAGE).save(png, "png")
    canvas.drawImage(ImageReader(png), 0, 0, 200, 300)
    canvas.save()
    ((_, page),) = page_images(path)
    assert is_dark(page) == [True, False, False, False]


def test_a_huge_page_of_a_pdf_is_drawn_small(tmp_path: Path) -> None:
    canvas = Canvas(str(path := tmp_path / "poster.pdf"), (14_000, 9000))
    canvas.rect(0, 0, 7000, 4500, fill=1)
    canvas.save()
    assert max(page_image(path, 1).shape) <= 5000


def test_pdfs_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    whole = pdf(tmp_path / "whole.pdf").read_bytes()
    (tmp_path / "broken.pdf").write_bytes(whole[:200] + b"\0" * 200)
    (tmp_path / "empty.pdf").write_bytes(b"")
    many = pypdfium2.PdfDocument.new()
    for _ in range(5000):
        many.new_page(200, 300)
    many.save(tmp_path / "many.pdf")
    many.close()
    cases = {
        pdf(tmp_path / "secret.pdf", password="secret"): "is encrypted: save it without a password",
        tmp_path / "broken.pdf": "is not a PDF that can be read",
        tmp_path / "empty.pdf": "is empty",
        tmp_path / "many.pdf": f"has 5,000 pages, and at most {MOST_PAGES} are read of one file",
        tmp_path / "missing.pdf": "No such file|not exist|does not",
    }
    for path, message in cases.items():
        with pytest.raises(ImageError, match=message):
            [*page_images(path)]
    assert count_pages(tmp_path / "whole.pdf") == 2
