"""Commands, programs, settings and links in the pages work."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from playwright.sync_api import Browser

import docs_site
import penstroke
from browsing import illegible
from docs_test import run_notebook
from notebook import NOTEBOOK, PAGE, notebook
from penstroke.cli.main import app
from transcripts import (
    ROOT, Step, agrees, command_of, fences, masked, run_page, steps_of, updated,
)  # fmt: skip

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def written(page: Path, language: str) -> Iterator[str]:
    yield from (content for found, content in fences(page.read_text()) if found == language)


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for content in written(page, "console"):
            for step in steps_of("console", content):
                if step.text.startswith("penstroke "):
                    yield f"{page.name}: {step.text}", command_of(step)


def test_every_command_is_one_with_options_that_exist() -> None:
    found = list(commands())
    assert len(found) > 50
    for where, words in found:
        _parse(where, shlex.split(words.replace("…", ""), comments=True)[1:])


def _parse(where: str, words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="penstroke")
    while hasattr(command, "commands"):
        name = words.pop(0)
        if name.startswith("-"):
            return
        inside = command.get_command(context, name)
        assert inside is not None, f"{where}: there is no command {name}"
        command, context = inside, inside.context_class(inside, parent=context, info_name=name)
    try:
        command.make_parser(context).parse_args(words)
    except Exception as error:
        pytest.fail(f"{where}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_and_settings_can_be_read(page: Path) -> None:
    for program in written(page, "python"):
        if page.parent.name != "reference":  # signatures, not programs
            for name in _names_of_ours(ast.parse(program)):
                assert hasattr(penstroke, name) or (ROOT / f"src/penstroke/{name}.py").exists()
    for settings in written(page, "toml"):
        tomllib.loads(settings)
    for value in written(page, "json"):
        json.loads(value)


def _names_of_ours(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "penstroke":
            yield from (one.name for one in node.names)
        is_ours = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "penstroke"
        if is_ours and isinstance(node, ast.Attribute):
            yield node.attr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_notebook_is_the_tutorial() -> None:
    assert NOTEBOOK.read_text() == notebook(PAGE.read_text()), "run `make reference`"
    assert (
        sum(cell["cell_type"] == "code" for cell in json.loads(NOTEBOOK.read_text())["cells"]) > 9
    )


def test_everything_that_the_tutorial_does_it_shows() -> None:
    for language, content in fences(PAGE.read_text()):
        for step in steps_of(language, content):
            assert not step.is_for_show
            assert step.kind != "command" or step.shown


def test_every_command_of_the_readme_is_run() -> None:
    text = (ROOT / "README.md").read_text()
    steps = [step for kind, content in fences(text) for step in steps_of(kind, content)]
    for_show = [step.text for step in steps if step.is_for_show]
    assert len(steps) > 14
    not_run = ("make ", "source ", "python3 -m venv ", "pip install ", "penstroke serve ")
    assert all(command.startswith(not_run) for command in for_show), for_show


def test_the_examples_that_pages_name_are_there_and_small() -> None:
    named = {word for _, words in commands() for word in words.split() if "examples/" in word}
    assert len(named) > 2
    assert all((ROOT / word[word.index("examples/") :]).is_file() for word in named), named
    assert sum(file.stat().st_size for file in (ROOT / "examples").iterdir()) < 400_000


@pytest.mark.browser
def test_the_site_builds_and_is_legible(
    capsys: pytest.CaptureFixture[str], browser: Browser
) -> None:
    assert docs_site.main() == 0, capsys.readouterr().err
    for name in ("index", "tutorial", "serving", "reference/settings"):
        for width, scheme in ((1280, "light"), (390, "dark")):
            size = {"width": width, "height": 900}
            page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto((docs_site.SITE / f"{name}.html").as_uri())
            page.add_style_tag(content="* { transition: none !important }")
            assert illegible(page, scheme) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.close()


def test_what_a_site_would_load_from_elsewhere_is_found(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(
        '<script src="https://unpkg.com/x"></script><img src="none.png"><a href="#nowhere">x</a>'
        '<h1 id="there">x</h1><a href="#there">y</a><a href="https://example.org">z</a>'
    )
    (site / "style.css").write_text("@font-face { src: url(https://fonts.example/x.woff) }")
    assert list(docs_site.faults(site)) == [
        "index.html loads https://unpkg.com/x",
        "index.html: #nowhere leads nowhere",
        "index.html: none.png leads nowhere",
        "style.css loads https://fonts.example/x.woff",
    ]


def test_a_page_without_a_place_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs_site, "_pages", lambda _: iter(["index.md", "nonsense.md"]))
    assert docs_site.main() == 1
    said = capsys.readouterr().err
    assert "docs/tutorial.md is missing in the navigation" in said
    assert "docs/nonsense.md does not exist" in said


def test_a_transcript_is_run_and_compared(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = (
        "```text\n# file: said.txt\nhello\n```\n\n"
        "<!-- run: cp said.txt heard.txt -->\n"
        "```console\n$ penstroke data show digits\nclass  train  test\n…\nall 1 1\n\n"
        "pixels: mean 0.9, standard deviation 0.9 of full scale\nsheet: x\n\n"
        "$ penstroke train NAME\n$ rm -r important\n```\n\n"
        "```python\nprint(open('heard.txt').read().upper())\n```\n\n```text\nHELLO\n```\n"
    )
    page.write_text(text)
    (trouble,) = run_page(page)
    assert "-sheet: x" in trouble
    assert "+sheet: ./.cache/sheets/digits.png" in trouble
    run_page(page, write=True)
    assert run_page(page) == []
    assert "of full scale\nsheet:  ./.cache/sheets/digits.png\n\n$ penstroke train NAME" in (
        page.read_text()
    )
    page.write_text(page.read_text().replace("show digits", "show --nonsense digits"))
    (trouble,) = run_page(page)
    assert "failed (2)" in trouble


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("accuracy 98.1 %  in 3.2 s", "accuracy  99 % in 12 s", True),
        ("accuracy 98.1 %", "precision 98.1 %", False),
        ("run-0a1b2c3d: 2 threads, bfloat16 on cpu", "run-ffffffff: 16 threads, float32", True),
        ("one\n…\nthree", "one\ntwo\ntwo\nthree", True),
        ("one\n…\nfour", "one\ntwo\nthree", False),
        ("one", "one\ntwo", False),
    ],
)
def test_what_counts_as_the_same(shown: str, printed: str, same: bool) -> None:
    assert agrees(shown.splitlines(), printed.splitlines()) is same


def test_what_is_left_out_stays_left_out() -> None:
    assert updated(["a", "…", "c"], ["1", "2", "3", "4"]) == ["1", "…", "4"]
    assert updated(["?"], ["1", "2"]) == ["1", "2"]
    assert masked("val loss 1.5e-3") == masked("val loss 12")
    assert Step("command", "penstroke evaluate RUN").is_for_show
    assert Step("command", "make demo").is_for_show
    assert Step("command", "penstroke serve runs/x-7D").is_for_show
    assert Step("command", "penstroke serve   # a page").is_for_show
    assert not Step("command", "penstroke predict runs/x-7D a.png  # a IMAGE").is_for_show


def test_a_notebook_is_run_and_its_troubles_are_told(tmp_path: Path) -> None:
    path = tmp_path / "small.ipynb"
    path.write_text(
        notebook(
            "```console\n$ penstroke --version\n```\n\n```text\n# file: a.txt\nhello\n```\n\n"
            "```console\n$ penstroke data show nonsense\n$ penstroke train --nonsense\n```\n\n"
            "```python\nprint(open('a.txt').read())\n```\n\n```python\nprint(nonsense)\n```\n"
        )
    )
    (failed,) = run_notebook(path)
    assert "NameError: name 'nonsense' is not defined" in re.sub(r"\x1b\[[0-9;]*m", "", failed)
    path.write_text(path.read_text().replace("print(nonsense)", "print('calibration error: 1 %')"))
    first, second = run_notebook(path)
    assert "unknown data set" in first
    assert "--nonsense" in second


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert project["version"] == penstroke.__version__
    assert f"\nversion: {penstroke.__version__}\n" in citation
