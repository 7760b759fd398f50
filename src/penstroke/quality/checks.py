"""Looking before training: each thing that is usually wrong, as a verdict with numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from penstroke.quality import (
    data_checks as images,
)
from penstroke.quality import (
    learning_checks as learning,
)
from penstroke.quality import (
    network_checks as network,
)
from penstroke.quality.finding import Finding
from penstroke.quality.learning_rate_range import RangeTest, range_test
from penstroke.quality.subject import Subject

__all__ = ["CHECKS", "Finding", "RangeTest", "Subject", "check", "range_test"]

CHECKS: tuple[Callable[[Subject], Finding], ...] = (
    images.check_labels,
    images.check_orientation,
    images.check_input,
    network.check_output,
    network.check_first_loss,
    network.check_loss,
    learning.check_gradients,
    network.check_activity,
    network.check_evaluation,
    learning.check_small_batch,
    learning.check_learning_rate,
)


def check(subject: Subject, watch: Callable[[], None] = lambda: None) -> list[Finding]:
    """Return what each check found; `watch` is called after each.

    Every check works on a copy of the network; neither it nor torch's random state is changed.
    """
    found = []
    for one in CHECKS:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found.append(one(subject))
        watch()
    return found
