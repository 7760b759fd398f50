"""What a search may change, and how: the `[search]` table of a recipe."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from penstroke.config.settings import ListOf, RunConfig, Settings, expand
from penstroke.config.toml import flatten
from penstroke.errors import ConfigError

Method = Literal["sweep", "grid", "random", "tpe", "hyperband", "asha"]
Values = dict[str, Any]
"""The values of one setting of a search, by dotted name."""

_DIGITS = 4
"""Significant digits of a drawn float: a person should be able to read and repeat it."""
_MAX_FAILED_DRAWS = 1000
"""Draws in a row that repeat earlier settings before the space counts as exhausted."""


class Parameter(Settings):
    """One field of the run config: a range, choices, or multiples of the recipe's own value.

    Where its name stands for several fields (`settings.expand`), a value is one for all of them, or
    a list of one for each.
    """

    low: int | float | None = Field(None, description="lowest value of a range")
    high: int | float | None = Field(None, description="highest value; two integers give integers")
    step: int | float | None = Field(None, gt=0, description="distance between values of a range")
    log: bool = Field(False, description="whether a range is drawn evenly in the logarithm")
    choices: ListOf[Any] | None = Field(None, min_length=1, description="values to choose from")
    factors: ListOf[float] | None = Field(
        None, min_length=1, description="multiples of the recipe's value to choose from"
    )
    when: dict[str, Any] = Field({}, description="values of other parameters that this one needs")

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        is_range = self.low is not None or self.high is not None
        if is_range + (self.choices is not None) + (self.factors is not None) != 1:
            raise ValueError("give low and high, or choices, or factors")
        if not is_range:
            if self.step is not None or self.log:
                raise ValueError("step and log belong to a range")
            return self
        if self.low is None or self.high is None:
            raise ValueError("low and high belong together")
        if self.low > self.high:
            raise ValueError(f"the range is empty: low {self.low} is above high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError("log needs a low above 0")
        if self.step is not None and self.log:
            raise ValueError("step and log exclude each other")
        if self.step is not None and self.is_integer and self.step != int(self.step):
            raise ValueError("step must be an integer where low and high are")
        return self

    @property
    def ends(self) -> tuple[int | float, int | float]:
        """Lowest and highest value of a range."""
        if self.low is None or self.high is None:
            raise ValueError("the parameter is not a range")
        return self.low, self.high

    @property
    def is_integer(self) -> bool:
        """Whether this is a range of integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def listed(self) -> list[Any] | None:
        """Return all values in order, or None where they are too many to list."""
        if self.choices is not None:
            return list(self.choices)
        (low, high), step = self.ends, self.step
        if step is None and (not self.is_integer or self.log):
            return [low] if low == high else None
        step = step or 1
        values = [low + step * k for k in range(math.floor((high - low) / step + 1e-9) + 1)]
        return [round(v) if self.is_integer else float(f"{v:.12g}") for v in values]

    @property
    def text(self) -> str:
        """The values and the condition in words."""
        if self.choices is not None:
            text = ", ".join(map(json.dumps, self.choices))
        else:
            low, high = self.ends
            text = f"{low:g} to {high:g}" + (", logarithmic" if self.log else "")
            text += f" in steps of {self.step:g}" if self.step else ""
        conditions = [f"{name} is {json.dumps(value)}" for name, value in self.when.items()]
        return text + (f", if {' and '.join(conditions)}" if conditions else "")

    def draw(self, random: np.random.Generator) -> Any:
        """Return a value drawn from the range or the choices."""
        if (values := self.listed()) is not None:
            return values[int(random.integers(len(values)))]
        low, high = self.ends
        if self.log:
            # Integers are drawn as the middle of their bin: the ends are as likely as the rest.
            margin = 0.5 if self.is_integer else 0.0
            value = math.exp(random.uniform(math.log(low - margin), math.log(high + margin)))
        else:
            value = float(random.uniform(low, high))
        rounded = round(value) if self.is_integer else float(f"{value:.{_DIGITS}g}")
        return min(max(rounded, low), high)


class SearchConfig(Settings):
    """How the best settings are searched for."""

    method: Method = Field("hyperband", description="search algorithm")
    space: dict[str, Parameter] = Field(min_length=1, description="parameters, by dotted name")
    trials: int = Field(20, ge=1, description="number of trials of random, tpe and asha")
    max_epochs: int | None = Field(
        None, ge=1, description="most epochs of a trial; none: train.epochs"
    )
    final_epochs: int | None = Field(
        None, ge=1, description="epochs of the final training; none: max_epochs"
    )
    eta: int = Field(3, ge=2, description="reduction factor: 1 of eta trials is promoted")
    rounds: int = Field(1, ge=1, description="number of times hyperband runs all its brackets")
    seeds: int = Field(1, ge=1, description="training seeds whose mean is a trial's score")
    folds: int | None = Field(None, ge=2, description="folds whose mean is a trial's score")
    metric: Literal["val_accuracy", "val_loss"] = Field("val_accuracy", description="score")
    seed: int = Field(0, ge=0, description="random seed of the search")
    after: str | None = Field(
        None, description="recipe to search first; this search starts from its best settings"
    )

    @property
    def runs_per_trial(self) -> int:
        """Number of training runs behind one score."""
        return self.folds or self.seeds

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.method == "sweep" and len(self.space) != 1:
            raise ValueError(
                f"method: a sweep changes one parameter, the space has {len(self.space)}; "
                "use grid for several"
            )
        if self.folds is not None and self.seeds > 1:
            raise ValueError("folds: a score is a mean over seeds or over folds, not both")
        return self

    def fixed(self, name: str, value: Any) -> Self | None:
        """Return the search where `name` is always `value`; None if no other parameter is left."""
        rest = {}
        for other, parameter in self.space.items():
            if other != name and parameter.when.get(name, value) == value:
                when = {k: wanted for k, wanted in parameter.when.items() if k != name}
                rest[other] = parameter.replace({"when": when})
        return self.replace({"space": rest}) if rest else None


class Space:
    """The run configs that a search chooses from: a base, and parameters that have to fit it."""

    def __init__(self, base: RunConfig, parameters: Mapping[str, Parameter]) -> None:
        self.base = base
        self.parameters = {name: _resolve_factors(name, p, base) for name, p in parameters.items()}
        for one, other in combinations(self.parameters, 2):
            if shared := shared_setting(base, one, other):
                raise ConfigError(
                    f"search.space: {one} and {other} both set {shared}; remove one of them"
                )
        for name, parameter in self.parameters.items():
            self._check(name, parameter)

    def config(self, values: Values) -> RunConfig:
        """Return the base with `values` in place."""
        return self.base.replace(values, source="search.space")

    def draw(self, random: np.random.Generator) -> Values:
        """Return one setting; parameters whose condition does not hold are left out."""
        return self.active({name: p.draw(random) for name, p in self.parameters.items()})

    def active(self, values: Values) -> Values:
        """Return `values` without those whose condition does not hold, or is itself left out."""
        kept = {
            name: value
            for name, value in values.items()
            if all(values.get(k) == wanted for k, wanted in self.parameters[name].when.items())
        }
        return kept if len(kept) == len(values) else self.active(kept)

    def distinct_draws(self, seed: int) -> Iterator[Values]:
        """Yield settings drawn with `seed`, each run once; ends when the space is exhausted."""
        random = np.random.default_rng(seed)
        seen: set[str] = set()
        failed_draws = 0
        while failed_draws < _MAX_FAILED_DRAWS:
            values = self.draw(random)
            fingerprint = self.config(values).fingerprint()
            failed_draws = failed_draws + 1 if fingerprint in seen else 0
            if fingerprint not in seen:
                seen.add(fingerprint)
                yield values

    def grid(self) -> list[Values]:
        """Return every distinct setting, in order; ConfigError for a range without steps."""
        settings: list[Values] = [{}]
        for name, parameter in self.parameters.items():
            if (listed := parameter.listed()) is None:
                raise ConfigError(
                    f"search.space.{name}: a grid needs choices, or a range with step"
                )
            settings = [{**values, name: value} for values in settings for value in listed]
        by_run = {self.config(v).fingerprint(): v for v in map(self.active, reversed(settings))}
        return list(reversed(by_run.values()))

    def _check(self, name: str, parameter: Parameter) -> None:
        """Put the ends of `parameter` into the base, so that a bad one is refused at once."""
        for condition in parameter.when:
            if condition not in self.parameters or condition == name:
                raise ConfigError(
                    f"search.space.{name}.when: {condition} is not a parameter of this space"
                )
        first = {other: (p.listed() or p.ends)[0] for other, p in self.parameters.items()}
        values = parameter.listed() or list(parameter.ends)
        for value in values if parameter.choices else (values[0], values[-1]):
            wanted = {**self._conditions(name), name: value}
            try:
                self.config(wanted)
            except ConfigError as error:
                # It may be accepted with the other parameters.
                settings = self.active({**first, **wanted})
                with contextlib.suppress(ConfigError):
                    if name in settings and self.config(settings):
                        continue
                message = str(error).removeprefix("search.space: ")
                raise ConfigError(f"search.space.{name} = {json.dumps(value)}: {message}") from None

    def _conditions(self, name: str) -> Values:
        """Return the values under which `name` is searched, and the conditions of those."""
        conditions: Values = {}
        for other, wanted in self.parameters[name].when.items():
            conditions |= self._conditions(other) | {other: wanted}
        return conditions


def shared_setting(base: RunConfig, one: str, other: str) -> str | None:
    """Return a setting that both names of parameters stand for, if there is one."""
    values = base.to_dict()
    mine, theirs = expand(values, one), expand(values, other)
    return next((name for name in mine if name in theirs), None)


def _resolve_factors(name: str, parameter: Parameter, base: RunConfig) -> Parameter:
    if parameter.factors is None:
        return parameter
    values = base.to_dict()
    names, flat = expand(values, name), flatten(values)
    products = []
    for factor in parameter.factors:
        each = [_multiple(name, flat.get(one), factor) for one in names]
        products.append(each[0] if names == [name] else each)
    distinct = [one for place, one in enumerate(products) if one not in products[:place]]
    return Parameter(choices=tuple(distinct), when=parameter.when)


def _multiple(name: str, value: Any, factor: float) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(
            f"search.space.{name}: factors need a number in the recipe, it has {value!r}"
        )
    return type(value)(float(f"{value * factor:.{_DIGITS}g}"))
