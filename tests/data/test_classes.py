from __future__ import annotations

import string
from collections import Counter

import pytest

from penstroke.data.image_import import ClassMap, check_renamed, parse_map
from penstroke.errors import ConfigError, DataError

EVERYTHING = Counter(string.digits + string.ascii_letters)


@pytest.mark.parametrize(
    ("wanted", "merge_case", "classes"),
    [
        (None, False, (*string.digits, *string.ascii_uppercase, *string.ascii_lowercase)),
        (("digits",), False, tuple(string.digits)),
        (("letters",), False, (*string.ascii_uppercase, *string.ascii_lowercase)),
        (("upper", "3"), False, (*string.ascii_uppercase, "3")),
        (("2", "0", "1"), False, ("2", "0", "1")),
    ],
)
def test_classes_and_their_order(
    wanted: tuple[str, ...] | None, merge_case: bool, classes: tuple[str, ...]
) -> None:
    assert ClassMap(wanted=wanted, merge_case=merge_case).chosen(EVERYTHING) == classes


def test_both_cases_as_one() -> None:
    classes = ClassMap(merge_case=True)
    present = Counter(classes.class_of(name, name) or "" for name in EVERYTHING)
    chosen = classes.chosen(present)
    assert len(chosen) == 36
    assert chosen[9:12] == ("9", "Aa", "Bb")
    assert ClassMap(wanted=("a", "B"), merge_case=True).chosen(present) == ("Aa", "Bb")


def test_numbers_are_ordered_by_value_and_absent_members_of_a_group_passed_over() -> None:
    assert ClassMap().chosen(Counter(["10", "9", "b", "A"])) == ("9", "10", "A", "b")
    assert ClassMap(wanted=("digits",)).chosen(Counter("73A")) == ("3", "7")


def test_what_is_asked_for_by_name_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r'no image shows "digit" \(did you mean "digits"\?\)'):
        ClassMap(wanted=("digit",)).chosen(EVERYTHING)


@pytest.mark.parametrize(
    ("present", "said"),
    [
        (Counter("AAA"), 'only one class, "A"'),
        (Counter(), "none of these classes"),
        (Counter(["A", "x" * 33]), "cannot be the name of a class"),
        (Counter(["A", "a\nb"]), "cannot be the name of a class"),
    ],
)
def test_classes_that_cannot_be(present: Counter[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        ClassMap().chosen(present)


def test_maps_rename_folders_and_labels() -> None:
    renamed = parse_map(["upper_A=Alpha", "B=Beta", "junk=", "===", "o=0"])
    assert renamed == {"upper_A": "Alpha", "B": "Beta", "junk": "", "=": "=", "o": "0"}
    classes = ClassMap(renamed=renamed)
    assert classes.class_of("upper_A", "A") == "Alpha"
    assert classes.class_of("upper_B", "B") == "Beta"
    assert classes.class_of("junk", "junk") is None
    assert classes.class_of("lower_a", "a") == "a"


@pytest.mark.parametrize("change", ["A", "=A", ""])
def test_maps_that_cannot_be(change: str) -> None:
    with pytest.raises(ConfigError, match="not of the form LABEL=CLASS"):
        parse_map([change])
    with pytest.raises(ConfigError, match="mapped to 'x' and to 'y'"):
        parse_map(["A=x", "A=y"])
    with pytest.raises(ConfigError, match=r"labelled 'uper_A' \(did you mean \"upper_A\"\?\)"):
        check_renamed({"uper_A": "A"}, ["upper_A", "A"])
