"""What a search may change, and how: the `[search]` table of a recipe."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from penstroke.config.settings import RunConfig, Settings
from penstroke.config.toml import assign, value_at
from penstroke.errors import ConfigError

Method = Literal["sweep", "grid", "random", "tpe", "hyperband", "asha"]
Values = dict[str, Any]
"""The values of one setting of a search, by dotted name."""

_DIGITS = 4
"""Significant digits of a drawn float: a person should be able to read and repeat it."""
_VAIN_DRAWS = 1000
"""So many draws without a setting that is new, and the space is taken for exhausted."""


class Parameter(Settings):
    """One field of the run config: a range, choices, or multiples of the recipe's own value."""

    low: int | float | None = Field(None, description="least value of a range")
    high: int | float | None = Field(None, description="greatest; two integers give integers")
    step: int | float | None = Field(None, gt=0, description="values are low, low + step, …")
    log: bool = Field(False, description="drawn evenly in the logarithm")
    choices: Annotated[tuple[Any, ...] | None, Field(strict=False)] = Field(
        None, min_length=1, description="these values"
    )
    factors: Annotated[tuple[float, ...] | None, Field(strict=False)] = Field(
        None, min_length=1, description="the recipe's own value times these"
    )
    when: dict[str, Any] = Field({}, description="searched only where other parameters are so")

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        is_range = self.low is not None or self.high is not None
        if is_range + (self.choices is not None) + (self.factors is not None) != 1:
            raise ValueError("give low and high, or choices, or factors")
        if is_range:
            if self.low is None or self.high is None:
                raise ValueError("low and high belong together")
            if self.low > self.high:
                raise ValueError(f"the range is empty: low {self.low} is above high {self.high}")
            if self.log and self.low <= 0:
                raise ValueError("log needs a low above 0")
            if self.step is not None and (self.log or not self._is_whole(self.step)):
                raise ValueError("step goes without log, and is whole where the range is")
        elif self.step is not None or self.log:
            raise ValueError("step and log belong to a range")
        return self

    def _is_whole(self, step: float) -> bool:
        return not self.is_integer or step == int(step)

    @property
    def ends(self) -> tuple[int | float, int | float]:
        """Least and greatest value of a range."""
        if self.low is None or self.high is None:
            raise ValueError("no range")
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
        count = math.floor((high - low) / step + 1e-9) + 1
        return [round(low + step * k) if self.is_integer else float(f"{low + step * k:.12g}")
                for k in range(count)]  # fmt: skip

    def draw(self, random: np.random.Generator) -> Any:
        """Return a value drawn from the range or the choices."""
        values = self.listed()
        if values is not None:
            return values[int(random.integers(len(values)))]
        low, high = self.ends
        if not self.log:
            return _readable(float(random.uniform(low, high)), self)
        # Integers are drawn as the middle of their bin: the ends are as likely as the rest.
        margin = 0.5 if self.is_integer else 0.0
        logs = math.log(low - margin), math.log(high + margin)
        return _readable(math.exp(random.uniform(*logs)), self)


def _readable(value: float, parameter: Parameter) -> int | float:
    low, high = parameter.ends
    rounded = round(value) if parameter.is_integer else float(f"{value:.{_DIGITS}g}")
    return min(max(rounded, low), high)


class SearchConfig(Settings):
    """How the best settings are looked for."""

    method: Method = Field("hyperband", description="how settings are chosen and given up")
    space: dict[str, Parameter] = Field(min_length=1, description="dotted name → what it may be")
    trials: int = Field(20, ge=1, description="of random, tpe and asha: settings tried")
    max_epochs: int | None = Field(None, ge=1, description="most epochs of a trial (train.epochs)")
    final_epochs: int | None = Field(
        None, ge=1, description="of the last training, with the best settings (max_epochs)"
    )
    eta: int = Field(3, ge=2, description="of hyperband and asha: one in so many is promoted")
    rounds: int = Field(1, ge=1, description="of hyperband: all brackets so many times")
    repeats: int = Field(1, ge=1, description="a setting's score is the mean of so many seeds")
    folds: int | None = Field(None, ge=2, description="… or of so many folds")
    metric: Literal["val_accuracy", "val_loss"] = Field("val_accuracy", description="the score")
    seed: int = Field(0, ge=0, description="of the settings drawn")
    after: str | None = Field(None, description="search that recipe first; go on from its best")

    @property
    def runs_a_trial(self) -> int:
        """How many runs make one score."""
        return self.folds or self.repeats

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.method == "sweep" and len(self.space) != 1:
            raise ValueError(
                f"method: a sweep changes one parameter, the space has {len(self.space)}; "
                "use grid for several"
            )
        if self.folds is not None and self.repeats > 1:
            raise ValueError("folds: a score is a mean over repeats or over folds, not both")
        return self


class Space:
    """The run configs that a search chooses from: a base, and parameters that change it.

    Raises:
        ConfigError: a parameter names no field, or a value is none that the field takes.
    """

    def __init__(self, base: RunConfig, parameters: Mapping[str, Parameter]) -> None:
        self.base = base
        self.parameters = {
            name: _resolve_factors(name, parameter, base) for name, parameter in parameters.items()
        }
        for name, parameter in self.parameters.items():
            self._check(name, parameter)

    def config(self, values: Values) -> RunConfig:
        """Return the base with `values` in place."""
        changed = self.base.to_dict()
        for name, value in values.items():
            assign(changed, name, value)
        return RunConfig.parse(changed, source="search.space")

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

    def fixed(self, name: str, value: Any) -> dict[str, Parameter]:
        """Return the other parameters, where `name` is always `value`."""
        rest = {}
        for other, parameter in self.parameters.items():
            if other != name and parameter.when.get(name, value) == value:
                when = {k: wanted for k, wanted in parameter.when.items() if k != name}
                rest[other] = parameter.model_copy(update={"when": when})
        return rest

    def distinct_draws(self, seed: int) -> Iterator[Values]:
        """Yield settings drawn with `seed`, none that gives a run already given; may end."""
        random = np.random.default_rng(seed)
        seen: set[str] = set()
        vain = 0
        while vain < _VAIN_DRAWS:
            values = self.draw(random)
            fingerprint = self.config(values).fingerprint()
            vain = vain + 1 if fingerprint in seen else 0
            if fingerprint not in seen:
                seen.add(fingerprint)
                yield values

    def grid(self) -> list[Values]:
        """Return every distinct setting, in order.

        Raises:
            ConfigError: a parameter is a range without steps.
        """
        found: list[Values] = [{}]
        for name, parameter in self.parameters.items():
            listed = parameter.listed()
            if listed is None:
                raise ConfigError(
                    f"search.space.{name}: a grid needs choices, or a range with step"
                )
            found = [{**values, name: value} for values in found for value in listed]
        by_run = {self.config(v).fingerprint(): v for v in map(self.active, reversed(found))}
        return list(reversed(by_run.values()))

    def _check(self, name: str, parameter: Parameter) -> None:
        """Put the ends of `parameter` into the base, so that a bad one is refused at once."""
        for condition in parameter.when:
            if condition not in self.parameters or condition == name:
                raise ConfigError(
                    f"search.space.{name}.when: {condition} is no parameter of this space"
                )
        values = parameter.listed() or [parameter.low, parameter.high]
        for value in values if parameter.choices else (values[0], values[-1]):
            try:
                self._config_with(name, value)
            except ConfigError as error:
                message = str(error).removeprefix("search.space: ")
                raise ConfigError(f"search.space.{name} = {json.dumps(value)}: {message}") from None

    def _conditions(self, name: str) -> Values:
        """Return what must hold for `name` to be searched, and for that in turn."""
        conditions: Values = {}
        for other, wanted in self.parameters[name].when.items():
            conditions |= self._conditions(other) | {other: wanted}
        return conditions

    def _config_with(self, name: str, value: Any) -> RunConfig:
        """Return the base with `value`; where it is refused alone, with what goes along with it."""
        conditions = self._conditions(name)
        try:
            return self.config({**conditions, name: value})
        except ConfigError:
            others = {other: _first(p) for other, p in self.parameters.items()}
            along = self.active({**others, **conditions, name: value})
            if along.get(name) == value:
                with contextlib.suppress(ConfigError):
                    return self.config(along)
            raise


def _first(parameter: Parameter) -> Any:
    listed = parameter.listed()
    return parameter.low if listed is None else listed[0]


def _resolve_factors(name: str, parameter: Parameter, base: RunConfig) -> Parameter:
    if parameter.factors is None:
        return parameter
    value = value_at(base.to_dict(), name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(
            f"search.space.{name}: factors need a number in the recipe, it has {value!r}"
        )
    kind = type(value)
    products = [kind(float(f"{value * factor:.{_DIGITS}g}")) for factor in parameter.factors]
    return Parameter(choices=tuple(dict.fromkeys(products)), when=parameter.when)
