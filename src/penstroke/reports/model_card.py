"""The model card of a run, from its files: Markdown, and a page (after Mitchell et al. 2019)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.evaluation.external import ExternalEvaluation, load_external_evaluations
from penstroke.evaluation.forgetting import Forgetting
from penstroke.evaluation.line_external import ExternalLineEvaluation
from penstroke.inference.line_reader import LineReader
from penstroke.inference.recognizer import Recognizer
from penstroke.reports.html import render, write_page

if TYPE_CHECKING:
    from penstroke.runs.run import Run, RunSummary


def write_card_page(run: Run, figures: RunSummary) -> Path:
    """Write report/model-card.html, as `write_card` has it, and return its path."""
    from markdown_it import MarkdownIt

    _, _, text = write_card(run, figures).partition("\n")  # the page has a heading
    card = MarkdownIt("js-default", {"linkify": False}).render(text)
    return write_page(
        run.path / "report" / "model-card.html",
        "model_card.html.j2",
        name=run.name,
        links=[("Run report", "index.html")],
        card=re.sub("<table>.*?</table>", r'<div class="wide">\g<0></div>', card, flags=re.DOTALL),
    )


def write_card(run: Run, figures: RunSummary | None = None) -> str:
    """Return the model card of a run, in Markdown; its figures are in its summary unless given.

    Raises:
        RunError: the run is not finished.
        ModelFileError: its model.onnx is missing or damaged.
    """
    if run.record.config.reads_lines:
        return render(
            "line_card.md.j2",
            run=run,
            figures=figures or run.summary(),
            reader=LineReader.load(run.path),
            evaluations=load_external_evaluations(run.path / "external", ExternalLineEvaluation),
        )
    return render(
        "model_card.md.j2",
        run=run,
        figures=figures or run.summary(),
        recognizer=Recognizer.load(run.path),
        forgetting=Forgetting.load(run.path),
        evaluations=load_external_evaluations(run.path / "external", ExternalEvaluation),
    )
