"""The examples in docstrings run, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstroke

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# What load_dataset, fit and evaluate give: nobody makes them by hand.
MADE_FOR_YOU = {"DataSplits", "Epoch", "Evaluation"}
SOURCES = Path(penstroke.__file__).parent


def examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for found in pkgutil.walk_packages(penstroke.__path__, "penstroke."):
        path = SOURCES / found.name.removeprefix("penstroke.").replace(".", "/")
        path = path / "__init__.py" if found.ispkg else path.with_suffix(".py")
        if ">>>" in path.read_text():
            yield from finder.find(importlib.import_module(found.name), globs={})
    yield from finder.find(penstroke, globs={})


@pytest.fixture(scope="module")
def examples_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: the run that an example trains is there for the next."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def runs(examples_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PENSTROKE_RUNS", str(examples_runs))
    return examples_runs


EXAMPLES = [example for example in examples() if example.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_example_runs(example: doctest.DocTest) -> None:
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_every_public_name_has_an_example() -> None:
    shown = "".join(line.source for example in EXAMPLES for line in example.examples)
    names = set(re.findall(r"\w+", shown))
    assert set(penstroke.__all__) - MADE_FOR_YOU <= names


def test_every_public_name_and_its_methods_are_documented() -> None:
    undocumented = [
        f"{name}.{member}".rstrip(".")
        for name in penstroke.__all__
        for member in ["", *_own_members(getattr(penstroke, name))]
        if not _documentation(getattr(penstroke, name), member)
    ]
    assert undocumented == []


def _own_members(thing: object) -> list[str]:
    own = vars(thing) if isinstance(thing, type) else {}
    return [
        name
        for name, value in own.items()
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    ]


def _documentation(thing: object, member: str) -> str | None:
    return (getattr(thing, member) if member else thing).__doc__
