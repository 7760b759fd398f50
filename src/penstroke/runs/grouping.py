"""Finished runs as groups that differ in their seed alone, to compare."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from penstroke.config.toml import flatten
from penstroke.errors import RunError
from penstroke.evaluation.predictions import Predictions
from penstroke.evaluation.run_groups import Comparison, RunGroup, RunResult, compare_groups
from penstroke.models.build import build_network
from penstroke.models.ensemble import Ensemble
from penstroke.models.summary import summarize
from penstroke.runs.run import Run

_LATENCY_ROUNDS, _LATENCY_CALLS = 5, 40
_MOST_NAMED = 3


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Compare `runs`, grouped by settings in the order given; the first group is the baseline.

    Predictions on the test images are read from the run directories: nothing is unsealed.

    Raises:
        RunError: there is only one group, a run is named twice, or the runs were evaluated on
            different images, or not yet.
    """
    by_key: dict[str, list[Run]] = {}
    for run in runs:
        by_key.setdefault(_group_key(run), []).append(run)
    if len(by_key) < 2:
        raise RunError(
            f"{', '.join(run.name for run in runs)} differ in their seed alone, so there is "
            "nothing to compare: name runs with other settings too"
        )
    _refuse_different_data(runs)
    members = [sorted(group, key=_seed) for group in by_key.values()]
    for group in members:
        for one, other in pairwise(group):
            if _seed(one) == _seed(other):  # as two runs they would feign certainty
                raise RunError(
                    f"{one.path} and {other.path} have the same settings and the same seed: name "
                    "only one of them"
                )
    results = [
        tuple(
            RunResult(
                path=str(run.path),
                seed=_seed(run),
                predictions=Predictions.load(run.path / "predictions" / "test.safetensors"),
                temperature=run.summary().temperature,
                elapsed_seconds=run.elapsed_seconds(),
            )
            for run in group
        )
        for group in members
    ]
    labels = results[0][0].predictions.labels
    if any(not np.array_equal(r.predictions.labels, labels) for group in results for r in group):
        raise RunError("the runs were not evaluated on the same test images: evaluate them again")
    firsts = [group[0] for group in members]
    groups = []
    for name, result, first, latency in zip(
        _names(members), results, firsts, _latencies(firsts), strict=True
    ):
        record, count = first.record, len(first.record.data.classes)
        network = summarize(Ensemble([
            build_network(record.config.model, num_classes=count, mean=0.0, std=1.0)
            for _ in record.members or ("itself",)
        ]))  # fmt: skip
        groups.append(RunGroup(name, result, network.parameters, network.multiply_adds, latency))
    return compare_groups(runs[0].record.config.data.dataset, groups)


def _seed(run: Run) -> int:
    return run.record.config.train.seed


def _group_key(run: Run) -> str:
    config = run.record.config.replace({"train.seed": 0})
    pretrained = run.record.pretrained.sha256 if run.record.pretrained else "nothing"
    return f"{config.fingerprint()} {len(run.record.members)} {pretrained}"


def _refuse_different_data(runs: Sequence[Run]) -> None:
    first = runs[0].record
    for run in runs:
        if run.record.data.fingerprint != first.data.fingerprint:
            raise RunError(
                f"{run.path} was evaluated on {run.record.config.data.dataset} "
                f"{run.record.data.fingerprint[:12]}…, {runs[0].path} on "
                f"{first.config.data.dataset} {first.data.fingerprint[:12]}…: compare accuracies "
                "on the same test images only"
            )


def _names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Return a name for each group: that of its runs, with the settings that differ if needed."""
    stems = [group[0].name.rpartition("-")[0] or group[0].name for group in groups]
    settings = [flatten(group[0].record.config.to_dict()) for group in groups]
    names = []
    for stem, mine in zip(stems, settings, strict=True):
        same = [other for name, other in zip(stems, settings, strict=True) if name == stem]
        differing = {key for other in same for key in other if other.get(key) != mine.get(key)}
        shown = sorted(differing - {"train.seed"})[:_MOST_NAMED]
        values = ", ".join(f"{key}={mine.get(key)}" for key in shown)
        names.append(f"{stem} ({values})" if values else stem)
    return names if len(set(names)) == len(names) else [group[0].name for group in groups]


def _latencies(runs: Sequence[Run]) -> list[float]:
    """Return the milliseconds per image of each model, the least of several interleaved rounds."""
    import onnxruntime

    models = [onnxruntime.InferenceSession(run.model_file()) for run in runs]
    image = np.zeros((1, 28, 28), np.uint8)
    least = [math.inf] * len(models)
    for _ in range(_LATENCY_ROUNDS):
        for index, model in enumerate(models):
            start = time.perf_counter()
            for _ in range(_LATENCY_CALLS):
                model.run(["logits"], {"images": image})
            elapsed = (time.perf_counter() - start) / _LATENCY_CALLS
            least[index] = min(least[index], 1000 * elapsed)
    return least
