"""Finished runs as groups that differ in their seed alone, to compare."""

import timeit
from collections.abc import Sequence
from functools import partial
from itertools import chain, pairwise

import numpy as np

from penstroke.config.toml import flatten
from penstroke.errors import RunError
from penstroke.evaluation.predictions import Predictions
from penstroke.evaluation.run_groups import Comparison, RunGroup, RunResult, compare_groups
from penstroke.models.summary import summarize
from penstroke.runs.run import Run
from penstroke.runs.trained import load_network

_LATENCY_CALLS = 40


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Compare `runs`, grouped by settings in the order given; the first group is the baseline.

    Predictions on the test images are read from the run directories: nothing is unsealed. RunError
    if there is only one group, or the runs were evaluated on different images, or not yet.
    """
    by_key: dict[object, list[Run]] = {}
    first = runs[0].record
    for run in runs:
        record = run.record
        pretrained = record.pretrained.sha256 if record.pretrained else None
        settings = record.config.replace({"train.seed": 0}).fingerprint()
        by_key.setdefault((settings, len(record.members), pretrained), []).append(run)
    if len(by_key) < 2:
        raise RunError(
            f"{', '.join(run.name for run in runs)} differ in their seed alone, so there is "
            "nothing to compare: name runs with other settings too"
        )
    for run in runs:
        if run.record.data.fingerprint != first.data.fingerprint:
            raise RunError(
                f"{run.path} was evaluated on {run.record.config.data.dataset} "
                f"{run.record.data.fingerprint[:12]}…, {runs[0].path} on "
                f"{first.config.data.dataset} {first.data.fingerprint[:12]}…: compare accuracies "
                "on the same test images only"
            )
    members = [sorted(group, key=_seed) for group in by_key.values()]
    for one, other in chain.from_iterable(map(pairwise, members)):
        if _seed(one) == _seed(other):  # as two runs they would feign certainty
            raise RunError(
                f"{one.path} and {other.path} have the same settings and the same seed: name only "
                "one of them"
            )
    results = [tuple(map(_result, group)) for group in members]
    labels = results[0][0].predictions.labels
    if any(not np.array_equal(r.predictions.labels, labels) for group in results for r in group):
        raise RunError("the runs were not evaluated on the same test images: evaluate them again")
    leaders = [group[0] for group in members]
    networks = [summarize(load_network(run)) for run in leaders]
    columns = zip(_names(leaders), results, networks, _latencies(leaders), strict=True)
    groups = [RunGroup(name, r, n.parameters, n.multiply_adds, ms) for name, r, n, ms in columns]
    return compare_groups(first.config.data.dataset, groups)


def _result(run: Run) -> RunResult:
    predictions = Predictions.load(run.path / "predictions" / "test.safetensors")
    summary, seconds = run.summary(), run.elapsed_seconds()
    return RunResult(str(run.path), _seed(run), predictions, summary.temperature, seconds)


def _seed(run: Run) -> int:
    return run.record.config.train.seed


def _names(runs: Sequence[Run]) -> list[str]:
    """Return a name for the group of each run: its stem, with settings that differ if needed."""
    stems = [run.name.rpartition("-")[0] or run.name for run in runs]
    settings = [flatten(run.record.config.to_dict()) for run in runs]
    names = []
    for stem, mine in zip(stems, settings, strict=True):
        same = [other for name, other in zip(stems, settings, strict=True) if name == stem]
        differing = {key for other in same for key in other if other.get(key) != mine.get(key)}
        shown = sorted(differing - {"train.seed"})[:3]
        values = ", ".join(f"{key}={mine.get(key)}" for key in shown)
        names.append(f"{stem} ({values})" if values else stem)
    return names if len(set(names)) == len(names) else [run.name for run in runs]


def _latencies(runs: Sequence[Run]) -> list[float]:
    """Return the milliseconds per image of each model, the least of several interleaved rounds."""
    import onnxruntime

    models = [onnxruntime.InferenceSession(run.read_model()) for run in runs]
    inputs = {"images": np.zeros((1, 28, 28), np.uint8)}
    calls = [partial(model.run, ["logits"], inputs) for model in models]
    rounds = [[timeit.timeit(call, number=_LATENCY_CALLS) for call in calls] for _ in range(5)]
    return [1000 * min(seconds) / _LATENCY_CALLS for seconds in zip(*rounds, strict=True)]
