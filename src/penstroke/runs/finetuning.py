"""Fine-tuning: a finished run as the place where another begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstroke.config.settings import RunConfig
from penstroke.data.dataset import Dataset, DataSplits
from penstroke.data.loading import load_dataset
from penstroke.errors import PenstrokeError, RunError
from penstroke.files import sha256
from penstroke.models.transfer import PretrainedWeights
from penstroke.runs.run import Run, StartFacts, find_run


@dataclass(frozen=True, eq=False)
class Source:
    """A run to begin from.

    Attributes:
        run: the directory.
        start: its weights and classes.
        sha256: of its model.safetensors.
    """

    run: Run
    start: PretrainedWeights
    sha256: str

    def applied_to(self, config: RunConfig) -> RunConfig:
        """Return `config` with the network of the source, the only one that its weights fit."""
        return config.replace({"model": self.run.record.config.model})

    def facts(self, data: DataSplits) -> StartFacts:
        """Return what a record says of the source of a run on `data`."""
        known = [name for name in data.classes if self.start.knows(name)]
        new = [name for name in data.classes if not self.start.knows(name)]
        return StartFacts(run=self.run.name, sha256=self.sha256, known=tuple(known), new=tuple(new))


def find_source(name: str) -> Source:
    """Return the finished run `name`, a name or a path, as a source.

    Raises:
        RunError: there is no such run, it is not finished, or it is none to begin from: an ONNX
            file, or an ensemble.
    """
    if name.endswith(".onnx"):
        raise RunError(
            f"{name} is an ONNX file, which is for recognising: its weights are folded and cannot "
            f"be trained on. Name the run that it came from: {Path(name).parent}"
        )
    run = find_run(name)
    if run.record.members:
        raise RunError(
            f"{run.path} averages {len(run.record.members)} networks, and only one can be begun "
            f"from: name one of them, say {run.record.members[0]}"
        )
    model = run.model()
    content = (run.path / "model.safetensors").read_bytes()
    return Source(run, PretrainedWeights(model.weights, run.record.data.classes), sha256(content))


def source_again(run: Run) -> Source | None:
    """Return what `run` began from; None where it began at random.

    Raises:
        RunError: that is no longer there, or no longer the same.
    """
    if run.record.start is None:
        return None
    source = find_source(run.record.start.run)
    if source.sha256 != run.record.start.sha256:
        raise RunError(
            f"{run.path} began from {run.record.start.run}, whose weights are others now: name the "
            "run to begin from with --init-from"
        )
    return source


def seen_by(source: Source, images: Dataset) -> int:
    """Return how many of `images` the source was trained on; 0 where its data cannot be read."""
    config = source.run.record.config.data
    try:
        trained_on = load_dataset(config).train
    except PenstrokeError:
        return 0
    return int(images.is_in(trained_on).sum())
