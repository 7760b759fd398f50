"""How many processor threads train: as the settings say, or the faster of one and all.

Threads meet at the end of every operation. Where another process takes the core of one of them, all
wait for it, and two can be twenty times slower than one (docs/lab.md).
"""

from __future__ import annotations

import time

import torch

from penstroke.config.settings import RunConfig
from penstroke.machine import allowed_threads
from penstroke.training.device import seconds_a_step

_MEASURED_SECONDS = 0.06
_WORTHWHILE_SHARE = 0.02
"""Of the time of training that measuring may take."""
_FASTER = 0.9
"""Times the seconds of the threads in use; others less fast than that are no reason to change."""


class ThreadChoice:
    """The threads of each epoch of a resolved config, chosen under the load that there is."""

    def __init__(self, config: RunConfig, num_classes: int) -> None:
        self._config = config
        self._num_classes = num_classes
        self._chosen = 0
        self._measure_at = 0.0

    def threads_of(self, epoch: int, recorded: int = 0) -> int:
        """Return the threads of `epoch` (from 1); `recorded` ones are not measured again."""
        threads = self._config.train.threads
        if isinstance(threads, tuple):
            return threads[min(epoch, len(threads)) - 1]
        if threads:
            return threads
        if recorded:
            self._chosen = recorded
            return recorded
        return self._measured()

    def _measured(self) -> int:
        """Return the faster number of threads, measured again where that costs next to nothing."""
        begun = time.perf_counter()
        if begun >= self._measure_at:
            self._chosen = faster_threads(self._config, self._num_classes, self._chosen)
            now = time.perf_counter()
            self._measure_at = now + (now - begun) / _WORTHWHILE_SHARE
        return self._chosen


def faster_threads(config: RunConfig, num_classes: int, current: int = 0) -> int:
    """Return 1 or all allowed threads, whichever takes steps of `config` faster now.

    `current` threads, by default all, are kept unless the others are clearly faster.
    """
    most = allowed_threads()
    torch.set_num_threads(1)
    one = seconds_a_step(config, num_classes=num_classes, steps=3, seconds=_MEASURED_SECONDS)
    torch.set_num_threads(most)
    limit = max(3 * one, _MEASURED_SECONDS)  # where all are slower, they are not waited for
    all_ = seconds_a_step(
        config, num_classes=num_classes, steps=3, seconds=_MEASURED_SECONDS, at_most=limit
    )
    if current == 1:
        return most if all_ < _FASTER * one else 1
    return 1 if one < _FASTER * all_ else most
