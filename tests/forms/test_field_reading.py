"""Fields read on pages that are filled by program: every type, wherever it stands in its boxes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from filled_forms import Hand
from forms.conftest import pages_of
from penstroke.errors import ConfigError
from penstroke.forms.answers import FieldAnswer
from penstroke.forms.boxed_text import BoxedText, BoxReading, limited, number_of
from penstroke.forms.description import Form, FormField, read_form
from penstroke.forms.field_reading import FieldReader
from penstroke.forms.ink_amounts import marks
from penstroke.forms.printing import print_form
from penstroke.forms.registration import RegisteredPage

FORM = """
name = "test"
[[fields]]
name = "number"
count = 6
[[fields]]
name = "known"
count = 9
values = ["203519648", "203519643", "77012"]
[[fields]]
name = "card"
count = 8
check_digit = "luhn"
[[fields]]
name = "points"
count = 3
least = 0
greatest = 100
[[fields]]
name = "born"
type = "date"
[[fields]]
name = "group"
type = "choice"
options = ["A", "B", "C", "D"]
[[fields]]
name = "why"
type = "choices"
options = ["tired", "late", "ill"]
[[fields]]
name = "signed"
type = "signature"
"""
DIGITS = "0123456789"


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> Form:
    path = tmp_path_factory.mktemp("form") / "test.toml"
    path.write_text(FORM)
    return read_form(path)


@pytest.fixture(scope="module")
def blank(form: Form, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path = tmp_path_factory.mktemp("pdf") / "test.pdf"
    print_form(form, path)
    return np.asarray(np.minimum(pages_of(path, form)[0], 250), np.uint8)


@pytest.fixture(scope="module")
def hand(glyphs: Mapping[str, np.ndarray]) -> Hand:
    return Hand({name: glyphs[name][:20] for name in DIGITS}, np.random.default_rng(3))


def read(
    form: Form, blank: np.ndarray, hand: Hand, **written: str | list[str]
) -> Mapping[str, FieldAnswer]:
    """Read a page on which `written` is: characters (" " leaves a box empty), or options."""
    page = blank.copy()
    for field in form.fields:
        value = written.get(field.name, "")
        if field.options:
            for option, box in zip(field.options, field.boxes, strict=True):
                if option in value:
                    hand.mark(page, box)
        elif field.type == "signature":
            if value:
                hand.sign(page, field.boxes[0])
        else:
            for character, box in zip(str(value), field.boxes, strict=False):
                if character != " ":
                    hand.write_in(page, box, character)
    return FieldReader(form).read(RegisteredPage(page, 1, None, 0.0))


def test_all_types_are_read_and_empty_boxes_at_either_end_are_left_out(
    form: Form, blank: np.ndarray, hand: Hand
) -> None:
    answers = read(
        form, blank, hand, number="  7 25", known="  77 012", card="79927398"[:0], points="100",
        born="29022024", group=["C"], why=["tired", "ill"], signed="x",
    )  # fmt: skip
    assert {name: one.value for name, one in answers.items()} == {
        "number": "725", "known": "77012", "card": "", "points": "100", "born": "2024-02-29",
        "group": "C", "why": "tired;ill", "signed": "signed",
    }  # fmt: skip
    assert [c for c, _, _ in answers["number"].characters] == ["", "", "7", "", "2", "5"]
    assert all(p > 0.9 for _, p, _ in answers["number"].characters)
    left, top, right, bottom = answers["number"].box
    first = form.fields[0].boxes[0]
    assert (left, top) == (round(8 * first.left), round(8 * first.top))
    assert right - left > 5 * (bottom - top) / 2


def test_a_page_without_writing_is_empty(form: Form, blank: np.ndarray, hand: Hand) -> None:
    answers = read(form, blank, hand)
    assert {one.value for one in answers.values()} == {""}
    assert min(one.probability for one in answers.values()) > 0.99


def test_a_list_and_a_check_digit_decide_what_one_box_leaves_open() -> None:
    unsure = np.full(10, 0.001)
    unsure[[3, 8]] = 0.6, 0.39
    boxes = [box_of(c) for c in "20351964"] + [BoxReading(0.0, unsure)]
    listed = FormField(name="a", count=9, values=("203519648", "203519641", "7"))
    text, probability = BoxedText(listed, DIGITS).read(boxes)[0][0]
    assert text == "203519648"
    assert probability == pytest.approx(0.99, abs=0.01)
    free = BoxedText(FormField(name="a", count=9), DIGITS).read(boxes)[0]
    assert [text for text, _ in free[:2]] == ["203519643", "203519648"]
    luhn = FormField(name="a", count=9, check_digit="luhn")  # 79927398713 is the standard example
    boxes = [box_of(c) for c in "7992739871"] + [BoxReading(0.0, unsure)]
    assert BoxedText(luhn, DIGITS).read(boxes)[0][0][0] == "79927398713"


def box_of(character: str, classes: str = DIGITS, empty: float = 1e-5) -> BoxReading:
    shares = np.full(len(classes), 1e-5)
    shares[classes.index(character)] = 1 - shares[1:].sum()
    return BoxReading(empty, shares)


def test_capitals_accents_spaces_and_signs_of_a_list_are_found_again() -> None:
    classes = "ABCEILMNORSU"
    names = FormField(name="a", type="letters", count=9, values=("Müller-Lo", "O'Neil", "Ann Lou"))
    boxed = BoxedText(names, classes)
    boxes = [box_of(c, classes) for c in "ANNLOU"]
    assert boxed.read(boxes)[0][0][0] == "Ann Lou"
    odd = BoxReading(1e-5, np.full(len(classes), 1 / len(classes)), is_known=False)
    boxes = [box_of("O", classes), odd, *(box_of(c, classes) for c in "NEIL")]
    assert boxed.read(boxes)[0][0][0] == "O'Neil"
    free = BoxedText(FormField(name="a", type="letters", count=9), classes)
    gap = box_of("A", classes, empty=0.9999)
    boxes = [gap, *(box_of(c, classes) for c in "AN"), gap, box_of("L", classes), gap]
    assert free.read(boxes)[0][0][0] == "AN L"


def test_what_a_field_does_not_admit_is_not_read() -> None:
    dates = BoxedText(FormField(name="a", type="date"), DIGITS)
    assert not dates.read([box_of(c) for c in "31022024"])[0]
    points = FormField(name="a", count=3, least=0, greatest=100)
    assert not BoxedText(points, DIGITS).read([box_of(c) for c in "101"])[0]
    with pytest.raises(ConfigError, match="read alike"):
        BoxedText(FormField(name="a", count=3, values=("ab", "AB")), DIGITS)
    with pytest.raises(ConfigError, match="admits no text"):
        BoxedText(FormField(name="a", count=3, format="[a-z]{3}"), DIGITS)
    ((text, probability),) = limited([("1", 0.6), ("2", 0.3)], lambda text: text != "1")
    assert text == "2"
    assert probability == pytest.approx(0.75)
    assert [*map(number_of, ("1.250,50", "7", "-3.5", "€ 12", "x"))] == [1250.5, 7, -3.5, 12, None]


def test_of_two_marks_the_plainer_counts_and_is_doubtful() -> None:
    texts, each = marks({"A": 0.0, "B": 0.2, "C": 0.75}, several=False)
    assert texts[0] == ("B", 0.5)
    assert texts[1][0] == "C"
    assert each[0] < 0.01 < 0.99 < each[1]
    assert marks({"A": 0.0, "B": 0.9}, several=False)[0][0][1] > 0.99  # filled
    assert marks({"A": 0.2, "B": 0.2, "C": 0.0}, several=True)[0][0][0] == "A;B"
    assert marks({"A": 0.2, "B": 0.2, "C": 0.9}, several=True)[0][0][1] == 0.5
    assert marks({"A": 0.0, "B": 0.001}, several=False)[0][0][0] == ""
