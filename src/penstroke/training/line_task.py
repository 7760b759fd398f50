"""Training on lines, composed ahead and real, as a task."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

from torch import nn

from penstroke.config.settings import RunConfig
from penstroke.data.line_batches import LineBatch, LineFeed, LineSource
from penstroke.data.lines import LineSplits
from penstroke.machine import allowed_threads
from penstroke.training.line_step import line_loss, score_lines
from penstroke.training.step import StepLoss

_MOST_WORKERS = 8


class LineTask:
    """Lines, composed and real ones, and the loss of CTC (Graves et al. 2006)."""

    def __init__(self, config: RunConfig, data: LineSplits) -> None:
        source = LineSource(config, data)
        self.size = source.size
        self._config = config.train
        # A worker of a search has no processes of its own, and few lines are not worth one.
        workers = 0
        if len(source) > 1 and not multiprocessing.current_process().daemon:
            threads = config.train.threads if config.train.device == "cpu" else 1
            most = max(threads) if isinstance(threads, tuple) else threads
            workers = max(0, min(_MOST_WORKERS, allowed_threads() - most))
        self._feed = LineFeed(source, workers)
        self._validation = data.validation

    def batches(self, epoch: int) -> Iterator[LineBatch]:
        """Yield the batches of `epoch`."""
        return self._feed.epoch(epoch)

    def loss(self, network: nn.Module, batch: LineBatch) -> StepLoss:
        """Return the mean loss of CTC in nats a character, and the lines read exactly."""
        return line_loss(network, batch, self._config)

    def score(self, network: nn.Module) -> dict[str, float]:
        """Return val_loss, val_accuracy (lines read exactly), val_character_error_rate."""
        if not len(self._validation):
            return {}
        loss, accuracy, error_rate = score_lines(network, self._validation)
        network.train()
        return {"val_loss": loss, "val_accuracy": accuracy, "val_character_error_rate": error_rate}

    def close(self) -> None:
        """End the processes that compose lines."""
        self._feed.close()
