from __future__ import annotations

import re
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import small_config
from penstroke.config.recipes import Recipe
from penstroke.config.space import Parameter, SearchConfig, Space
from penstroke.errors import ConfigError
from penstroke.search.trial_store import distribution


def space(**parameters: dict[str, Any]) -> Space:
    """A space over `train`'s fields."""
    named = {f"train.{name}": Parameter.parse(values) for name, values in parameters.items()}
    return Space(small_config(), named)


@given(
    st.integers(1, 100), st.integers(0, 300), st.integers(1, 9), st.booleans(), st.integers(0, 99)
)
def test_integers_are_drawn_from_their_range(
    low: int, width: int, step: int, log: bool, seed: int
) -> None:
    values = {"low": low, "high": low + width, "log": log} | ({} if log else {"step": step})
    parameter = Parameter.parse(values)
    drawn = parameter.draw(np.random.default_rng(seed))
    assert isinstance(drawn, int)
    assert low <= drawn <= low + width
    assert log or (drawn - low) % step == 0
    assert distribution(parameter)._contains(drawn)


@given(st.floats(1e-6, 1e3), st.floats(1, 1e4), st.booleans(), st.integers(0, 99))
def test_floats_are_drawn_from_their_range(low: float, factor: float, log: bool, seed: int) -> None:
    parameter = Parameter(low=low, high=low * factor, log=log)
    drawn = parameter.draw(np.random.default_rng(seed))
    assert low <= drawn <= low * factor
    assert distribution(parameter)._contains(drawn)


def test_a_log_range_is_even_in_the_logarithm() -> None:
    random = np.random.default_rng(0)
    parameter = Parameter(low=1e-4, high=1.0, log=True)
    drawn = np.log10([parameter.draw(random) for _ in range(4000)])
    counts, _ = np.histogram(drawn, bins=4, range=(-4, 0))
    assert abs(counts - 1000).max() < 4 * 1000**0.5


def test_conditions_leave_out_what_has_no_effect() -> None:
    found = space(
        optimizer={"choices": ["adam", "sgd"]},
        momentum={"choices": [0.5, 0.9], "when": {"train.optimizer": "sgd"}},
    ).grid()
    assert found == [
        {"train.optimizer": "adam"},
        {"train.optimizer": "sgd", "train.momentum": 0.5},
        {"train.optimizer": "sgd", "train.momentum": 0.9},
    ]


def test_a_condition_on_what_is_left_out_does_not_hold() -> None:
    chained = space(
        optimizer={"choices": ["adam"]},
        momentum={"choices": [0.9], "when": {"train.optimizer": "sgd"}},
        weight_decay={"choices": [0.1], "when": {"train.momentum": 0.9}},
    )
    assert chained.grid() == [{"train.optimizer": "adam"}]


def test_a_choice_may_need_what_goes_along_with_it() -> None:
    steps = space(
        schedule={"choices": ["constant", "step"]},
        step_size={"low": 1, "high": 2, "when": {"train.schedule": "step"}},
        gamma={"choices": [0.5], "when": {"train.schedule": "step"}},
    )
    assert len(steps.grid()) == 3


def test_fixed_parameters_take_their_conditions_along() -> None:
    both = SearchConfig(space={
        "train.optimizer": Parameter(choices=("adam", "sgd")),
        "train.momentum": Parameter(choices=(0.9,), when={"train.optimizer": "sgd"}),
    })  # fmt: skip
    assert both.fixed("train.optimizer", "adam") is None
    with_momentum = both.fixed("train.optimizer", "sgd")
    assert with_momentum is not None
    assert with_momentum.space == {"train.momentum": Parameter(choices=(0.9,))}


def test_steps_stay_on_their_grid() -> None:
    parameter = Parameter(low=0.12345, high=0.9, step=0.1)
    assert parameter.listed() == pytest.approx([0.12345 + 0.1 * k for k in range(8)], rel=1e-11)
    assert all(distribution(parameter)._contains(value) for value in parameter.listed() or [])


def test_settings_that_give_the_same_run_are_one() -> None:
    """A finite space ends, with each of its runs once."""
    small = space(
        batch_size={"low": 16, "high": 64, "step": 16},
        optimizer={"choices": ["adam", "adam", "sgd"]},
    )
    drawn = list(small.distinct_draws(seed=3))
    assert len(drawn) == 8
    assert len({small.config(values).fingerprint() for values in drawn}) == 8
    assert len(small.grid()) == 8


def test_draws_are_those_of_the_seed() -> None:
    wide = space(learning_rate={"low": 1e-5, "high": 1e-1, "log": True})
    first, again = (list(islice(wide.distinct_draws(5), 6)) for _ in range(2))
    assert first == again
    assert first != list(islice(wide.distinct_draws(6), 6))


def test_factors_are_multiples_of_the_recipes_own_value() -> None:
    around = space(learning_rate={"factors": [0.5, 1, 2]})
    rates = [values["train.learning_rate"] for values in around.grid()]
    assert rates == pytest.approx([1.5e-3, 3e-3, 6e-3])


def test_lists_go_by_index() -> None:
    widths = Space(
        small_config(), {"model.convolutions.0.filters": Parameter(low=4, high=8, step=4)}
    )
    configs = [widths.config(values).model.to_dict() for values in widths.grid()]
    assert [config["convolutions"][0]["filters"] for config in configs] == [4, 8]


@pytest.mark.parametrize(
    ("name", "parameter", "said"),
    [
        ("train.learning_rat", {"choices": [0.1]}, 'did you mean "learning_rate"'),
        ("train.optimizer", {"choices": ["adam", "sdg"]}, 'did you mean "sgd"'),
        ("train.batch_size", {"choices": ["64"]}, "batch_size"),
        ("train.batch_size", {"low": 0.5, "high": 2.5}, "batch_size"),
        ("train.learning_rate", {"low": 0.0, "high": 1.0}, "greater than 0"),
        ("model.convolutions.3.filters", {"low": 1, "high": 2}, "not an index of a list of 1"),
        ("train.momentum", {"low": 0.0, "high": 0.9}, "has no effect without"),
        ("train.momentum", {"low": 0.1, "high": 0.9, "when": {"train.x": 1}}, "not a parameter"),
        ("train.optimizer", {"factors": [1, 2]}, "factors need a number"),
        ("train.nothing.at.all", {"factors": [1, 2]}, "factors need a number"),
        ("train.learning_rate.x", {"factors": [1, 2]}, "factors need a number"),
        ("model.convolutions.9.filters", {"factors": [1, 2]}, "factors need a number"),
        ("model.convolutions.x.filters", {"factors": [1, 2]}, "factors need a number"),
    ],
)
def test_a_space_that_does_not_fit_is_refused(
    name: str, parameter: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Space(small_config(), {name: Parameter.parse(parameter)})
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"low": 3, "high": 1}, "the range is empty"),
        ({"low": 3}, "low and high belong together"),
        ({}, "give low and high, or choices, or factors"),
        ({"low": 0, "high": 1, "log": True}, "log needs a low above 0"),
        ({"choices": [1], "step": 2}, "step and log belong to a range"),
        ({"low": 1, "high": 9, "step": 0.5}, "must be an integer where low and high are"),
        ({"low": 1, "high": 9, "step": 2, "log": True}, "step and log exclude each other"),
        ({"choices": []}, "choices"),
        ({"low": 1, "high": 2, "stepp": 1}, 'did you mean "step"'),
        ({"low": float("nan"), "high": 2.0}, "low"),
    ],
)
def test_a_parameter_that_is_none(values: dict[str, Any], said: str) -> None:
    table = {"space": {"train.learning_rate": values}}
    with pytest.raises(ConfigError, match=said) as caught:
        Recipe.parse({**small_config().to_dict(), "search": table})
    assert "search.space.train.learning_rate" in str(caught.value)


def test_a_sweep_has_one_parameter() -> None:
    both = {"train.learning_rate": {"choices": [1.0]}, "train.batch_size": {"choices": [8]}}
    with pytest.raises(ConfigError, match="the space has 2"):
        SearchConfig.parse({"method": "sweep", "space": both})


def test_a_grid_needs_steps() -> None:
    with pytest.raises(ConfigError, match="a grid needs choices, or a range with step"):
        space(learning_rate={"low": 0.1, "high": 0.2}).grid()


TWO = small_config().replace({"model.convolutions": [{"filters": 8}, {"filters": 16}]})
WIDTHS = "model.convolutions.*.filters"


def widths_of(space: Space) -> list[list[int]]:
    configs = [space.config(values).to_dict()["model"] for values in space.grid()]
    return [[layer["filters"] for layer in config["convolutions"]] for config in configs]


@pytest.mark.parametrize(
    ("values", "widths"),
    [
        ({"choices": [[32, 64], [64, 128]]}, [[32, 64], [64, 128]]),
        ({"choices": [32, [64, 128]]}, [[32, 32], [64, 128]]),
        ({"low": 4, "high": 12, "step": 4}, [[4, 4], [8, 8], [12, 12]]),
        ({"factors": [0.5, 1, 2]}, [[4, 8], [8, 16], [16, 32]]),
    ],
)
@pytest.mark.parametrize(
    "name", [WIDTHS, WIDTHS.replace("*", "0") + ", " + WIDTHS.replace("*", "1")]
)
def test_one_parameter_may_set_several_layers(
    name: str, values: dict[str, Any], widths: list[list[int]]
) -> None:
    assert widths_of(Space(TWO, {name: Parameter.parse(values)})) == widths


def test_layers_of_several_kinds_may_be_one_parameter() -> None:
    base = TWO.replace({"model.dense": [{"units": 8}]})
    space = Space(base, {f"{WIDTHS}, model.dense.0.units": Parameter(factors=(0.5, 2))})
    models = [space.config(values).to_dict()["model"] for values in space.grid()]
    assert widths_of(space) == [[4, 8], [16, 32]]
    assert [model["dense"][0]["units"] for model in models] == [4, 16]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({WIDTHS: {"choices": [[1, 2, 3]]}}, "3 values for 2 settings: model.convolutions.0.fil"),
        ({WIDTHS: {"choices": [[1, "x"]]}}, "convolutions.1.filters"),
        ({"model.*.filters": {"choices": [1]}}, "model is not a list with items"),
        ({"model.dens.*.units": {"choices": [1]}}, "model.dens is not a list with items"),
        ({"train.seed.x.*": {"choices": [1]}}, "a plain value has no setting"),
        (
            {WIDTHS: {"choices": [1]}, "model.convolutions.1.filters": {"choices": [2]}},
            f"{WIDTHS} and model.convolutions.1.filters both set model.convolutions.1.filters",
        ),
    ],
)
def test_a_parameter_of_several_layers_that_does_not_fit_is_refused(
    parameters: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Space(TWO, {name: Parameter.parse(values) for name, values in parameters.items()})
