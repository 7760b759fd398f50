"""Search: many runs of training, nothing else; what is trained next, by whom, and what it gave."""

from __future__ import annotations

from penstroke.search.conduct import Standing
from penstroke.search.estimate import Estimate
from penstroke.search.study import Study, find_study
from penstroke.search.workflow import (
    Asked,
    conclude,
    confirm,
    figures_so_far,
    open_study,
    plan_asked,
    planned_epochs,
    search,
)

__all__ = [
    "Asked",
    "Estimate",
    "Standing",
    "Study",
    "conclude",
    "confirm",
    "figures_so_far",
    "find_study",
    "open_study",
    "plan_asked",
    "planned_epochs",
    "search",
]
