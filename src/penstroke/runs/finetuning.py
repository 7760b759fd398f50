"""Fine-tuning: a finished run as the start of another, and what that one has forgotten of it."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from penstroke.data.dataset import Dataset
from penstroke.data.lines import LineDataset
from penstroke.data.loading import load_dataset
from penstroke.data.run_data import load_data
from penstroke.errors import PenstrokeError, RunError
from penstroke.evaluation.forgetting import Forgetting, measure_forgetting
from penstroke.files import sha256
from penstroke.inference.bundled import bundled_names
from penstroke.models.build import PretrainedWeights, rows_of
from penstroke.runs.run import PretrainedFacts, Run, find_run
from penstroke.runs.trained import network_of


@dataclass(frozen=True, eq=False)
class PretrainedRun(PretrainedWeights):
    """The weights of a finished run to start from, and the SHA-256 of its model.safetensors."""

    run: Run
    sha256: str

    def facts(self, classes: tuple[str, ...]) -> PretrainedFacts:
        """Return the record for a run on `classes` that starts from this one."""
        known = tuple(name for name in classes if rows_of(name, self.classes))
        new = tuple(name for name in classes if name not in known)
        return PretrainedFacts(
            run=self.run.name, sha256=self.sha256, known_classes=known, new_classes=new
        )

    def count_trained_on(self, held_out: Dataset | LineDataset) -> int:
        """Return how many of `held_out` the run was trained on; 0 if its data cannot be loaded."""
        with contextlib.suppress(PenstrokeError):
            trained_on = load_data(self.run.record.config).train
            if isinstance(held_out, Dataset) and isinstance(trained_on, Dataset):
                return int(held_out.is_in(trained_on).sum())
            if isinstance(held_out, LineDataset) and isinstance(trained_on, LineDataset):
                return int(held_out.is_in(trained_on).sum())
        return 0

    def measure_forgetting(self, tuned: nn.Module, new: Dataset) -> Forgetting:
        """Return how well `tuned`, fine-tuned on `new`, reads the run's own validation images."""
        record, name = self.run.record, self.run.name
        try:
            data = load_dataset(record.config.data)
        except PenstrokeError as error:  # fine-tuning needs the weights, not the images
            return Forgetting(name, record.config.data.dataset, reason=str(error))
        if data.fingerprint != record.data.fingerprint:
            reason = f"{data.name} is no longer what {name} was trained on"
            return Forgetting(name, data.name, reason=reason)
        pretrained = network_of(record, self.weights)
        return measure_forgetting(name, data.name, data.validation, pretrained, tuned, new)


def find_pretrained(name: str) -> PretrainedRun:
    """Return the finished run `name`, a name or a path, to start from."""
    if name.endswith(".onnx"):
        raise RunError(
            f"{name} is an ONNX file, whose weights are folded and cannot be trained on: name the "
            f"run that it came from: {Path(name).parent}"
        )
    run = find_run(name)
    if run.record.members:
        raise RunError(
            f"{run.path} averages {len(run.record.members)} networks, and training starts from "
            f"one: name one of them, {run.record.members[0]} for instance"
        )
    checksum = sha256(run.read_model("model.safetensors"))
    return PretrainedRun(run.model().weights, run.record.data.classes, run, checksum)


def default_pretrained(classes: tuple[str, ...]) -> PretrainedRun:
    """Return the bundled model of characters with the most of `classes`, and few others."""
    records = {name: find_run(name).record for name in bundled_names()}

    def merit(name: str) -> tuple[int, int]:
        known = records[name].data.classes
        return sum(bool(rows_of(one, known)) for one in classes), -len(known)

    recognisers = (name for name in records if not records[name].config.reads_lines)
    return find_pretrained(max(recognisers, key=merit))


def pretrained_of(run: Run) -> PretrainedRun | None:
    """Return the run that `run` was fine-tuned from, if any; RunError if it is gone or changed."""
    if (facts := run.record.pretrained) is None:
        return None
    pretrained = find_pretrained(facts.run)
    if pretrained.sha256 != facts.sha256:
        raise RunError(
            f"{run.path} started from {facts.run}, which has other weights now: name the run to "
            "start from with --init-from"
        )
    return pretrained
