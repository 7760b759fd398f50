"""Training: device-resident batches, one step, and `fit`, a generator of epochs."""

from __future__ import annotations

from penstroke.training.device import apply, resolve
from penstroke.training.loop import Epoch, fit

__all__ = ["Epoch", "apply", "fit", "resolve"]
