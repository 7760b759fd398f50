"""Folders of answers as `form read` writes them, of a form that is filled with MNIST's test digits.

What is written is known; what was read is given, with some of it wrong and some doubtful.
"""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import numpy as np
import pypdfium2

from filled_forms import SCALE, Hand, fill, glyphs_of
from penstroke.data.loading import load_dataset
from penstroke.forms.answers import FieldAnswer, FieldStatus, PageAnswer
from penstroke.forms.answers_folder import AnswersFolder
from penstroke.forms.description import COMBS, Area, Form, FormField, read_form
from penstroke.forms.page_images import Grey
from penstroke.forms.printing import print_form

FORM = """
name = "exam"
title = "Physics, spring"
[[fields]]
name = "student"
title = "Student number"
count = 4
values = {students}
[[fields]]
name = "points"
type = "number"
least = 0
greatest = 60
[[fields]]
name = "group"
type = "choice"
options = ["A", "B", "C"]
[[fields]]
name = "written"
title = "Date"
type = "date"
"""


@functools.cache
def _glyphs() -> dict[str, np.ndarray]:
    return glyphs_of(load_dataset("mnist").test.unseal())


def answered_form(
    folder: Path, people: int = 4, seed: int = 1
) -> tuple[Path, list[dict[str, str]]]:
    """Write `folder`/answers, and return it with what each person wrote.

    Everything was read right and for certain, but: the student's number of each page, doubtful,
    is that of the next but for the first; the points of the last were not admitted.
    """
    students = [
        f"{number:04}" for number in np.random.default_rng(seed).integers(0, 10_000, people)
    ]
    (folder / "exam.toml").write_text(FORM.format(students=students))
    form = read_form(folder / "exam.toml")
    blank = _printed(form, folder)
    answers = AnswersFolder(folder / "answers")
    answers.begin(form, 0.999)
    written = []
    for number in range(people):
        rng = np.random.default_rng((seed, number))
        page, truth = fill(blank, form, 1, Hand(_glyphs(), rng), rng)
        written.append(truth)
        page_id = f"{number:016x}-1"
        answers.append(PageAnswer(
            page_id, f"scan{number + 1}.png", 1, 1, f"person {number + 1}", 0.1,
            answers.write_image(page_id, page),
            {field.name: _read(field, truth[field.name], number) for field in form.fields},
        ))  # fmt: skip
    return answers.path, written


def _printed(form: Form, folder: Path) -> Grey:
    print_form(form, folder / "exam.pdf", [])
    page = pypdfium2.PdfDocument(folder / "exam.pdf")[0]
    image = page.render(scale=SCALE * 25.4 / 72, grayscale=True).to_numpy()
    height, width = (round(SCALE * side) for side in form.size_mm[::-1])
    return np.ascontiguousarray(image[:height, :width])


def _read(field: FormField, truth: str, number: int) -> FieldAnswer:
    value, probability = truth, 0.9999
    status: FieldStatus = "accepted"
    if field.name == "student":
        value = truth[:-1] + str((int(truth[-1]) + (number > 0)) % 10)
        probability, status = 0.6 - 0.1 * number, "doubtful"
    characters = [
        (character, probability, pixels([box]))
        for character, box in zip(value, field.boxes, strict=False)
    ] if field.type in COMBS else []  # fmt: skip
    other = ((truth, 0.2),) if status == "doubtful" and value != truth else ()
    return FieldAnswer(field.name, value, probability, status, pixels(field.boxes), other,
                       tuple(characters))  # fmt: skip


def pixels(boxes: list[Area] | tuple[Area, ...]) -> tuple[int, int, int, int]:
    """Return the pixels (left, top, right, bottom) of the boxes on a registered page."""
    return (
        round(SCALE * min(box.left for box in boxes)), round(SCALE * min(box.top for box in boxes)),
        round(SCALE * max(box.right for box in boxes)),
        round(SCALE * max(box.bottom for box in boxes)),
    )  # fmt: skip


def copied(answers: Path, folder: Path) -> Path:
    """Return a copy of the folder of answers, in `folder`."""
    return Path(shutil.copytree(answers, folder / answers.name))
