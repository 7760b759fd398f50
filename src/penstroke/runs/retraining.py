"""Retraining on corrections: a served model file is replaced where the new network is not worse.

A served model is one file, which nothing but `write_atomically` changes; the runs that it came from
stay as they are. So a kill at any moment leaves one of the two models, whole.
"""

import contextlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from penstroke.config.class_names import class_of
from penstroke.config.recipes import load_recipe
from penstroke.config.settings import RunConfig
from penstroke.data import collected
from penstroke.data.dataset import Dataset, DataSplits
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError, DataError, RunError, StorageError
from penstroke.evaluation.comparison import LEVEL, noninferiority_p
from penstroke.files import append_lines, explained, lock, reason, sha256, write_atomically
from penstroke.inference.bundled import bundled_run
from penstroke.inference.recognizer import Recognizer
from penstroke.runs.finetuning import PretrainedRun, find_pretrained
from penstroke.runs.record import now
from penstroke.runs.run import Run

MARGIN = 0.002
"""Loss of validation accuracy that is accepted, if it is as large as the data allow."""
STEM = "retrained"


@dataclass(frozen=True)
class Judgement:
    """The new model beside the served one, on images that neither was trained on.

    `p_worse` is the p value of the new one being worse by `margin` on the validation images.
    """

    images: int
    accuracy: float
    served_accuracy: float
    only_new: int  # images that only the new model reads
    only_served: int
    margin: float
    p_worse: float
    corrections: int  # those kept for judging
    corrections_right: int
    corrections_right_served: int

    @property
    def is_not_worse(self) -> bool:
        """Whether it is shown not to be worse by the margin, and reads as many corrections."""
        return self.p_worse < LEVEL and self.corrections_right >= self.corrections_right_served

    @property
    def text(self) -> str:
        """The figures, in words."""
        text = (
            f"reads {100 * self.accuracy:.2f} % of {self.images:,} validation images, the served "
            f"one {100 * self.served_accuracy:.2f} % (worse by {100 * self.margin:g} points or "
            f"more: p = {self.p_worse:.2g})"
        )
        if self.corrections:
            text += (
                f", and {self.corrections_right} of {self.corrections} corrections kept for "
                f"judging, the served one {self.corrections_right_served}"
            )
        return text


@dataclass(frozen=True)
class Outcome:
    """What a retraining did; `sha256` is that of the model that is served now."""

    action: Literal["replaced", "kept", "nothing_new"]
    reason: str
    model: str
    sha256: str
    run: str | None = None
    previous: str | None = None
    left_out: Mapping[str, int] | None = None
    judgement: Judgement | None = None


@dataclass(frozen=True, eq=False)
class DeployedModel:
    """The file of a served model, the run that it came from, and corrections it has no class for.

    `left_out` counts those by their label.
    """

    path: Path
    content: bytes
    recognizer: Recognizer
    source: PretrainedRun
    left_out: Mapping[str, int]
    has_corrections: bool

    def config(self, recipe: str, changes: Mapping[str, Any]) -> RunConfig:
        """Return the settings to retrain with: the data of the source, and the corrections."""
        data, model = self.source.run.record.config.data, self.source.run.record.config.model
        dataset = changes.get("data.dataset", data.dataset)
        names = [name for name in dataset.split("+") if name != collected.NAME]
        if "data.dataset" in changes:  # its outliers were classes of the former
            data = data.model_copy(update={"outlier_classes": None})
        settings = {"data": data.to_dict(), "model": model.to_dict(), **changes}
        settings["data.dataset"] = "+".join([*names, collected.NAME])
        settings["data.classes"] = list(self.recognizer.classes)
        return load_recipe(recipe, settings).run_config()

    def nothing_new(self, config: RunConfig, margin: float) -> Outcome | None:
        """Return the outcome if the source was trained on the same data, or there is none to add.

        ConfigError: too few validation images to show that any network is not worse.
        """
        if not self.has_corrections:
            return self._outcome("nothing_new", "there are no corrections to train on yet")
        try:
            data = load_dataset(config.data)
        except DataError as error:
            raise DataError(
                f"{error}; or --dataset names images of the same classes to train on"
            ) from error
        judged, _ = _judged(data, config)
        if not len(judged):
            raise ConfigError(
                f"{self.source.run.name} has no validation images to judge by: give --set "
                "data.validation_fraction=0.1"
            )
        if noninferiority_p(0, 0, len(judged), margin) >= LEVEL:  # even if both read the same
            enough = math.ceil(1000 * 2.71 / (len(judged) + 2.71)) / 1000
            raise ConfigError(
                f"--margin: {len(judged):,} validation images cannot show that a model is not "
                f"worse by {margin:g}: give --margin {enough:g}, or add images"
            )
        if data.fingerprint == self.source.run.record.data.fingerprint:
            text = f"{self.source.run.name} was trained on all of {data.name} as it is now"
            return self._outcome("nothing_new", text)
        return None

    def replace_if_not_worse(self, run: Run, data: DataSplits, margin: float) -> Outcome:
        """Replace the file by the model of `run`, trained on `data`, where that is not worse.

        The old model is kept beside it. A model that was replaced by hand is not put back.
        """
        content = run.read_model()
        checksum, name = sha256(content), str(run.path)
        log = self.path.with_name(f"{self.path.stem}.retrained.jsonl")
        if checksum in _replacements(log):
            text = f"the model of {run.path} was in use before, and another took its place"
            return self._outcome("nothing_new", text, run=name)
        judgement = self._judge(
            Recognizer.from_bytes(content, str(run.model_path)), data, run, margin
        )
        if judgement.is_not_worse:
            previous = self.path.with_name(f"{self.path.stem}.previous{self.path.suffix}")
            write_atomically(previous, self.content)
            write_atomically(self.path, content)
            outcome = self._outcome(
                "replaced", judgement.text, run=name, judgement=judgement, sha256=checksum,
                previous=str(previous),
            )  # fmt: skip
        else:
            outcome = self._outcome("kept", judgement.text, run=name, judgement=judgement)
        append_lines(log, json.dumps({"time": now(), **asdict(outcome)}, ensure_ascii=False) + "\n")
        return outcome

    def _judge(self, new: Recognizer, data: DataSplits, run: Run, margin: float) -> Judgement:
        judged, corrections = _judged(data, run.record.config)
        this, served = (_is_right(model, judged) for model in (new, self.recognizer))
        more, less = int((this & ~served).sum()), int((served & ~this).sum())
        return Judgement(
            images=len(judged), accuracy=float(this.mean()), served_accuracy=float(served.mean()),
            only_new=more, only_served=less, margin=margin,
            p_worse=noninferiority_p(more, less, len(judged), margin),
            corrections=len(corrections), corrections_right=int(_is_right(new, corrections).sum()),
            corrections_right_served=int(_is_right(self.recognizer, corrections).sum()),
        )  # fmt: skip

    def _outcome(self, action: Any, text: str, **facts: Any) -> Outcome:
        facts = {"sha256": sha256(self.content), "left_out": self.left_out, **facts}
        return Outcome(action, text, str(self.path), **facts)


@contextlib.contextmanager
def deployed_model(path: Path) -> Iterator[DeployedModel]:
    """Open the model file at `path`, locked until the end of the block.

    Raises:
        ConfigError: there is no such file, or it is that of a run, which stays as it is.
        RunError: another process retrains it, or its run is gone, or has other weights now.
    """
    path = path.resolve()
    if not path.is_file() or Run.at(path.parent):
        name = path.parent.name if path.is_file() else path.name
        name = name if bundled_run(name) or Run.find(name) or Run.at(path) else "RUN"
        raise ConfigError(
            f"{path} is not a model file of its own, which can be replaced: `penstroke export "
            f"{name} --output served/model.onnx` writes one, to be served and retrained"
        )
    with _locked(path):
        with explained(f"read the model {path}", RunError):
            content = path.read_bytes()
        recognizer = Recognizer.from_bytes(content, str(path))
        source = find_pretrained(recognizer.metadata.get("run", ""))
        if sha256(source.run.read_model()) != sha256(content):
            raise RunError(
                f"{path} is not the model of {source.run.path}, as it says: that run was trained "
                "again, or another has its name"
            )
        counts, usable = Counter[str](), False
        for correction, label in collected.labels().items():
            if class_of(label, recognizer.classes) is None:
                counts[label] += 1
            else:
                usable |= collected.split_of(correction) == "train"
        yield DeployedModel(path, content, recognizer, source, dict(sorted(counts.items())), usable)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        descriptor = lock(path.with_name(f".{path.name}.lock"))
    except BlockingIOError:
        raise RunError(f"{path} is being retrained by another process") from None
    except OSError as error:
        raise StorageError(f"cannot lock {path}: {reason(error)}") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _judged(data: DataSplits, config: RunConfig) -> tuple[Dataset, Dataset]:
    """Return the validation images, and the corrections kept for judging; those alone are both."""
    names = config.data.dataset.removesuffix(collected.NAME).rstrip("+")
    validation = data.validation
    if not names:
        return validation, validation
    count = len(load_dataset(config.data.replace({"dataset": names})).validation)
    rows = np.arange(len(validation))
    return validation.subset(rows[:count]), validation.subset(rows[count:])


def _is_right(model: Recognizer, images: Dataset) -> npt.NDArray[np.bool_]:
    if not len(images):
        return np.zeros(0, bool)
    return np.asarray(model.logits(images.images).argmax(axis=1) == images.labels)


def _replacements(log: Path) -> set[str]:
    """Return the SHA-256 of each model that was put in place; a line cut short is passed over."""
    with explained(f"read {log}", RunError):
        text = log.read_text() if log.exists() else ""
    checksums = set()
    for line in text.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if (entry := json.loads(line))["action"] == "replaced":
                checksums.add(entry["sha256"])
    return checksums
