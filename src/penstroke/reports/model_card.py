"""The model card of a run, in Markdown: what it was made of, what was measured, what it refuses.

After Mitchell et al. 2019. Every figure on it stands in a file of the run, put there by a command.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from penstroke.evaluation.external import Hands
from penstroke.evaluation.forgetting import Forgetting
from penstroke.files import write_text_atomically
from penstroke.inference.recognizer import Recognizer

if TYPE_CHECKING:
    from penstroke.runs.run import Run
    from penstroke.runs.summaries import RunSummary

_FOLDER = "hands"


def keep_hands(run: Run, found: Hands) -> None:
    """Write what was measured on one source into the run, for its card."""
    name = re.sub(r"[^\w.-]+", "-", found.source).strip(".-") or "source"
    path = run.path / _FOLDER / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    write_text_atomically(path, json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")


def kept_hands(run: Run) -> list[dict[str, Any]]:
    """Return what was measured on each source, by name of the file."""
    return [json.loads(path.read_text()) for path in sorted(run.path.glob(f"{_FOLDER}/*.json"))]


def write_card(run: Run) -> str:
    """Return the card of a finished run.

    Raises:
        RunError: the run is not finished.
        ModelFileError: its model.onnx is missing or damaged.
    """
    figures = run.summary()
    recognizer = Recognizer.load(run.path)
    sections = [
        [f"# {run.name}", "", *_what_it_is(run, recognizer)],
        ["## What it was trained on", "", *_training(run)],
        ["## How well it reads its own kind of images", "", *_own(run, figures)],
        ["## How well it reads other people's handwriting", "", *_others(kept_hands(run))],
        ["## What it refuses", "", *_refuses(recognizer)],
        ["## What it is not for", "", *_LIMITS],
    ]
    return "\n".join("\n".join(section) + "\n" for section in sections)


_LIMITS = [
    "- Cursive words: characters must stand apart, or merely touch (`penstroke read`).",
    "- Images on their side or upside down: what is read is taken to stand upright.",
    "- A decision about a person on one character's answer: probabilities are there to be checked.",
]


def _what_it_is(run: Run, recognizer: Recognizer) -> list[str]:
    config = run.record.config
    members = f", {len(run.record.members)} averaged" if run.record.members else ""
    return [
        f"Reads one handwritten character: {', '.join(recognizer.classes)}.", "",
        f"- network: {config.model.architecture}{members}, "
        f"{run.model_path.stat().st_size / 1e6:.2f} MB as model.onnx",
        f"- made: {run.record.created} with Penstroke "
        f"{recognizer.metadata.get('penstroke_version', '?')}, seed {config.train.seed}",
        f"- settings, versions and machine: `penstroke runs show {run.name}`",
    ]  # fmt: skip


def _training(run: Run) -> list[str]:
    data, config = run.record.data, run.record.config
    augment = config.train.augment.model_dump()
    warps = ", ".join(f"{name} {value:g}" for name, value in augment.items() if value)
    return [
        f"- {data.train_images:,} images of `{config.data.dataset}` "
        f"(fingerprint {data.fingerprint[:12]}…); {data.validation_images:,} were held out, "
        f"{data.test_images:,} lay under seal until it was finished",
        *_origin(run),
        f"- changed at random while training: {warps or 'nothing'}",
        f"- images of no character beside them: {config.train.outlier_exposure:.0%} of each batch",
        f"- characters lie {data.ink.box_pixels} pixels high or wide, the middle of their "
        f"{data.ink.center} in the middle; every image is brought to that by `ink`",
    ]  # fmt: skip


def _origin(run: Run) -> list[str]:
    start, old = run.record.pretrained, Forgetting.load(run.path)
    if start is None:
        return []
    line = f"- fine-tuned from the network of `{start.run}` (SHA-256 {start.sha256[:12]}…)"
    if old is None or not old.images:
        return [line]
    return [
        f"{line}; of {old.images:,} validation images of `{old.dataset}` that reads "
        f"{_percent(old.before)}, this one {_percent(old.after)}"
    ]


def _own(run: Run, figures: RunSummary) -> list[str]:
    if figures.test_accuracy is None:
        return [f"Not measured: `penstroke evaluate {run.name}`."]
    rows = [
        ("accuracy, validation", _percent(figures.val_accuracy)),
        ("accuracy, test", _percent(figures.test_accuracy)),
        ("balanced accuracy, test", _percent(figures.test_balanced_accuracy)),
        ("macro F1, test", _number(figures.test_f1, 4)),
        ("AUROC, test", _number(figures.test_auroc, 5)),
        ("calibration error of its probabilities, test", _percent(figures.test_ece)),
    ]
    return _table(("figure", "value"), rows)


def _others(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return [
            "Not measured. `penstroke evaluate RUN --external FOLDER` does, on labelled images in "
            "a folder (or zip) a class."
        ]
    lines = _table(
        ("source", "images", "read rightly", "95 %", "right if it must answer"),
        [
            (_escaped(f["source"]), f"{f['images']:,}", _percent(f["accuracy"]),
             f"{_percent(f['interval'][0])} to {_percent(f['interval'][1])}",
             _percent(f["guess_accuracy"]))
            for f in found
        ],
    )  # fmt: skip
    for source in found:
        lines += [f"### {_escaped(source['source'])}", "", *_by_class(source), *_points(source)]
    return lines


def _by_class(source: dict[str, Any]) -> list[str]:
    rows = [
        (_escaped(c["label"]), c["images"], c["right"], c["rejected"], c["wrong"],
         ", ".join(f"{_escaped(label)} {count}×" for label, count in c["taken_for"]))
        for c in source["classes"]
        if c["images"]
    ]  # fmt: skip
    return _table(("class", "images", "right", "not sure", "wrong", "taken for"), rows)


def _points(source: dict[str, Any]) -> list[str]:
    rows = [
        (f"{p['threshold']:g}", _percent(p["answered"]),
         _percent(p["accuracy"] if p["answered"] else None),
         "–" if p["strangers_answered"] is None else _percent(p["strangers_answered"]))
        for p in source["points"]
    ]  # fmt: skip
    lines = _table(("least probability", "answered", "of these right", "strangers answered"), rows)
    if source["auroc"] is not None:
        but = f" (without {', '.join(source['left_out'])})" if source["left_out"] else ""
        ood_score = source.get("ood_score_auroc")
        by_familiarity = f", by ood_score {ood_score:.3f}" if ood_score is not None else ""
        lines += [
            f"Whether an image shows one of its classes, against {source['strangers']:,} images "
            f"of other characters{but}: AUROC by the probability of the answer "
            f"{source['auroc']:.3f}{by_familiarity}.",
            "",
        ]
    return lines


def _refuses(recognizer: Recognizer) -> list[str]:
    return [
        f"- An answer of less than {recognizer.confidence_threshold:.0%} probability is "
        "`rejected`, without a label; `--confidence-threshold` sets it higher.",
        "- So is one whose `ood_score` is below the model's `ood_threshold`: of the images held "
        "out, 1 in 1,000 is.",
        f"- An image whose ink differs from its paper by less than "
        f"{recognizer.ink.min_contrast:.0%} of the full range is `empty`.",
        f"- Files that are not an image, damaged, or larger than "
        f"{recognizer.ink.max_pixels / 1e6:.0f} megapixels are errors.",
    ]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _escaped(text: str) -> str:
    """Return `text` as plain text inside a Markdown table."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", text)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [*(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines), ""]
