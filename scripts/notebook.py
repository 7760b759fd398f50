"""Writes docs/tutorial.ipynb from docs/tutorial.md: the same text, commands and programs.

The output shown in the page is the output of the cells, so that the notebook can be read without
being run. A test compares the two, and runs the notebook.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from transcripts import Step, command_of, steps_of

ROOT = Path(__file__).parents[1]
PAGE, NOTEBOOK = ROOT / "docs/tutorial.md", ROOT / "docs/tutorial.ipynb"
_PART = re.compile(
    r"^```(\w+)\n(.*?)^```$(?:\n\n```text\n(?!# file: )(.*?)^```$)?", re.MULTILINE | re.DOTALL
)
Cell = dict[str, Any]


def notebook(page: str) -> str:
    """Return the notebook of `page`, as a file."""
    cells: list[Cell] = []
    end = 0
    for part in _PART.finditer(page):
        cells += _text(page[end : part.start()])
        cells += _cells(part[1], part[2], part[3] or "")
        end = part.end()
    cells += _text(page[end:])
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _text(text: str) -> list[Cell]:
    # Links and figures are files of the site, which a notebook does not have.
    text = re.sub(r"!\[[^\]]*\]\([^)]+\)\n+", "", text)
    plain = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", text).strip()
    return [{"cell_type": "markdown", "metadata": {}, "source": plain}] if plain else []


def _cells(language: str, content: str, printed: str) -> list[Cell]:
    return [_code(step, printed) for step in steps_of(language, content)]


def _code(step: Step, printed: str) -> Cell:
    shown = printed or "".join(f"{line}\n" for line in step.shown)
    if step.kind == "command":
        source = f"!{command_of(step)}"
    elif step.kind == "file":
        name, _, rest = step.text.partition("\n")
        source, shown = f"%%writefile {name.removeprefix('# file: ')}\n{rest.rstrip()}", ""
    else:
        source = step.text.rstrip()
    outputs = [{"name": "stdout", "output_type": "stream", "text": shown}] if shown else []
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": outputs,
        "source": source,
    }


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(PAGE.read_text()))
    print(NOTEBOOK.relative_to(ROOT))
