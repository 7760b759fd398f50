"""Forms described in TOML: what is asked for, and where."""

import itertools
from pathlib import Path

import pytest

from penstroke.errors import ConfigError
from penstroke.forms.description import Form, read_form

NUMBER = """
[[fields]]
name = "number"
type = "digits"
count = 9
"""


def described(folder: Path, fields: str, head: str = "") -> Form:
    path = folder / "form.toml"
    path.write_text(f'name = "exam"\n{head}{fields}')
    return read_form(path)


def test_fields_are_laid_out_in_order_without_overlap_inside_the_markers(tmp_path: Path) -> None:
    fields = "".join(
        f'[[fields]]\nname = "f{k}"\ntype = "{kind}"\n{more}\n'
        for k, (kind, more) in enumerate([
            ("digits", "count = 9"), ("letters", "count = 40"), ("date", ""), ("number", ""),
            ("choice", 'options = ["yes", "no", "do not know"]'), ("text", ""), ("signature", ""),
            *[("text", "")] * 12,
        ])
    )  # fmt: skip
    form = described(tmp_path, fields, 'paper = "Letter"\n')
    assert form.page_count == 2
    assert [field.page for field in form.fields] == sorted(field.page for field in form.fields)
    for field in form.fields:
        assert len(field.boxes) == field.box_count
        for box in field.boxes:
            assert box.left >= 20
            assert box.right <= 215.9 - 20
            assert box.top >= 32
            assert box.bottom <= 279.4 - 14
    for one, other in itertools.combinations(form.fields, 2):
        if one.page == other.page:
            assert not any(a.overlaps(b) for a in one.boxes for b in other.boxes)


def test_values_come_from_a_column(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name,number\nAda,123456789\nAlan,987654321\n,\n")
    form = described(tmp_path, NUMBER + 'one_of = "list.csv:number"\n')
    assert form.fields[0].values == ("123456789", "987654321")
    constraint = form.fields[0].constraint
    assert constraint is not None
    again = Form.parse(form.to_dict())  # complete: it needs no list any more
    assert again == form


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (NUMBER.replace("count = 9", ""), "number: count"),
        (NUMBER + 'format = "(1"\n', "field number"),
        (NUMBER + 'one_of = "none.txt"\n', "none.txt"),
        (NUMBER + 'values = ["1", "1"]\n', "'1' is given twice"),
        (NUMBER + 'values = ["1234567890"]\n', "does not fit into 9 boxes"),
        (NUMBER + NUMBER, "two fields have the name 'number'"),
        (NUMBER + "conut = 9\n", "conut"),
        (NUMBER + 'check_digit = "lun"\n', "check_digit"),
        ('[[fields]]\nname = "x"\ntype = "choice"\noptions = ["a"]\n', "x: options"),
        ('[[fields]]\nname = "x"\ntype = "number"\nboxes = [{left=190,top=10,width=30,height=9}]\n',
         "outside the page"),
        ('[[fields]]\nname = "x"\ntype = "number"\nboxes = [{left=20,top=50,width=30,height=9}]\n'
         '[[fields]]\nname = "y"\ntype = "number"\nboxes = [{left=40,top=55,width=30,height=9}]\n',
         "x and y overlap"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, fields: str, words: str) -> None:
    with pytest.raises(ConfigError, match="form.toml") as refusal:
        described(tmp_path, fields)
    assert words in str(refusal.value)


def test_an_unknown_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name,id\nAda,1\n")
    with pytest.raises(ConfigError, match="no column 'number'; it has name, id"):
        described(tmp_path, NUMBER + 'one_of = "list.csv:number"\n')
