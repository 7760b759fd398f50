"""`penstroke retrain`: the served model, trained further on corrections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from penstroke.cli import options as shared
from penstroke.cli.console import exit_json, progress_bar, say
from penstroke.cli.options import argument, changes_from, option, takes
from penstroke.cli.train import follow

if TYPE_CHECKING:
    from penstroke.runs.retraining import Outcome

KEPT = 3
"""The exit code where the new model is not shown to be as good: the served one stays."""


@dataclass(frozen=True, kw_only=True)
class RetrainOptions:
    """The options of `penstroke retrain`."""

    model: Path = argument("The model.onnx that is served.", metavar="FILE")
    recipe: str = option("Recipe to train by.", "finetune")
    dataset: str | None = option(
        "Data set to train on with the corrections; that of the served model by default.",
        metavar="NAME")  # fmt: skip
    margin: float = option(
        "Loss of validation accuracy up to which the new model is not worse.", 0.002,
        min=0.0001, max=0.5)  # fmt: skip
    changes: list[str] | None = shared.SET
    report: bool = shared.REPORT
    as_json: bool = shared.JSON


@takes(RetrainOptions)
def command(options: RetrainOptions) -> None:
    """Train a served model further on the corrections, and replace it if the new one is not worse.

    Judged on validation images and on a fixed fifth of the corrections, never on the test split. A
    service that serves FILE loads the new model at once. The same command resumes. Exit codes: 0
    replaced, or nothing new; 3 the new model was worse, or not shown to be as good: FILE stays.
    """
    from penstroke.runs.pipeline import start_or_resume
    from penstroke.runs.retraining import STEM, deployed_model

    if any(assignment.startswith("model.") for assignment in options.changes or ()):
        raise typer.BadParameter("the network is that of the served model: leave --set model.… out")
    changes = changes_from(options.changes, {"data.dataset": options.dataset})
    with deployed_model(options.model) as served:
        config = served.config(options.recipe, changes)
        outcome = served.nothing_new(config, options.margin)
        if outcome is None:
            training = start_or_resume(config, stem=STEM, pretrained=served.source)
            if training.run.status == "unfinished":
                follow(training)
                with progress_bar("exporting and evaluating"):
                    training.finish(report=options.report)
            outcome = served.replace_if_not_worse(training.run, training.characters, options.margin)
    _show(outcome)


def _show(outcome: Outcome) -> None:
    exit_code = KEPT if outcome.action == "kept" else 0
    exit_json(vars(outcome), exit_code)
    say("")
    if outcome.left_out:
        labels = ", ".join(f"{count} of {label}" for label, count in outcome.left_out.items())
        say(f"left out: {labels}: corrections of classes that the model does not have")
    words = {
        "replaced": f"replaced {outcome.model} by the model of {outcome.run}",
        "kept": f"kept {outcome.model}: the model of {outcome.run} is not shown to be as good",
        "nothing_new": f"kept {outcome.model}",
    }
    say(f"{words[outcome.action]}: {outcome.reason}" if outcome.action == "nothing_new"
        else f"{words[outcome.action]}\n{outcome.reason}")  # fmt: skip
    if outcome.previous:
        say(f"to go back: mv {outcome.previous} {outcome.model}")
    raise typer.Exit(exit_code)
