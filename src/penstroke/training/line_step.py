"""The loss of a batch of lines (CTC), greedy decoding, and one pass of scoring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from penstroke.config.settings import TrainConfig
from penstroke.data.edits import edit_distance
from penstroke.data.line_batches import LineBatch, batches_by_width
from penstroke.data.lines import LineDataset
from penstroke.preprocessing.strips import COLUMN_WIDTH, STRIP_HEIGHT
from penstroke.training.step import StepLoss

_SCORING_BATCH = 64
_SAMPLE_COLUMNS, _SAMPLE_CHARACTERS = 30, 6
SAMPLE_SIZE = (STRIP_HEIGHT, COLUMN_WIDTH * _SAMPLE_COLUMNS)
"""Height and width in pixels of a line of usual width."""


def line_loss(network: nn.Module, batch: LineBatch, config: TrainConfig) -> StepLoss:
    """Return the loss of CTC (Graves et al. 2006), and how many lines are read exactly."""
    strips = strips_on(batch, config.device)
    with torch.autocast(config.device, torch.bfloat16, config.precision == "bfloat16"):
        logits = network(strips)
    loss, is_exact = ctc(logits, batch)
    return StepLoss(loss, loss.detach(), is_exact.sum(), len(batch))


def sample_lines(count: int, num_classes: int) -> LineBatch:
    """Return `count` lines of noise of usual width, to time a step with."""
    rng = np.random.default_rng(0)
    return LineBatch(
        rng.integers(0, 256, (count, *SAMPLE_SIZE), np.uint8),
        np.full(count, _SAMPLE_COLUMNS), rng.integers(1, num_classes, (count, _SAMPLE_CHARACTERS)),
        np.full(count, _SAMPLE_CHARACTERS), np.arange(count),
    )  # fmt: skip


def strips_on(batch: LineBatch, device: str) -> Tensor:
    """Return the strips of `batch` as a network takes them: (B, 1, 32, W) float32 in 0..1."""
    strips = torch.from_numpy(batch.strips).to(device).unsqueeze(1).to(torch.float32).div_(255)
    return strips.contiguous(memory_format=torch.channels_last)


def ctc(logits: Tensor, batch: LineBatch) -> tuple[Tensor, Tensor]:
    """Return the mean loss of `logits` (B, T, C), and which lines are read exactly: (B,).

    The loss of a line is that of a character of it, so that long lines do not outweigh short ones.
    """
    columns, lengths, targets = (
        torch.from_numpy(one).to(logits.device)
        for one in (batch.columns, batch.lengths, batch.targets)
    )
    log_probs = logits.float().log_softmax(2).transpose(0, 1)
    losses = F.ctc_loss(log_probs, targets, columns, lengths, reduction="none", zero_infinity=True)
    read = greedy(logits.detach(), columns)
    most = max(read.shape[1], targets.shape[1])
    read, targets = (F.pad(one, (0, most - one.shape[1])) for one in (read, targets))
    return (losses / lengths.clamp(min=1)).mean(), (read == targets).all(1)


def greedy(logits: Tensor, columns: Tensor) -> Tensor:
    """Return the classes of the likeliest path, merged and without blanks: (B, T), 0 after them."""
    best = logits.argmax(2)
    steps = best.shape[1]
    is_inside = torch.arange(steps, device=best.device) < columns[:, None]
    is_kept = is_inside & (best != 0) & (best != F.pad(best, (1, 0))[:, :-1])
    places = torch.where(is_kept, is_kept.cumsum(1) - 1, steps)
    return best.new_zeros(len(best), steps + 1).scatter_(1, places, best)[:, :-1]


def logits_by_width(network: nn.Module, lines: LineDataset) -> Iterator[tuple[LineBatch, Tensor]]:
    """Yield (batch, logits (B, T, C) float32) of all lines, in evaluation mode."""
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = str(next(network.parameters()).device)
    first = range(0, len(lines), _SCORING_BATCH)
    sizes = np.diff([*first, len(lines)])
    for batch in batches_by_width(lines, sizes):
        with torch.no_grad():
            logits = network(strips_on(batch, device))
        yield batch, logits


def score_lines(network: nn.Module, lines: LineDataset) -> tuple[float, float, float]:
    """Return (mean loss, share of lines read exactly, character error rate), in full precision.

    The error rate is the number of edits that turn what was read into the texts, by their length.
    """
    loss_sum, exact, edits = 0.0, 0, 0
    for batch, logits in logits_by_width(network, lines):
        loss, is_exact = ctc(logits, batch)
        loss_sum += float(loss) * len(batch)
        exact += int(is_exact.sum())
        read = greedy(logits, torch.from_numpy(batch.columns).to(logits.device)).cpu().numpy()
        for row in np.flatnonzero(~is_exact.cpu().numpy()):
            predicted = "".join(lines.classes[k] for k in read[row])
            edits += edit_distance(lines.texts[batch.rows[row]], predicted)
    characters = sum(map(len, lines.texts))
    return loss_sum / len(lines), exact / len(lines), edits / max(characters, 1)
