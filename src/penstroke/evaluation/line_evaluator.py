"""Evaluation of a network that reads lines; opens the test split, each time on record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from penstroke.data.lines import LineDataset, LineSplits
from penstroke.evaluation.calibration import (
    fit_line_temperature,
    line_operating_points,
    log_softmax,
)
from penstroke.evaluation.evaluator import open_test
from penstroke.evaluation.line_metrics import LineEvaluation, evaluate_lines
from penstroke.inference.model_file import OperatingPoint

if TYPE_CHECKING:
    from torch import nn

LINE_SPLITS = ("validation", "test")


@dataclass(frozen=True, eq=False)
class LineNetworkEvaluation:
    """How one network reads the lines of each split, by the name of the split.

    Attributes:
        network: in evaluation mode.
        temperature: the divisor of its logits that calibrates the probabilities of lines.
        operating_points: confidence thresholds at which precisions are shown, by validation lines.
    """

    network: nn.Module
    splits: dict[str, LineEvaluation]
    temperature: float = 1.0
    operating_points: tuple[OperatingPoint, ...] = ()

    def figures(self) -> dict[str, float]:
        """Return the figures of a run's summary: `val_…` and `test_…`."""
        figures = {"temperature": self.temperature}
        for name, split in self.splits.items():
            figures |= split.figures(f"{'val' if name == 'validation' else name}_")
        return figures


def evaluate_line_network(
    network: nn.Module,
    data: LineSplits,
    splits: Sequence[str] = LINE_SPLITS,
    *,
    log_opening: Callable[[], None],
) -> LineNetworkEvaluation:
    """Evaluate `network` on `splits`; those without a line are left out.

    The test split is opened only if it is among them; `log_opening` puts that on record first.

    Raises:
        SealedTestError: called inside `sealed()`, by a search for instance.
    """
    outputs = {}
    for name in splits:
        if name == "test":
            log_opening()
            lines = open_test(data)
        else:
            lines = {"train": data.train, "validation": data.validation}[name]
        if len(lines):
            outputs[name] = lines, line_outputs(network, lines)
    temperature = 1.0
    points: tuple[OperatingPoint, ...] = ()
    if "validation" in outputs:
        lines, log_probs = outputs["validation"]
        temperature = fit_line_temperature(log_probs, lines.texts, lines.alphabet)
    evaluations = {
        name: evaluate_lines(
            (log_softmax(one / np.float32(temperature)) for one in log_probs), lines
        )
        for name, (lines, log_probs) in outputs.items()
    }
    if "validation" in evaluations:
        read = evaluations["validation"].predictions
        points = line_operating_points(read.probabilities, read.is_right, data.validation_sources)
    return LineNetworkEvaluation(network, evaluations, temperature, points)


def line_outputs(network: nn.Module, lines: LineDataset) -> list[npt.NDArray[np.float32]]:
    """Return the log-probabilities of each line: (T, 1 + A)."""
    from penstroke.training.line_step import logits_by_width

    outputs: list[npt.NDArray[np.float32]] = [np.zeros((0, 0), np.float32)] * len(lines)
    for batch, logits in logits_by_width(network, lines):
        log_probs = logits.float().log_softmax(2).cpu().numpy()
        for row, columns, output in zip(batch.rows, batch.columns, log_probs, strict=True):
            outputs[row] = output[:columns]
    return outputs
