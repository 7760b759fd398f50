"""The model card of a run, in Markdown (after Mitchell et al. 2019).

Each figure on it comes from a file of the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from penstroke.evaluation.external import ExternalEvaluation, load_external_evaluations
from penstroke.evaluation.forgetting import Forgetting
from penstroke.inference.recognizer import Recognizer
from penstroke.reports.html import percent

if TYPE_CHECKING:
    from penstroke.runs.run import Run
    from penstroke.runs.summaries import RunSummary

_LIMITS = [
    "- Cursive words: characters must be apart or merely touch (`penstroke read`).",
    "- Rotated images: characters are taken to be upright.",
    "- Decisions about people on a single character: check the probabilities.",
]


def write_card(run: Run) -> str:
    """Return the model card of a finished run.

    Raises:
        RunError: the run is not finished.
        ModelFileError: its model.onnx is missing or damaged.
    """
    figures = run.summary()
    recognizer = Recognizer.load(run.path)
    evaluations = load_external_evaluations(run.path / "external")
    sections = {
        f"# {run.name}": _description(run, recognizer),
        "## Training data": _training(run),
        "## Evaluation": _figures(run, figures),
        "## External evaluation": _external(evaluations),
        "## Rejection": _rejection(recognizer),
        "## Limitations": _LIMITS,
    }
    return "\n".join("\n".join([title, "", *lines]) + "\n" for title, lines in sections.items())


def _description(run: Run, recognizer: Recognizer) -> list[str]:
    config = run.record.config
    members = f", {len(run.record.members)} averaged" if run.record.members else ""
    return [
        f"Reads one handwritten character: {', '.join(recognizer.classes)}.",
        "",
        f"- network: {config.model.architecture}{members}, "
        f"{run.model_path.stat().st_size / 1e6:.2f} MB as model.onnx",
        f"- trained: {run.record.created} with Penstroke "
        f"{recognizer.metadata.get('penstroke_version', '?')}, seed {config.train.seed}",
        f"- settings, versions and machine: `penstroke runs show {run.name}`",
    ]


def _training(run: Run) -> list[str]:
    data, config = run.record.data, run.record.config
    augment = config.train.augment.model_dump()
    augmentation = ", ".join(f"{name} {value:g}" for name, value in augment.items() if value)
    return [
        f"- {data.train_images:,} images of `{config.data.dataset}` "
        f"(fingerprint {data.fingerprint[:12]}…); {data.validation_images:,} held out for "
        f"validation, {data.test_images:,} for the test",
        *_origin(run),
        f"- augmentation: {augmentation or 'none'}",
        f"- outlier exposure: {config.train.outlier_exposure:.0%} of each batch",
        f"- normalisation: ink {data.ink.box_pixels} pixels high or wide, its {data.ink.center} "
        "centred",
    ]


def _origin(run: Run) -> list[str]:
    start, forgetting = run.record.pretrained, Forgetting.load(run.path)
    if start is None:
        return []
    line = f"- fine-tuned from `{start.run}` (SHA-256 {start.sha256[:12]}…)"
    if forgetting is not None and forgetting.images:
        line += (
            f"; on {forgetting.images:,} validation images of `{forgetting.dataset}` accuracy was "
            f"{percent(forgetting.before)} before and is {percent(forgetting.after)} after"
        )
    return [line]


def _figures(run: Run, figures: RunSummary) -> list[str]:
    if figures.test_accuracy is None:
        return [f"Not evaluated: run `penstroke evaluate {run.name}`."]
    return _table(
        ("figure", "value"),
        [
            ("accuracy, validation", percent(figures.val_accuracy)),
            ("accuracy, test", percent(figures.test_accuracy)),
            ("balanced accuracy, test", percent(figures.test_balanced_accuracy)),
            ("macro F1, test", _number(figures.test_f1, 4)),
            ("AUROC, test", _number(figures.test_auroc, 5)),
            ("calibration error, test", percent(figures.test_ece)),
        ],
    )


def _external(evaluations: Sequence[ExternalEvaluation]) -> list[str]:
    if not evaluations:
        return [
            "Not evaluated. `penstroke evaluate RUN --external FOLDER` does so, on labelled images "
            "in one folder per class (or a zip of it)."
        ]
    lines = _table(
        ("source", "images", "accuracy", "95 % interval", "accuracy if none is rejected"),
        [
            (_escape(e.source), f"{e.images:,}", percent(e.accuracy),
             f"{percent(e.interval[0])} to {percent(e.interval[1])}", percent(e.forced_accuracy))
            for e in evaluations
        ],
    )  # fmt: skip
    for evaluation in evaluations:
        lines += [f"### {_escape(evaluation.source)}", "", *_details(evaluation)]
    return lines


def _details(evaluation: ExternalEvaluation) -> list[str]:
    lines = _table(
        ("class", "images", "right", "rejected", "wrong", "read as"),
        [
            (_escape(c.label), c.images, c.right, c.rejected, c.wrong,
             ", ".join(f"{_escape(label)} {count}×" for label, count in c.read_as))
            for c in evaluation.classes
            if c.images
        ],
    )  # fmt: skip
    lines += _table(
        ("confidence threshold", "accepted", "accuracy on these", "OOD images accepted"),
        [
            (f"{p.threshold:g}", percent(p.accepted), percent(p.accuracy if p.accepted else None),
             percent(p.ood_accepted))
            for p in evaluation.points
        ],
    )  # fmt: skip
    if evaluation.auroc is not None:
        ignored = f" (without {', '.join(evaluation.ignored)})" if evaluation.ignored else ""
        score = evaluation.ood_score_auroc
        lines += [
            f"AUROC of known characters against {evaluation.ood_images:,} images of other "
            f"characters{ignored}: {evaluation.auroc:.3f} by the probability of the prediction"
            f"{'' if score is None else f', {score:.3f} by ood_score'}.",
            "",
        ]
    return lines


def _rejection(recognizer: Recognizer) -> list[str]:
    return [
        f"- A prediction with less than {recognizer.confidence_threshold:.0%} probability is "
        "`rejected`, without a label; `--confidence-threshold` raises that.",
        "- So is one whose `ood_score` is below the model's `ood_threshold`: of the images held "
        "out, 1 in 1,000 is.",
        f"- An image whose ink differs from its paper by less than "
        f"{recognizer.ink.min_contrast:.0%} of the full range is `empty`.",
        f"- Files that are damaged, not images, or larger than "
        f"{recognizer.ink.max_pixels / 1e6:.0f} megapixels are errors.",
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _escape(text: str) -> str:
    """Return `text` as plain text inside a Markdown table."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines), ""]
