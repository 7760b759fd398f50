"""Names of classes, with one or both cases."""

from __future__ import annotations

import string

import pytest

from penstroke.config.class_names import accepts, as_text, class_of, is_merged, merged


@pytest.mark.parametrize("letter", string.ascii_letters)
def test_both_cases_are_one_class(letter: str) -> None:
    name = merged(letter)
    assert name == letter.upper() + letter.lower()
    assert is_merged(name)
    assert merged(name) == name
    assert accepts(name, letter)
    assert as_text(name) == letter.upper()


@pytest.mark.parametrize("name", [*string.digits, "?", "ß", "word", "aA", "AB", "11", "", "字"])
def test_what_has_no_two_cases_stays_itself(name: str) -> None:
    assert merged(name) == name
    assert not is_merged(name)
    assert as_text(name) == name
    assert accepts(name, name)


def test_a_image_belongs_to_the_class_that_accepts_it() -> None:
    assert class_of("b", ("Aa", "Bb")) == "Bb"
    assert class_of("b", ("B", "b")) == "b"
    assert class_of("b", ("A", "B")) is None
    assert not accepts("Aa", "")
    assert not accepts("Aa", "b")
