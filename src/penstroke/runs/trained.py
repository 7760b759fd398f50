"""The trained network of a run, its evaluation, and its model file."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from penstroke.data.dataset import DataSplits
from penstroke.data.lines import LineSplits
from penstroke.data.loading import load_dataset
from penstroke.data.run_data import line_splits
from penstroke.errors import RunError
from penstroke.evaluation.evaluator import SPLITS, Evaluation, evaluate_network
from penstroke.evaluation.forgetting import Forgetting
from penstroke.evaluation.line_evaluator import LineNetworkEvaluation, evaluate_line_network
from penstroke.files import write_atomically
from penstroke.inference.model_file import (
    CONFIDENCE_THRESHOLD,
    LINES,
    MODEL_FORMAT_VERSION,
    OperatingPoint,
)
from penstroke.inference.recognizer import model_metadata
from penstroke.machine import package_version
from penstroke.models.build import Ensemble, Weights, build_network, load_weights
from penstroke.models.onnx_export import export_line_onnx, export_onnx
from penstroke.runs.record import DataFacts
from penstroke.runs.run import Run, RunRecord, RunSummary, find_run
from penstroke.training.threads import faster_threads

WRITERS_TABLE = "predictions/writers.csv"


def evaluate(
    run: Run | str | Path,
    data: DataSplits | None = None,
    splits: Sequence[str] = SPLITS,
    *,
    network: nn.Module | None = None,
) -> Evaluation:
    """Evaluate the best epoch of `run` on `splits` (all three), and keep the predictions.

    Opens the test split, which is recorded in the run first. `data` and `network` are those of the
    run where they are loaded already.

    Raises:
        RunError: no such run, no model yet, its data set has changed or has no test images.

    Examples:
        >>> import penstroke
        >>> recipe = penstroke.load_recipe("fast", {"train.epochs": 4})
        >>> run = penstroke.train(recipe.run_config(), name="example")
        >>> evaluation = penstroke.evaluate(run)
        >>> evaluation.metrics["test"].accuracy > 0.8
        True
        >>> low, high = evaluation.intervals.accuracy
        >>> low < evaluation.metrics["test"].accuracy < high
        True
    """
    run = run if isinstance(run, Run) else find_run(run)
    if run.record.config.reads_lines:
        raise RunError(f"{run.path} reads lines: use penstroke.evaluate_lines")
    data = data or load_dataset(run.record.config.data)
    _check_data(run, data)
    evaluation = evaluate_network(
        _network_to_score(run) if network is None else network, data, splits,
        history=run.history(), train=run.record.config.train,
        log_opening=lambda: run.log_test_opening("evaluate"),
    )  # fmt: skip
    for name, predictions in evaluation.predictions.items():
        predictions.save(run.path / "predictions" / f"{name}.safetensors")
    if "test" in evaluation.predictions and evaluation.writers:
        write_atomically(run.path / WRITERS_TABLE, evaluation.writers.to_csv())
    return evaluation


def _check_data(run: Run, data: DataSplits | LineSplits) -> None:
    if data.fingerprint != run.record.data.fingerprint:
        raise RunError(
            f"{run.path} was trained on another version of {data.name}: fingerprint "
            f"{run.record.data.fingerprint[:12]}…, but here it is {data.fingerprint[:12]}…"
        )
    if not len(data.test):
        raise RunError(f"{data.name} has no test images to evaluate {run.path} on")


def _network_to_score(run: Run) -> nn.Module:
    """Return the network of `run`; torch computes on the faster number of threads from here on."""
    record = run.record
    if not record.resolved.threads:
        config = record.resolved.applied_to(record.config)
        torch.set_num_threads(faster_threads(config, len(record.data.classes)))
    return load_network(run)


def load_network(run: Run) -> nn.Module:
    """Return the trained network of `run`, in evaluation mode; RunError if it has none yet."""
    return network_of(run.record, run.model().weights)


def network_of(record: RunRecord, weights: Weights) -> nn.Module:
    """Return the network of a run with these weights, in evaluation mode."""
    data, model = record.data, record.config.model
    networks = [
        build_network(model, num_classes=len(data.classes), mean=data.mean, std=data.std)
        for _ in record.members or ("itself",)
    ]
    return load_weights(Ensemble(networks) if record.members else networks[0], weights).eval()


def model_file(
    network: nn.Module,
    data: DataFacts,
    *,
    temperature: float,
    ood_threshold: float | None,
    operating_points: Sequence[OperatingPoint],
    **facts: str,
) -> bytes:
    """Return the ONNX file that a `Recognizer` opens; `facts` in its metadata are for people."""
    metadata = model_metadata(
        data.classes, data.ink, temperature, ood_threshold, operating_points,
        data_fingerprint=data.fingerprint, penstroke_version=package_version("penstroke"), **facts,
    )  # fmt: skip
    return export_onnx(network, metadata)


def evaluate_lines(
    run: Run | str | Path, data: LineSplits | None = None, *, network: nn.Module | None = None
) -> LineNetworkEvaluation:
    """Evaluate the best epoch of a line reader on validation and test, and keep the predictions.

    Opens the test split, which is recorded in the run first. `data` and `network` are those of the
    run where they are loaded already. Raises as `evaluate` does.

    Examples:
        >>> import penstroke
        >>> evaluation = penstroke.evaluate_lines("amounts")  # doctest: +SKIP
        >>> evaluation.splits["test"].metrics.exact.value  # doctest: +SKIP
        0.91
    """
    run = run if isinstance(run, Run) else find_run(run)
    data = data or line_splits(run.record.config.data, run.record.config.synthesis)
    _check_data(run, data)
    evaluation = evaluate_line_network(
        _network_to_score(run) if network is None else network, data,
        log_opening=lambda: run.log_test_opening("evaluate"),
    )  # fmt: skip
    for name, split in evaluation.splits.items():
        split.predictions.save(run.path / "predictions" / f"{name}.csv")
    return evaluation


def line_model_file(run: Run, evaluation: LineNetworkEvaluation) -> bytes:
    """Return the ONNX file that a `LineReader` opens."""
    data, network = run.record.data, evaluation.network
    metadata = {
        "penstroke_format": MODEL_FORMAT_VERSION,
        "kind": LINES,
        "alphabet": "".join(data.classes),
        "temperature": evaluation.temperature,
        "confidence_threshold": CONFIDENCE_THRESHOLD,
        "operating_points": [point.to_dict() for point in evaluation.operating_points],
        "data_fingerprint": data.fingerprint,
        "penstroke_version": package_version("penstroke"),
        "run": run.name,
        "dataset": run.record.config.source,
    }
    return export_line_onnx(network, metadata)


def summary_of_lines(run: Run, evaluation: LineNetworkEvaluation) -> RunSummary:
    """Return the final figures of a line reader's `run`."""
    return RunSummary.parse({
        "epochs": len(run.history()), "best_epoch": run.best_epoch(), **evaluation.figures(),
        "elapsed_seconds": run.elapsed_seconds(),
    })  # fmt: skip


def summary_of(run: Run, evaluation: Evaluation) -> RunSummary:
    """Return the final figures of `run`."""
    forgetting, history = Forgetting.load(run.path), run.history()
    return RunSummary.parse({
        "epochs": len(history),
        "best_epoch": run.best_epoch() if history else None,
        "diagnosis": evaluation.diagnosis.name if evaluation.diagnosis else None,
        **evaluation.figures(),
        "temperature_note": evaluation.temperature_note,
        "val_ece_by_source": evaluation.calibration_error_by_source or None,
        **(forgetting.figures() if forgetting else {}),
        "elapsed_seconds": run.elapsed_seconds(),
    })  # fmt: skip
