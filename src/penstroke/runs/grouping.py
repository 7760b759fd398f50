"""Runs as groups that differ in their seed alone, to compare; and as a table by settings."""

import contextlib
import timeit
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from penstroke.config.settings import SYNTHETIC, expand
from penstroke.config.toml import flatten
from penstroke.errors import ConfigError, RunError, near_match
from penstroke.evaluation.line_comparison import (
    LineComparison,
    LineRunGroup,
    LineRunResult,
    compare_line_groups,
)
from penstroke.evaluation.line_metrics import LinePredictions
from penstroke.evaluation.predictions import Predictions
from penstroke.evaluation.result_table import ResultTable, RunScore, TableRow
from penstroke.evaluation.run_groups import Comparison, RunGroup, RunResult, compare_groups
from penstroke.models.summary import summarize
from penstroke.runs.run import Run
from penstroke.runs.trained import load_network

LINE_PREDICTIONS = "predictions/test.csv"
_LATENCY_CALLS = 40
_REPLICATES = {"train.seed", "data.fold"}
"""Settings in which repetitions of one experiment differ."""


def compare_runs(runs: Sequence[Run]) -> Comparison | LineComparison:
    """Compare `runs`, grouped by settings in the order given; the first group is the baseline.

    Predictions on the test split are read from the run directories: nothing is unsealed. RunError
    if there is only one group, the runs were evaluated on different images, or not yet, or some
    read lines and some characters.
    """
    by_key: dict[object, list[Run]] = {}
    first = runs[0].record
    for run in runs:
        by_key.setdefault(_key(run, {"train.seed": 0}), []).append(run)
    if len(by_key) < 2:
        raise RunError(
            f"{', '.join(run.name for run in runs)} differ in their seed alone, so there is "
            "nothing to compare: name runs with other settings too"
        )
    _check_same_test(runs)
    _check_distinct(runs)
    members = [sorted(group, key=_seed) for group in by_key.values()]
    leaders = [group[0] for group in members]
    names, dataset = _names(leaders), first.config.data.dataset
    if first.config.reads_lines:
        return compare_line_groups(dataset, _line_groups(names, members))
    results = [tuple(map(_result, group)) for group in members]
    labels = results[0][0].predictions.labels
    if any(not np.array_equal(r.predictions.labels, labels) for group in results for r in group):
        raise RunError("the runs were not evaluated on the same test images: evaluate them again")
    networks = [summarize(load_network(run)) for run in leaders]
    columns = zip(names, results, networks, _latencies(leaders), strict=True)
    groups = [RunGroup(name, r, n.parameters, n.multiply_adds, ms) for name, r, n, ms in columns]
    return compare_groups(dataset, groups)


def _check_same_test(runs: Sequence[Run]) -> None:
    """Raise a RunError unless all runs read the same, lines or characters, of one data set.

    Line readers of one data set may compose more lines to train on, of different characters.
    """
    first = runs[0]
    config, fingerprint = first.record.config, first.record.data.fingerprint
    words = {True: "lines", False: "single characters"}
    for run in runs:
        data = run.record.config.data
        if run.record.config.reads_lines != config.reads_lines:
            raise RunError(
                f"{first.path} reads {words[config.reads_lines]}, {run.path} "
                f"{words[not config.reads_lines]}: compare runs that read the same"
            )
        is_same = config.reads_lines and data.dataset == config.data.dataset != SYNTHETIC
        if run.record.data.fingerprint != fingerprint and not is_same:
            raise RunError(
                f"{run.path} was evaluated on {data.dataset} {run.record.data.fingerprint[:12]}…, "
                f"{first.path} on {config.data.dataset} {fingerprint[:12]}…: compare accuracies "
                "on the same test images only"
            )


def _line_groups(names: Sequence[str], members: Sequence[Sequence[Run]]) -> list[LineRunGroup]:
    groups = [
        LineRunGroup(
            name,
            tuple(
                LineRunResult(
                    str(run.path), _seed(run), LinePredictions.load(run.path / LINE_PREDICTIONS),
                    run.elapsed_seconds(),
                )
                for run in group
            ),
            sum(weights.size for weights in group[0].model().weights.values()),
        )
        for name, group in zip(names, members, strict=True)
    ]  # fmt: skip
    texts = groups[0].runs[0].predictions.texts
    if any(run.predictions.texts != texts for group in groups for run in group.runs):
        raise RunError("the runs were not evaluated on the same test lines: evaluate them again")
    return groups


def tabulate(
    runs: Sequence[Run], by: Sequence[str] | None = None, metric: str | None = None,
    parameters: Sequence[str] = (),
) -> ResultTable:  # fmt: skip
    """Return the table of `metric` of `runs` by settings, at the dotted names `by`.

    `by` defaults to the settings that differ, as `parameters` name them, apart from seed and fold;
    `metric` to the test accuracy if all have one, else to that on validation.
    RunError: a run has no such figure, or two are the same, or of other versions of a data set.
    """
    _check_distinct(runs)
    _check_same_data(runs)
    settings = [_settings(run) for run in runs]
    names = sorted({name for one in settings for name in one} - _REPLICATES)
    parts = {part for name in parameters for one in runs for part in _parts(one, name)}
    columns = [*dict.fromkeys(parameters), *(name for name in names if name not in parts)]
    differing = [name for name in columns if _varies([_value(run, name) for run in runs])]
    by = differing if by is None else list(dict.fromkeys(by))
    for name in by:
        if all(_value(run, name) is None for run in runs):
            raise ConfigError(f"--by {name}: no such setting{near_match(name, names)}")
    if metric is None:
        has_test = all("test_accuracy" in run.figures() for run in runs)
        metric = "test_accuracy" if has_test else "val_accuracy"
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(repr([_value(run, name) for name in by]), []).append(run)
    rows = [
        TableRow(tuple(_value(group[0], name) for name in by),
                 tuple(_score(run, metric) for run in sorted(group, key=_seed_and_fold)))
        for group in groups.values()
    ]  # fmt: skip
    mixed = [
        name
        for name in differing
        if any(_varies([_value(run, name) for run in group]) for group in groups.values())
    ]
    rows.sort(key=lambda row: [_sort_key(value) for value in row.settings])
    return ResultTable(metric, tuple(by), tuple(rows), tuple(mixed))


def _score(run: Run, metric: str) -> RunScore:
    figures, config = run.figures(), run.record.config
    if metric not in figures:
        known = ", ".join(sorted(figures))
        raise RunError(f"{run.path} has no figure {metric}{near_match(metric, figures)}: {known}")
    return RunScore(str(run.path), config.train.seed, config.data.fold, figures[metric])


def _settings(run: Run) -> dict[str, Any]:
    """Return the settings of `run` by dotted names, with what else decides its outcome."""
    record = run.record
    more = {"ensemble": len(record.members) or None,
            "pretrained": record.pretrained.run if record.pretrained else None}  # fmt: skip
    flat = flatten(record.config.to_dict())
    return flat | {name: value for name, value in more.items() if value is not None}


def _parts(run: Run, name: str) -> list[str]:
    """Return the settings that `name` stands for; none where this run's network has no such."""
    with contextlib.suppress(ConfigError):
        return expand(run.record.config.to_dict(), name)
    return []


def _value(run: Run, name: str) -> Any:
    parts, settings = _parts(run, name), _settings(run)
    values = [settings.get(part) for part in parts]
    return values[0] if parts == [name] else values or None


def _varies(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values)


def _sort_key(value: Any) -> tuple[int, Any]:
    """Return a key by which values of different types can be sorted: numbers by size."""
    if isinstance(value, int | float):
        return 0, value
    is_numbers = isinstance(value, list) and all(isinstance(v, int | float) for v in value)
    return (1, value) if is_numbers else (2, str(value))


def _key(run: Run, changes: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what decides the outcome of `run`, with `changes` to its settings."""
    record = run.record
    pretrained = record.pretrained.sha256 if record.pretrained else None
    return record.config.replace(changes).fingerprint(), len(record.members), pretrained


def _check_distinct(runs: Sequence[Run]) -> None:
    """Raise a RunError if two are the same: together they would feign certainty."""
    by_key: dict[object, Run] = {}
    for run in runs:
        if (other := by_key.setdefault(_key(run, {}), run)) is not run:
            raise RunError(
                f"{other.path} and {run.path} have the same settings and the same seed: name only "
                "one of them"
            )


def _check_same_data(runs: Sequence[Run]) -> None:
    """Raise a RunError if runs on one data set were trained on different versions of it."""
    by_name: dict[str, Run] = {}
    for run in runs:
        name = run.record.config.data.dataset
        other = by_name.setdefault(name, run)
        if other.record.data.fingerprint != run.record.data.fingerprint:
            raise RunError(
                f"{other.path} and {run.path} are of different versions of {name}: train one of "
                "them again with --overwrite, or leave it out"
            )


def _result(run: Run) -> RunResult:
    summary, seconds = run.summary(), run.elapsed_seconds()
    predictions = Predictions.load(run.path / "predictions" / "test.safetensors")
    return RunResult(str(run.path), _seed(run), predictions, summary.temperature, seconds)


def _seed(run: Run) -> int:
    return run.record.config.train.seed


def _seed_and_fold(run: Run) -> tuple[int, int]:
    return _seed(run), run.record.config.data.fold or 0


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
