"""The answers' folder: what it keeps, and the table that becomes of it."""

import csv
import json
from pathlib import Path

import pytest

from penstroke.errors import DataError
from penstroke.forms.answers import Change, FieldAnswer, PageAnswer
from penstroke.forms.answers_folder import AnswersFolder, table, write_table
from penstroke.forms.description import Form, FormField

FORM = Form(
    name="exam",
    fields=(
        FormField(name="points", count=2),
        FormField(name="group", type="choice", options=("A", "B"), page=2),
    ),
)


def page(number: int, source: str, person: str | None = None, **values: str) -> PageAnswer:
    fields = {
        name: FieldAnswer(name, value, 0.7, "doubtful", (1, 2, 3, 4), (("x", 0.1),),
                          (("1", 0.9, (1, 2, 3, 4)),))
        for name, value in values.items()
    }  # fmt: skip
    return PageAnswer(source, source, 1, number, person, 0.1, None, fields)


def test_pages_of_a_person_are_one_row_whatever_their_order() -> None:
    columns, rows = table(FORM, [
        page(2, "c.png", "Ada", group="B"), page(1, "b.png", "Bo", points="7"),
        page(1, "a.png", "Ada", points="12"),
    ])  # fmt: skip
    assert columns == ["person", "points", "group", "doubtful", "missing_pages", "source"]
    assert [[*row.values()] for row in rows] == [
        ["Ada", "12", "B", "points group", "", "a.png, page 1; c.png, page 1"],
        ["Bo", "7", "", "points", "2", "b.png, page 1"],
    ]


def test_a_blank_page_of_a_person_hides_nothing() -> None:
    blank, filled = page(1, "b.png", "Ada", points=""), page(1, "a.png", "Ada", points="12")
    for pages in ([blank, filled], [filled, blank]):
        assert [row["points"] for row in table(FORM, pages)[1]] == ["12"]


def test_without_people_a_sheet_begins_with_a_page_that_is_there_already() -> None:
    scans = [page(1, "s9.png", points="1"), page(2, "s10.png", group="A"),
             page(1, "s11.png", points="2"), page(2, "s12.png", group="B")]  # fmt: skip
    columns, rows = table(FORM, scans[::-1])
    assert columns[0] == "points"
    assert [(row["points"], row["group"]) for row in rows] == [("1", "A"), ("2", "B")]


def test_changes_are_in_the_table_and_a_line_cut_short_is_not_read(tmp_path: Path) -> None:
    folder = AnswersFolder(tmp_path / "answers")
    folder.begin(FORM, 0.999)
    one = page(1, "a.png", points="12")
    folder.append(one)
    with (folder.path / "pages.jsonl").open("a") as stream:
        stream.write('{"id": "b')
    assert AnswersFolder(folder.path).pages() == [one]
    folder.append_change(Change("me", "2026-01-01T00:00:00+00:00", "a.png", "points", "12", "13"))
    write_table(tmp_path / "answers.csv", FORM, folder.reviewed_pages())
    (row,) = csv.DictReader((tmp_path / "answers.csv").read_text().splitlines())
    assert (row["points"], row["doubtful"], row["missing_pages"]) == ("13", "", "2")
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert answers["pages"][0]["fields"]["points"]["status"] == "accepted"
    assert answers["pages"][0]["fields"]["points"]["box"] == [1, 2, 3, 4]


def test_a_folder_of_another_form_is_not_continued(tmp_path: Path) -> None:
    folder = AnswersFolder(tmp_path)
    folder.begin(FORM, 0.999)
    folder.begin(FORM, 0.999)
    with pytest.raises(DataError, match="another form"):
        folder.begin(FORM.model_copy(update={"version": 2}), 0.999)
    with pytest.raises(DataError, match="--precision 0.999"):
        folder.begin(FORM, 0.99)
    (tmp_path / "pages.jsonl").write_text("{\n")
    with pytest.raises(DataError, match="line 1 is damaged"):
        folder.pages()
