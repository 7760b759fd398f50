"""Scans and photographs laid onto the page that the form describes."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import segno
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from filled_forms import SCALE, Hand, filled_pages, photographed, scanned
from forms.conftest import Printed, pages_of, printed
from penstroke.errors import FormPageError
from penstroke.forms.description import Form
from penstroke.forms.layout import lay_out
from penstroke.forms.page_images import Grey
from penstroke.forms.registration import PIXELS_PER_MM, register

Camera = Callable[[Grey, np.random.Generator], Grey]


def marker_errors_mm(page: Grey) -> np.ndarray:
    """Return how far the middles of the four markers of an A4 page are from their places."""
    errors = []
    for x, y in ((10, 10), (200, 10), (200, 287), (10, 287)):
        top, left = PIXELS_PER_MM * y - 40, PIXELS_PER_MM * x - 40
        down, across = np.nonzero(page[top : top + 80, left : left + 80] < 128)
        errors.append(np.hypot(across.mean() - 39.5, down.mean() - 39.5) / PIXELS_PER_MM)
    return np.array(errors)


@pytest.mark.parametrize("seen_by", [scanned, photographed])
def test_filled_pages_are_registered(
    exam: Printed, glyphs: dict[str, np.ndarray], seen_by: Camera
) -> None:
    for seed, (page, number, _) in enumerate(filled_pages(exam.pages, exam.form, glyphs, 5, 1)):
        registered = register(seen_by(page, np.random.default_rng(seed)), exam.form)
        assert (registered.form_page, registered.person) == (number, "Ada Lovelace")
        assert registered.image.shape == page.shape
        assert marker_errors_mm(registered.image).max() < 0.5
        assert registered.error_mm < 0.2


def test_faint_boxes_full_of_dark_ink_are_found(
    glyphs: dict[str, np.ndarray], tmp_path: Path
) -> None:
    fields = [{"name": f"n{k}", "type": "digits", "count": 20} for k in range(11)]
    dense = printed(lay_out(Form.parse({"name": "dense", "fields": fields})), tmp_path)
    faint = (255 - 0.5 * (255.0 - dense.pages[0])).astype(np.uint8)
    ((page, _, _),) = filled_pages([faint], dense.form, glyphs, 1, 1)
    noisy = 0.9 * page + np.random.default_rng(0).normal(0, 5, page.shape)
    assert register(noisy.clip(0, 255).astype(np.uint8), dense.form).error_mm < 0.1


def covered(page: Grey, *places_mm: tuple[float, float]) -> Grey:
    page = page.copy()
    for x, y in places_mm:
        top, left = round(SCALE * y) - 90, round(SCALE * x) - 90
        page[max(top, 0) : top + 180, max(left, 0) : left + 180] = 255
    return page


@pytest.mark.parametrize(
    "places", [[(200, 287)], [(10, 10)], [(10, 10), (10, 287)], [(183, 18)]],
    ids=["a corner", "the first corner", "one side", "the code"],
)  # fmt: skip
def test_a_part_of_the_marks_is_enough(exam: Printed, places: list[tuple[float, float]]) -> None:
    page = covered(exam.pages[0], *places)
    for seed in range(2):
        registered = register(photographed(page, np.random.default_rng(seed)), exam.form)
        assert registered.error_mm < 0.3
        number = exam.form.fields[0].boxes[0]
        top, left = round(SCALE * number.top), round(SCALE * number.left)
        edge = registered.image[top + 20, left - 3 : left + 4].min()
        assert edge < 235


def test_pages_that_are_none_are_told_apart(exam: Printed, tmp_path: Path) -> None:
    other = printed(
        lay_out(Form.parse({"name": "other", "fields": [{"name": "n", "count": 4}]})), tmp_path
    ).pages[0]
    page = exam.pages[0]
    field = exam.form.fields[0].boxes[0]
    cases = {
        "blank_page": np.full((2000, 1400), 240, np.uint8),
        "not_this_form": other,
        "cut_off": page[:, round(SCALE * (field.left + 3)) :],
        "several_pages": np.hstack([page, np.full((len(page), 200), 60, np.uint8), page]),
    }
    for problem, image in cases.items():
        noise = np.random.default_rng(0).normal(0, 2, image.shape)
        with pytest.raises(FormPageError) as refusal:
            register(np.clip(image + noise, 0, 255).astype(np.uint8), exam.form)
        assert refusal.value.problem == problem


def test_another_version_is_not_this_form(exam: Printed) -> None:
    with pytest.raises(FormPageError, match="of version 1 of the form, not of version 2"):
        register(exam.pages[0], exam.form.model_copy(update={"version": 2}))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2500), (90, 2000)])
def test_images_of_few_pixels_are_refused(exam: Printed, shape: tuple[int, int]) -> None:
    with pytest.raises(FormPageError, match=f"has {shape[1]}×{shape[0]} pixels") as refusal:
        register(np.zeros(shape, np.uint8), exam.form)
    assert refusal.value.problem == "not_registered"


@pytest.mark.parametrize("text", ["penstroke:exam:1:²", "penstroke:exam:1:1:" + 2000 * "x"])
def test_odd_codes_of_others_are_not_taken_for_ours(exam: Printed, text: str) -> None:
    modules = 1 - np.array(segno.make_qr(text, error="l").matrix, np.uint8)
    code = 255 * np.kron(np.pad(modules, 4, constant_values=1), np.ones((6, 6), np.uint8))
    page = exam.pages[0].copy()
    page[-1250:-150, 300:1400] = 255
    page[-150 - len(code) : -150, 300 : 300 + len(code)] = code
    assert register(page, exam.form).person == "Ada Lovelace"


@pytest.fixture(scope="session")
def somebody_elses(tmp_path_factory: pytest.TempPathFactory) -> Printed:
    """A page with text, a table and a row of boxes, without marks of ours."""
    path = tmp_path_factory.mktemp("blank") / "blank.pdf"
    canvas = Canvas(str(path), A4)
    mm = 72 / 25.4
    canvas.setFont("Helvetica", 12)
    for k, line in enumerate(("University of Somewhere", "Department of Physics, second year",
                              "Read all questions before you begin. You have ninety minutes.",
                              "Student number", "Question", "Points", "Sum")):  # fmt: skip
        canvas.drawString(20 * mm, (270 - 14 * k) * mm, line)
    for k in range(9):
        canvas.rect((70 + 8 * k) * mm, 224 * mm, 8 * mm, 10 * mm)
    for row in range(5):
        for column in range(8):
            canvas.rect((20 + 20 * column) * mm, (130 - 12 * row) * mm, 20 * mm, 12 * mm)
    canvas.save()
    boxes = [{"left": 70 + 8 * k, "top": 297 - 234, "width": 8, "height": 10} for k in range(9)]
    form = Form.parse({
        "name": "theirs", "blank": str(path),
        "fields": [{"name": "number", "type": "digits", "count": 9, "boxes": boxes}],
    })  # fmt: skip
    return Printed(form, pages_of(path, form))


@pytest.mark.parametrize("seen_by", [scanned, photographed])
def test_another_form_is_registered_by_its_blank_page(
    somebody_elses: Printed, glyphs: dict[str, np.ndarray], seen_by: Camera
) -> None:
    form, blank = somebody_elses.form, somebody_elses.pages[0]
    for seed, (page, _, _) in enumerate(filled_pages([blank], form, glyphs, 3, 2)):
        rng = np.random.default_rng(seed)
        hand = Hand(glyphs, rng)
        for number in range(6):  # writing that the form knows nothing of
            box = form.fields[0].boxes[number].model_copy(update={"left": 25.0 + 20 * number,
                                                                  "top": 170.0})  # fmt: skip
            hand.write_in(page, box, str(number))
        registered = register(seen_by(page, rng), form)
        assert registered.error_mm < 0.3
        near = cv2.GaussianBlur(registered.image, (0, 0), 2)[200:2200, 100:1600] < 200
        print_of_blank = cv2.GaussianBlur(blank, (0, 0), 2)[200:2200, 100:1600] < 200
        assert near[print_of_blank].mean() > 0.7
