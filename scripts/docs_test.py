"""Runs the commands and programs of README, tutorial, how-to pages, and the notebook."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from notebook import NOTEBOOK
from transcripts import ROOT, run_page, workplace

_FAILURE = re.compile(r"^(error: |Error: |Usage: |Traceback )|not found$", re.MULTILINE)
PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/howto/scikit-learn.md",
    "docs/explanation/hyperband.md",
)


def run_notebook(path: Path = NOTEBOOK) -> list[str]:
    """Run every cell in a new folder; return what failed."""
    with workplace(path.read_text()) as (folder, environment):
        shutil.copy(path, folder)
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(environment)
        try:
            whole = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
            resources = {"metadata": {"path": str(folder)}}
            NotebookClient(whole, timeout=900, resources=resources).execute()
        except CellExecutionError as error:
            return [f"{path.name}: {error}"]
        finally:
            os.environ.clear()
            os.environ.update(before)
    return _failed_commands(whole, path.name)


def _failed_commands(whole: nbformat.NotebookNode, name: str) -> list[str]:
    # A command that fails raises nothing in a notebook: its message says so.
    return [
        f"{name}: {cell.source}\n{output.text}"
        for cell in whole.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and _FAILURE.search(output.text)
    ]


def main() -> int:
    """Run all pages, and print the differences."""
    differences = []
    for page in PAGES:
        print(page, file=sys.stderr)
        differences += run_page(ROOT / page)
    print("docs/tutorial.ipynb", file=sys.stderr)
    differences += run_notebook()
    for difference in differences:
        print(difference)
    print(f"{len(differences)} differences" if differences else "all output is as shown")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
