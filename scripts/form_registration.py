"""Measures how well filled pages are registered, how fast, and what cutting boxes out is worth.

Pages of a printed form are filled with MNIST's test digits, whose writers no model was trained on,
and scanned or photographed by program; in half of the kinds without markers and QR code.

    python scripts/form_registration.py --pages 40
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from filled_forms import SCALE, Hand, fill, photographed, scanned
from penstroke import Recognizer
from penstroke.data.idx import read_idx
from penstroke.errors import FormPageError
from penstroke.files import data_root
from penstroke.forms.cells import cut
from penstroke.forms.description import Form
from penstroke.forms.layout import MARKER_CENTRE_MM, lay_out
from penstroke.forms.page_images import Grey, page_images
from penstroke.forms.printing import print_form
from penstroke.forms.registration import PIXELS_PER_MM, register

KINDS = ("scans, 200 dpi", "scans, 300 dpi", "photographs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=40, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    digits = {
        str(label): images
        for label, images in enumerate(_test_digits())
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        form, page = _printed(Path(folder))
        bare = page.copy()
        for x, y in _corners(form):
            _paint(bare, x, y, 10, 255)
        _paint(bare, form.size_mm[0] - 27, 18, 20, 255)
        cv2.imwrite(str(blank := Path(folder) / "blank.png"), bare)
        for x, y in _corners(form):  # by these alone is measured how far it is off
            _paint(bare, x, y, 3, 0)
        theirs = form.model_copy(update={"blank": str(blank)})
        for name, described, printed in (("marked", form, page), ("without marks", theirs, bare)):
            for kind in KINDS:
                figures = _measured(described, printed, kind, digits, asked)
                print(f"{name}, {kind}: {figures}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"greatest memory: {peak:.0f} MB, of which part is for making the pages")


def _test_digits() -> list[npt.NDArray[np.uint8]]:
    images, labels = (
        read_idx(data_root() / f"mnist/t10k-{name}-ubyte.gz", rank=rank)
        for name, rank in (("images-idx3", 3), ("labels-idx1", 1))
    )
    return [images[labels == label] for label in range(10)]


def _printed(folder: Path) -> tuple[Form, Grey]:
    counts = (9, 5, 6, 4, 9, 3, 8, 7, 9, 5, 6, 4, 9, 9)
    fields = [{"name": f"n{k}", "type": "digits", "count": n} for k, n in enumerate(counts)]
    fields[6:6] = [{"name": "group", "type": "choice", "options": ["A", "B", "C"]}]
    form = lay_out(Form.parse({"name": "measured", "title": "Registration", "fields": fields}))
    print_form(form, folder / "form.pdf", [])
    (_, page), *_ = page_images(folder / "form.pdf")
    size = [round(SCALE * side) for side in form.size_mm]
    return form, np.asarray(cv2.resize(page, size), np.uint8)


def _measured(
    form: Form, printed: Grey, kind: str, digits: dict[str, npt.NDArray[np.uint8]],
    asked: argparse.Namespace,
) -> str:  # fmt: skip
    recognizer = Recognizer.load("digits")
    errors, stated, registering, cutting, read = [], [], 0.0, 0.0, []
    for index in range(asked.pages):
        rng = np.random.default_rng((asked.seed, index))
        filled, truth = fill(printed, form, 1, Hand(digits, rng), rng)
        seen = (
            photographed(filled, rng) if kind == "photographs"
            else scanned(filled, rng, dpi=int(kind.split()[1]))
        )  # fmt: skip
        start = time.process_time()
        try:
            page = register(seen, form)
        except FormPageError as error:
            print(f"  {kind} {index}: {error.problem}: {error}")
            continue
        finally:
            registering += time.process_time() - start
        errors.append(_errors_mm(page.image, form).max())
        stated.append(page.error_mm)
        for field in form.on_page(1):
            if field.type != "digits":
                continue
            start = time.process_time()
            cells = cut(page.image, field.boxes)
            cutting += time.process_time() - start
            for cell, box, character in zip(cells, field.boxes, truth[field.name], strict=True):
                edges = np.array([box.left, box.top, box.right, box.bottom]) * PIXELS_PER_MM
                left, top, right, bottom = np.rint(edges).astype(int)
                raw = page.image[top - 4 : bottom + 4, left - 4 : right + 4]
                inner = page.image[top + 4 : bottom - 3, left + 4 : right - 3]
                read.append([
                    recognizer.recognize(image).top(1)[0][0] == character
                    for image in (cell.image, inner, raw)
                ])  # fmt: skip
    median, most = np.median(errors), np.max(errors)
    ours, inner, raw = 100 * np.mean(read, axis=0)
    return (
        f"{len(errors)} of {asked.pages} registered; worst corner {median:.2f} mm (median), "
        f"{most:.2f} (most); stated {np.median(stated):.3f} mm, {np.max(stated):.3f} (most); "
        f"{registering / asked.pages:.3f} s registering, {cutting / asked.pages:.3f} s cutting; "
        f"of {len(read)} digits right: {ours:.2f} % cut out, {inner:.2f} % inside the frame, "
        f"{raw:.2f} % with it"
    )


def _corners(form: Form) -> list[tuple[float, float]]:
    (width, height), d = form.size_mm, MARKER_CENTRE_MM
    return [(d, d), (width - d, d), (width - d, height - d), (d, height - d)]


def _paint(page: Grey, x: float, y: float, side: float, tone: int) -> None:
    top, left, size = round(SCALE * (y - side / 2)), round(SCALE * (x - side / 2)), SCALE * side
    page[top : top + round(size), left : left + round(size)] = tone


def _errors_mm(page: Grey, form: Form) -> npt.NDArray[np.float64]:
    """Return how far what is black in each corner is from its place."""
    errors = []
    for x, y in _corners(form):
        top, left = round(PIXELS_PER_MM * y) - 40, round(PIXELS_PER_MM * x) - 40
        down, across = np.nonzero(page[top : top + 80, left : left + 80] < 128)
        errors.append(np.hypot(across.mean() - 39.5, down.mean() - 39.5) / PIXELS_PER_MM)
    return np.array(errors)


if __name__ == "__main__":
    main()
