"""The result of a search: the summary.json of a study."""

from __future__ import annotations

import statistics
from typing import Any

from pydantic import Field

from penstroke.config.settings import ListOf
from penstroke.runs.summaries import Summary


class SearchResult(Summary):
    """The result of a search, or what is known of it so far.

    Attributes:
        study: path of the study.
        metric: val_accuracy or val_loss, which `best_metric` and `confirmed` are values of.
        trials: in all; of which `complete`, `pruned` and `failed`.
        best_recipe: path of the best settings as a recipe.
        worker_seconds: of training, of one worker.
        confirmed: the metric of the best settings for each new seed.
        run, model, report: paths; empty while the best settings have not been trained.
        test: figures of the test split, by name.
    """

    study: str
    method: str
    metric: str
    trials: int
    complete: int
    pruned: int
    failed: int
    best_trial: int
    best_metric: float
    best_settings: dict[str, Any]
    best_recipe: str
    epochs_trained: int
    worker_seconds: float
    confirmed: ListOf[float] = ()
    run: str = ""
    model: str = ""
    report: str = ""
    test: dict[str, float] = Field(default_factory=dict)

    @property
    def confirmed_mean(self) -> float:
        """Mean over the new seeds; nan without any."""
        return statistics.fmean(self.confirmed) if self.confirmed else float("nan")

    @property
    def confirmed_sd(self) -> float:
        """Standard deviation over the new seeds; nan with fewer than two."""
        return statistics.stdev(self.confirmed) if len(self.confirmed) > 1 else float("nan")
