"""A review: what comes first, who is given what, and what of changes is kept."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from answered_forms import answered_form, copied
from helpers import Outcome
from penstroke.errors import ConfigError, DataError, ReviewError
from penstroke.forms.admission import refusal
from penstroke.forms.answers import Change, FieldAnswer, PageAnswer
from penstroke.forms.answers_folder import AnswersFolder
from penstroke.forms.description import FormField
from penstroke.forms.review import Person, Place, Review

ADA, BO = Person("Ada", "1"), Person("Bo", "2")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    return answered_form(tmp_path_factory.mktemp("exam"))


@pytest.fixture
def truth(made: tuple[Path, list[dict[str, str]]]) -> list[dict[str, str]]:
    return made[1]


@pytest.fixture
def folder(made: tuple[Path, list[dict[str, str]]], tmp_path: Path) -> Path:
    return copied(made[0], tmp_path)


def test_the_most_doubtful_field_comes_first_and_two_people_are_given_different_ones(
    folder: Path,
) -> None:
    review = Review(folder)
    assert review.progress().open == review.progress().to_review == 4
    first, second = review.next(ADA), review.next(BO)
    assert first is not None
    assert second is not None
    assert (first.page.source, first.field.name, first.held_by) == ("scan4.png", "student", None)
    assert second.page.source == "scan3.png"
    assert review.progress(BO).held == 1
    assert review.look_at(BO, Place(first.page.id, "student")).held_by == "Ada"
    third = review.next(ADA, after=Place(first.page.id, "student"))
    assert third is not None
    assert third.page.source == "scan3.png", "Bo left it to look at the one that Ada has"
    assert review.next(ADA, field="points") is None
    sure = review.next(ADA, field="points", open_only=False)
    assert sure is not None
    assert not sure.is_open


def test_a_change_is_kept_and_counted_and_one_that_was_not_seen_is_not_overwritten(
    folder: Path, truth: list[dict[str, str]]
) -> None:
    review = Review(folder)
    last = review.next(ADA)
    assert last is not None
    place = Place(last.page.id, "student")
    with pytest.raises(ReviewError, match="not among the 4 values") as refused:
        review.change(ADA, place, "99", revision=0)
    assert refused.value.problem == "not_admitted"
    review.change(ADA, place, truth[3]["student"], revision=0)
    with pytest.raises(ReviewError, match="Ada gave") as refused:
        review.change(BO, place, "0000", revision=0)
    assert refused.value.problem == "changed"
    assert review.progress().open == 3
    (kept,) = AnswersFolder(folder).changes()
    assert (kept.who, kept.page, kept.field, kept.old, kept.new) == (
        "Ada", last.page.id, "student", last.answer.value, truth[3]["student"],
    )  # fmt: skip
    again = Review(folder)
    assert again.progress().open == 3
    now = again.look_at(BO, place)
    assert (now.value, now.changed, now.revision) == (truth[3]["student"], kept, 1)
    again.change(BO, place, "12345", revision=1, is_confirmed=True)
    assert again.look_at(BO, place).refusal is not None


def test_undo_takes_back_ones_own_last_change_also_after_a_restart(folder: Path) -> None:
    review = Review(folder)
    places = []
    for person in (ADA, BO, ADA):
        one = review.next(person)
        assert one is not None
        places.append(Place(one.page.id, one.field.name))
        review.change(person, places[-1], one.value, revision=0, is_confirmed=True)
    review = Review(folder)
    assert [review.undo(ADA), review.undo(ADA)] == [places[2], places[0]]
    with pytest.raises(ReviewError, match="no change that can be taken back"):
        review.undo(ADA)
    assert review.progress().open == 3
    assert [change.new for change in AnswersFolder(folder).changes()][3:] == [None, None]
    assert Review(folder).progress().open == 3


def test_pages_that_are_read_meanwhile_appear_and_the_table_is_written(
    folder: Path, truth: list[dict[str, str]]
) -> None:
    review = Review(folder)
    place = Place(AnswersFolder(folder).pages()[3].id, "student")
    review.change(ADA, place, truth[3]["student"], revision=0)
    unclear = FieldAnswer("student", "", 0.1, "rejected", (1, 2, 3, 4))
    AnswersFolder(folder).append(PageAnswer("new", "new.png", 1, 1, "Eve", fields={
        "student": unclear, "gone": unclear,
    }))  # fmt: skip
    assert review.progress().open == 4
    rows = list(csv.DictReader(review.export().read_text().splitlines()))
    assert [(row["person"], row["doubtful"]) for row in rows] == [
        ("Eve", "student"), ("person 1", "student"), ("person 2", "student"),
        ("person 3", "student"), ("person 4", ""),
    ]  # fmt: skip
    assert rows[-1]["student"] == truth[3]["student"]
    assert len(json.loads(folder.with_name("answers.json").read_text())["pages"]) == 5


def test_what_is_damaged_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder of answers"):
        Review(tmp_path / "no")
    with (folder / "pages.jsonl").open("a") as stream:
        stream.write('{"id": "cut sho')
    AnswersFolder(folder).append_change(Change("Ada", "2026-01-01T00:00:00", "no", "no", "", "1"))
    review = Review(folder)
    assert review.progress().open == 4
    with pytest.raises(ReviewError, match="no field"):
        review.change(ADA, Place("no", "no"), "", revision=0)
    place = Place(AnswersFolder(folder).pages()[0].id, "points")
    for value in ("1" * 1001, "1\n2", "1\0"):
        with pytest.raises(ReviewError, match="one line of at most 1,000"):
            review.change(ADA, place, value, revision=0, is_confirmed=True)
    (folder / "pages" / f"{place.page}.webp").unlink()
    with pytest.raises(ReviewError, match="cannot read"):
        review.image(place.page)
    with pytest.raises(ReviewError, match="no page"):
        review.image("../form.toml")
    with review.locked(), pytest.raises(ConfigError, match="reviewed already"), review.locked():
        pass
    lines = (folder / "pages.jsonl").read_text().splitlines()
    (folder / "pages.jsonl").write_text("\n".join([lines[0], '{"id": 1}', ""]))
    with pytest.raises(DataError, match=r"pages.jsonl, line 2 is damaged"):
        Review(folder)
    (folder / "pages.jsonl").unlink()
    with pytest.raises(ConfigError, match="no page has been read yet"):
        Review(folder)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ({"count": 3}, "12a", "digits"),
        ({"count": 3}, "1234", "3 boxes"),
        ({"count": 3, "format": "[1-3]+"}, "124", r"the format '\[1-3\]\+'"),
        ({"count": 4, "check_digit": "luhn"}, "1234", "check digit"),
        ({"type": "number", "least": 0, "greatest": 9}, "10", "between 0 and 9"),
        ({"type": "number", "least": 0.5}, "0,4", "0.5 or more"),
        ({"type": "number", "greatest": 9}, "ten", "9 or less"),
        ({"type": "date"}, "2026-02-30", "no such day"),
        ({"type": "date"}, "20260203", "no such day"),
        ({"type": "choice", "options": ("A", "B")}, "C", "'C' cannot be marked"),
        ({"type": "choice", "options": ("A", "B")}, "A;B", "only one"),
        ({"type": "signature"}, "yes", "signed"),
        ({"count": 3}, "", "the form asks for it"),
    ],
)
def test_a_value_that_the_form_does_not_admit_is_explained(
    field: dict[str, object], value: str, words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(refusal(FormField.parse({"name": "x", **field}), value))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"count": 3}, "12"),
        ({"count": 3, "required": False}, ""),
        ({"count": 5, "format": "[0-9-]+"}, "12-34"),
        ({"type": "number", "least": 0, "greatest": 2000}, "1.250,5"),
        ({"type": "date"}, "2024-02-29"),
        ({"type": "choices", "options": ("A", "B")}, "A;B"),
        ({"type": "signature"}, "signed"),
        ({"type": "text", "values": ("Jo Li",)}, "Jo Li"),
    ],
)
def test_what_the_form_admits_is_admitted(field: dict[str, object], value: str) -> None:
    assert refusal(FormField.parse({"name": "x", **field}), value) is None


def test_a_folder_that_is_none_is_refused_by_the_command(
    penstroke: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = penstroke("form", "review", str(tmp_path))
    assert outcome.exit_code == 2
    assert "not a folder of answers" in outcome.err
