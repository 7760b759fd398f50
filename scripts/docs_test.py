"""Runs what the documents say: README, tutorial, how-to pages, and the notebook."""

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

_TROUBLE = re.compile(r"^(error: |Error: |Usage: |Traceback )|not found$", re.MULTILINE)
PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/howto/scikit-learn.md",
    "docs/explanation/hyperband.md",
)


def run_notebook(path: Path = NOTEBOOK) -> list[str]:
    """Run every cell in a new folder; return what failed."""
    with workplace(path.read_text()) as (folder, surroundings):
        shutil.copy(path, folder)
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(surroundings)
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
        if output.output_type == "stream" and _TROUBLE.search(output.text)
    ]


def main() -> int:
    """Run all, say what does not agree."""
    troubles = []
    for page in PAGES:
        print(page, file=sys.stderr)
        troubles += run_page(ROOT / page)
    print("docs/tutorial.ipynb", file=sys.stderr)
    troubles += run_notebook()
    for trouble in troubles:
        print(trouble)
    print(f"{len(troubles)} things do not agree" if troubles else "all that was run agrees")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
