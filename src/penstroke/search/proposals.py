"""The settings of each trial: drawn before the search begins, or suggested from its scores."""

from __future__ import annotations

from itertools import islice

from penstroke.config.space import SearchConfig, Space, Values
from penstroke.search.plan import trial_count
from penstroke.search.study import Study

_STARTUP_TRIALS = 10
"""Drawn at random before TPE has enough scores for a model (Optuna's own default)."""
_VAIN_SUGGESTIONS = 50


def draw_settings(space: Space, search: SearchConfig, max_epochs: int) -> list[Values]:
    """Return the settings of all trials, for methods that do not choose them by scores."""
    if search.method in ("sweep", "grid"):
        return space.grid()
    return list(islice(space.distinct_draws(search.seed), trial_count(search, max_epochs)))


class TPESettings:
    """Settings suggested by a tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's.

    Trials in the study keep their settings; the first ones are those in `drawn`.
    """

    def __init__(self, study: Study, drawn: list[Values]) -> None:
        self._study = study
        self._settings = dict(enumerate(drawn[:_STARTUP_TRIALS]))
        self._settings |= {number: trial.settings for number, trial in study.trials().items()}
        self._seen = {self._fingerprint(values) for values in self._settings.values()}

    def __call__(self, trial: int) -> Values | None:
        """Return the settings of `trial`; None if nothing new could be suggested."""
        if trial not in self._settings:
            seed = self._study.record.search.seed + trial
            for values in islice(self._study.store.suggestions(seed), _VAIN_SUGGESTIONS):
                if self._fingerprint(values) not in self._seen:
                    self._seen.add(self._fingerprint(values))
                    self._settings[trial] = values
                    break
        return self._settings.get(trial)

    def _fingerprint(self, values: Values) -> str:
        return self._study.space.config(values).fingerprint()
