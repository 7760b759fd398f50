"""What a fine-tuned network still knows of what its source had learned."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from penstroke.config.class_names import is_same_character
from penstroke.data.dataset import Dataset
from penstroke.data.loading import load_dataset
from penstroke.errors import PenstrokeError
from penstroke.evaluation.intervals import Interval, wilson
from penstroke.evaluation.predictions import predict
from penstroke.files import write_text_atomically
from penstroke.runs.run import Run

_FILE = "forgetting.json"


@dataclass(frozen=True)
class Forgetting:
    """How well the source's validation images are read before and after fine-tuning.

    The same images both times: of classes that both networks have, and that neither was trained
    on. They never chose a setting of the fine-tuned run.

    Attributes:
        source: name of the run.
        dataset: the source's.
        images: how many images are judged.
        before, after: share read right by the source and by the fine-tuned network; None of none.
        before_interval, after_interval: of these, 95 % (Wilson).
        trained_on: images left out since the fine-tuned network was trained on them.
        dropped: classes of the source that the fine-tuned network has no more, left out too.
        reason: why nothing could be judged; empty where something was.
    """

    source: str
    dataset: str
    images: int = 0
    before: float | None = None
    after: float | None = None
    before_interval: Interval | None = None
    after_interval: Interval | None = None
    trained_on: int = 0
    dropped: tuple[str, ...] = ()
    reason: str = ""


def measure(run: Run, source: Run, trained_on: Dataset) -> Forgetting:
    """Return what `run`, which began from `source`, has forgotten; kept in the run.

    `trained_on` are the images that `run` was trained on. The test split is not opened.
    """
    found = _measured(run, source, trained_on)
    write_text_atomically(run.path / _FILE, json.dumps(asdict(found), indent=2) + "\n")
    return found


def kept(run: Run) -> Forgetting | None:
    """Return what was measured of `run`; None where nothing was."""
    path = run.path / _FILE
    if not path.exists():
        return None
    values: dict[str, Any] = json.loads(path.read_text())
    for name, value in values.items():
        values[name] = tuple(value) if isinstance(value, list) else value
    return Forgetting(**values)


def figures(run: Run) -> dict[str, Any]:
    """Return what a summary says of it: `source` and `old_…`; empty of a run that has none."""
    found = kept(run)
    if found is None:
        return {}
    return {
        "source": found.source,
        "old_dataset": found.dataset,
        "old_images": found.images,
        "old_accuracy_before": found.before,
        "old_accuracy_after": found.after,
        **({"old_reason": found.reason} if found.reason else {}),
    }


def _measured(run: Run, source: Run, trained_on: Dataset) -> Forgetting:
    record = source.record
    nothing = Forgetting(source.name, record.config.data.dataset)
    classes = run.record.data.classes
    try:
        data = load_dataset(record.config.data)
    except PenstrokeError as error:  # fine-tuning needs the source's weights, not its images
        return _because(nothing, str(error))
    if data.fingerprint != record.data.fingerprint:
        return _because(nothing, f"{data.name} is no longer what {source.name} was trained on")
    old = data.validation
    if not len(old):
        return _because(nothing, f"{source.name} held out no validation images")
    dropped = tuple(name for name in old.classes if not _known(name, classes))
    is_fresh = ~old.is_in(trained_on)
    is_kept = np.array([old.classes[label] not in dropped for label in old.labels], bool)
    judged = old.subset(np.flatnonzero(is_fresh & is_kept))
    if not len(judged):
        return _because(nothing, "no image is left that neither network was trained on")
    before, after = (_right(one, judged) for one in (source, run))
    return Forgetting(
        source.name, data.name, len(judged), float(before.mean()), float(after.mean()),
        wilson(int(before.sum()), len(judged)), wilson(int(after.sum()), len(judged)),
        int((~is_fresh).sum()), dropped,
    )  # fmt: skip


def _because(found: Forgetting, reason: str) -> Forgetting:
    return Forgetting(found.source, found.dataset, reason=reason)


def _known(name: str, classes: tuple[str, ...]) -> bool:
    return any(is_same_character(name, one) for one in classes)


def _right(run: Run, images: Dataset) -> npt.NDArray[np.bool_]:
    """Return whether `run` reads each image as its class, or as one that takes that in."""
    classes = run.record.data.classes
    unlabelled = Dataset(images.images, np.zeros(len(images), np.int64), classes)
    read = predict(run, unlabelled).predicted
    agrees = np.array([[is_same_character(a, b) for b in classes] for a in images.classes])
    return np.asarray(agrees[images.labels, read])
