"""Which settings a trial has: from a list that is known before, or suggested from what is known."""

from __future__ import annotations

from itertools import islice

from penstroke.config.settings import RunConfig
from penstroke.config.space import SearchConfig, Space, Values
from penstroke.search.plan import (
    AsynchronousHalving,
    Bracket,
    Brackets,
    Plan,
    Rung,
    asha_bracket,
    cut_to,
)
from penstroke.search.plan import hyperband as hyperband_brackets
from penstroke.search.study import Study
from penstroke.search.trial_store import as_parameter, settings_of

_STARTUP_TRIALS = 10
"""TPE has a model of nothing before; these are drawn (Optuna's own default)."""
_VAIN_SUGGESTIONS = 50
_TELLING = ("COMPLETE", "FAIL", "RUNNING")
"""States that a sampler learns from: scores, and what others are trying just now."""


def brackets_of(search: SearchConfig, max_epochs: int, settings: int) -> list[Bracket]:
    """Return the brackets of `search` where the space gives so many distinct `settings`.

    A small space ends: brackets that would find no new settings are shorter, or left out.
    """
    if search.method == "hyperband":
        wanted = hyperband_brackets(max_epochs, search.eta) * search.rounds
    elif search.method == "asha":
        wanted = [asha_bracket(min(search.trials, settings), max_epochs, search.eta)]
    else:
        wanted = [Bracket((Rung(wanted_trials(search, max_epochs) or settings, max_epochs),))]
    brackets = []
    for bracket in wanted:
        cut = cut_to(bracket, settings)
        if cut.rungs:
            settings -= cut.rungs[0].trials
            brackets.append(cut)
    return brackets


def wanted_trials(search: SearchConfig, max_epochs: int) -> int | None:
    """Return how many settings `search` asks for; None where it takes the whole grid."""
    if search.method in ("sweep", "grid"):
        return None
    if search.method == "hyperband":
        brackets = hyperband_brackets(max_epochs, search.eta) * search.rounds
        return sum(bracket.rungs[0].trials for bracket in brackets)
    return search.trials


def listed_settings(space: Space, search: SearchConfig, max_epochs: int) -> list[Values]:
    """Return the settings of every trial, for methods that do not look at scores to choose them."""
    count = wanted_trials(search, max_epochs)
    if count is None:
        return space.grid()
    return list(islice(space.distinct_draws(search.seed), count))


def plan_of(search: SearchConfig, max_epochs: int, settings: int) -> Plan:
    """Return the plan of `search` over so many distinct `settings`."""
    if search.method == "asha":
        return AsynchronousHalving(settings, max_epochs, search.eta)
    return Brackets(brackets_of(search, max_epochs, settings))


class Listed:
    """Settings known before the search begins."""

    def __init__(self, settings: list[Values]) -> None:
        self._settings = settings

    def __call__(self, trial: int) -> Values | None:
        """Return the settings of `trial`."""
        return self._settings[trial] if trial < len(self._settings) else None


class Suggested:
    """Settings suggested by a tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's.

    A trial that is in the study keeps its settings; the first ones are drawn.
    """

    def __init__(self, study: Study, drawn: list[Values]) -> None:
        self._study = study
        self._drawn = drawn[:_STARTUP_TRIALS]
        self._known = {n: settings_of(t) for n, t in study.trials().items()}
        self._seen = {self._config(values).fingerprint() for values in self._known.values()}

    def __call__(self, trial: int) -> Values | None:
        """Return the settings of `trial`; None where nothing new could be suggested."""
        if trial not in self._known:
            values = self._drawn[trial] if trial < len(self._drawn) else self._suggest(trial)
            if values is None:
                return None
            self._known[trial] = values
            self._seen.add(self._config(values).fingerprint())
        return self._known[trial]

    def _suggest(self, trial: int) -> Values | None:
        import optuna

        study, space = self._study, self._study.space
        sampler = optuna.samplers.TPESampler(
            seed=study.record.search.seed + trial, n_startup_trials=_STARTUP_TRIALS
        )
        # In memory: a suggestion must not stand in the study before its trial does.
        mirror = optuna.create_study(
            sampler=sampler, direction=study.ledger.study.direction.name.lower()
        )
        mirror.add_trials([t for t in study.trials().values() if t.state.name in _TELLING])
        distributions = study.ledger.distributions
        meant = {
            name: {as_parameter(value): value for value in parameter.choices or ()}
            for name, parameter in space.parameters.items()
        }
        for _ in range(_VAIN_SUGGESTIONS):
            asked = mirror.ask(distributions)
            values = space.active({
                name: meant[name].get(value, value) for name, value in asked.params.items()
            })  # fmt: skip
            if self._config(values).fingerprint() not in self._seen:
                return values
        return None

    def _config(self, values: Values) -> RunConfig:
        return self._study.space.config(values)
