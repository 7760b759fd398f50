"""The model card of a run, in Markdown (after Mitchell et al. 2019): all from files of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstroke.evaluation.external import load_external_evaluations
from penstroke.evaluation.forgetting import Forgetting
from penstroke.inference.recognizer import Recognizer
from penstroke.reports.html import render

if TYPE_CHECKING:
    from penstroke.runs.run import Run


def write_card(run: Run) -> str:
    """Return the model card of a finished run.

    Raises:
        RunError: the run is not finished.
        ModelFileError: its model.onnx is missing or damaged.
    """
    return render(
        "model_card.md.j2",
        run=run,
        figures=run.summary(),
        recognizer=Recognizer.load(run.path),
        forgetting=Forgetting.load(run.path),
        evaluations=load_external_evaluations(run.path / "external"),
    )
