"""A printed form, and handwriting to fill it with, made once a session."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from filled_forms import SCALE, glyphs_of
from penstroke import load_dataset
from penstroke.forms.description import Form
from penstroke.forms.layout import lay_out
from penstroke.forms.page_images import Grey, page_images
from penstroke.forms.printing import print_form


@dataclass(frozen=True)
class Printed:
    """A form with the pages of its PDF, `SCALE` pixels a millimetre."""

    form: Form
    pages: list[Grey]


def printed(form: Form, folder: Path, person: str = "") -> Printed:
    path = folder / f"{form.name}.pdf"
    print_form(form, path, [person] if person else [])
    return Printed(form, pages_of(path, form))


def pages_of(path: Path, form: Form) -> list[Grey]:
    size = [round(SCALE * side) for side in form.size_mm]
    return [np.asarray(cv2.resize(image, size), np.uint8) for _, image in page_images(path)]


@pytest.fixture(scope="session")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Printed:
    """An exam's sheet, of digits alone, printed for Ada Lovelace."""
    form = Form.parse({
        "name": "exam", "title": "Examination", "instructions": "Write in black.",
        "fields": [
            {"name": "number", "type": "digits", "count": 9},
            {"name": "group", "type": "choice", "options": ["A", "B", "C"]},
            {"name": "day", "type": "date"},
            {"name": "points", "type": "number", "least": 0, "greatest": 100},
            {"name": "parts", "type": "choices", "options": ["one", "two", "three"]},
            {"name": "code", "type": "digits", "count": 5, "required": False},
            {"name": "signature", "type": "signature"},
        ],
    })  # fmt: skip
    return printed(lay_out(form), tmp_path_factory.mktemp("exam"), "Ada Lovelace")


@pytest.fixture(scope="session")
def glyphs() -> dict[str, np.ndarray]:
    return glyphs_of(load_dataset("mnist").validation)
