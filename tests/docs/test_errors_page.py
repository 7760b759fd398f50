"""docs/errors.md and errors.py agree."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from penstroke import errors

PAGE = (Path(__file__).parents[2] / "docs/errors.md").read_text()
PART = re.compile(
    r"^## (\w+)\n\nExit code (\d+); (.+)\.\n\n\*\*Cause\.\*\* (.+)\n\n\*\*Remedy\.\*\* (.+)$",
    re.MULTILINE,
)
PARTS = {found[0]: found[1:] for found in PART.findall(PAGE)}
CLASSES = {
    name: found
    for name, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, errors.PenstrokeError) and found is not errors.PenstrokeError
}


def test_every_error_is_on_the_page_and_nothing_else() -> None:
    assert set(PARTS) == set(CLASSES) == set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("name", CLASSES)
def test_what_the_page_says_of_it(name: str) -> None:
    exit_code, inherits, cause, remedy = PARTS[name]
    bases = [base.__name__ for base in CLASSES[name].__bases__]
    assert re.findall(r"`(\w+)`", inherits) == bases
    assert int(exit_code) == CLASSES[name].exit_code
    assert cause.endswith(".")
    assert remedy.endswith(".")


def test_exit_codes_are_those_of_the_command_line() -> None:
    from penstroke.cli.main import main

    listed = {int(code) for code in re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)}
    assert listed == {int(code) for code in re.findall(r"\d+", main.__doc__ or "")}
