"""Looking before training: each thing that is usually wrong, as a verdict with numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from penstroke.checks import learning, network, pictures
from penstroke.checks.findings import Finding
from penstroke.checks.rates import RangeTest, range_test
from penstroke.checks.subject import Subject

__all__ = ["CHECKS", "Finding", "RangeTest", "Subject", "check", "range_test"]

CHECKS: tuple[Callable[[Subject], Finding], ...] = (
    pictures.check_labels,
    pictures.check_orientation,
    pictures.check_input,
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
