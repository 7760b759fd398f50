from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstroke.config import recipes
from penstroke.config import settings as config
from penstroke.config.recipes import load_recipe, shipped_recipes
from penstroke.config.settings import CNNConfig, DataConfig, MLPConfig, RunConfig, Settings
from penstroke.config.toml import parse_assignments, read_toml
from penstroke.errors import ConfigError
from penstroke.runs.record import Summary


@pytest.mark.parametrize("name", shipped_recipes())
def test_toml_round_trip_is_exact(name: str) -> None:
    run = load_recipe(name).run_config()
    again = RunConfig.parse(tomllib.loads(run.to_toml()))
    assert again == run
    assert again.fingerprint() == run.fingerprint()
    assert again.to_toml() == run.to_toml()


@given(
    rate=st.floats(min_value=1e-12, max_value=1e6),
    smoothing=st.floats(min_value=0, max_value=0.999),
    epochs=st.integers(1, 10**6),
)
def test_numbers_survive_toml_to_the_bit(rate: float, smoothing: float, epochs: int) -> None:
    train = {"learning_rate": rate, "label_smoothing": smoothing, "epochs": epochs}
    run = RunConfig.parse({"train": train})
    assert RunConfig.parse(tomllib.loads(run.to_toml())) == run


@pytest.mark.parametrize(
    ("assignment", "field", "value"),
    [
        ("train.learning_rate=3e-4", ("train", "learning_rate"), 3e-4),
        ("train.optimizer=sgd", ("train", "optimizer"), "sgd"),
        ("train.augment.rotation_degrees=10", ("train", "augment", "rotation_degrees"), 10),
        ("model.convolutions.1.filters=48", ("model", "convolutions", 1, "filters"), 48),
        ("model.dense=[]", ("model", "dense"), ()),
        ("data.dataset=mnist", ("data", "dataset"), "mnist"),
        ('data.dataset="2024"', ("data", "dataset"), "2024"),
        ("train.epochs = 3", ("train", "epochs"), 3),
    ],
)
def test_changes_by_dotted_name(assignment: str, field: tuple[Any, ...], value: object) -> None:
    place: Any = load_recipe("baseline-cnn", parse_assignments([assignment]))
    for part in field:
        place = place[part] if isinstance(part, int) else getattr(place, part)
    assert place == value


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        (
            "train.learning_rat=1",
            'train.learning_rat: unknown setting (did you mean "learning_rate"?)',
        ),
        ("train.learning_rate=nan", "train.learning_rate"),
        ("train.learning_rate=-1", "train.learning_rate: input should be greater than 0, got -1"),
        ("train.epochs=0", "train.epochs: input should be greater than or equal to 1, got 0"),
        ("train.epochs=2.5", "train.epochs"),
        ("train.epochs=true", "train.epochs"),
        ("train.optimizer=adma", 'train.optimizer: "adma" is not known (did you mean "adam"?)'),
        ("model.architecture=cn", 'model.architecture: "cn" is not known (did you mean "cnn"?)'),
        (
            "model.convolutions.0.filter=3",
            'convolutions.0.filter: unknown setting (did you mean "fi',
        ),
        ("model.convolutions.7.filters=3", "'7' is not an index of a list of 2"),
        ("model.activation.x=3", "a plain value has no setting 'x'"),
        ("train.momentum=0.9", "train.momentum: has no effect without"),
        ("train.schedule=step", "train.schedule: step needs step_size"),
        ("train.step_size=3", "train.step_size: has no effect without"),
        (
            "train.checkpoint_metric=val_loss",
            "train.checkpoint_metric: val_loss needs validation images",
        ),
        ("model.convolutions.0.kernel=99", "convolutions.0: no pixels are left of its 28×28 input"),
        ("nonsense", "NAME=VALUE"),
        ("trian.epochs=3", 'trian: unknown setting (did you mean "train"?)'),
    ],
)
def test_bad_value_is_refused_with_its_field(assignment: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_recipe("baseline-cnn", parse_assignments([assignment]))
    assert said in str(refused.value)
    assert refused.value.exit_code == 2


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        RunConfig.parse({"train": {"epochs": 0, "batch_size": 0}}, source="my.toml")
    assert str(refused.value).count("my.toml: train.") == 2


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().train.epochs = 3  # type: ignore[misc]


def test_what_replaces_a_setting_is_validated_too() -> None:
    config = RunConfig().replace({"train.optimizer": "sgd", "train.momentum": 0.9})
    assert (config.train.momentum, config.data) == (0.9, DataConfig())
    with pytest.raises(ConfigError, match=r"train\.momentum: has no effect"):
        config.replace({"train.optimizer": "adam"})
    folded = config.replace({"data.folds": 3, "data.fold": 0})
    assert folded.replace({"data.folds": None, "data.fold": None}) == config
    assert config.replace({"model": MLPConfig()}).model == MLPConfig()


@pytest.mark.parametrize("recipe", ["fast", "balanced", "finetune", "tuned"])
def test_who_sets_epochs_gets_them(recipe: str) -> None:
    stated = load_recipe(recipe)
    assert stated.train.min_steps > 0  # of the recipe: few images get more epochs
    for changed in (
        load_recipe(recipe, parse_assignments(["train.epochs=10"])),
        stated.replace({"train.epochs": 10}),
        stated.run_config().replace({"train.epochs": 10}),
    ):
        assert changed.train.epochs_for(1293) == 10
    assert stated.train.replace({"epochs": 10}).epochs_for(1293) == 10
    both = load_recipe(recipe, {"train.min_steps": 400, "train.epochs": 10})
    assert both.train.min_steps == 400
    assert stated.replace({"train.seed": 1}).train.min_steps == stated.train.min_steps


def test_epochs_of_a_person_go_before_the_most_epochs_of_the_recipes_search(tmp_path: Path) -> None:
    recipe = tmp_path / "searched.toml"
    space = 'space = { "train.learning_rate" = { choices = [1e-3, 1e-2] } }'
    recipe.write_text(f"[train]\nepochs = 4\n[search]\nmax_epochs = 7\n{space}\n")
    plain, changed = load_recipe(str(recipe)), load_recipe(str(recipe), {"train.epochs": 3})
    both = load_recipe(str(recipe), {"train.epochs": 3, "search.max_epochs": 2})
    for searched, max_epochs in (plain, 7), (changed, None), (both, 2):
        assert searched.search is not None
        assert searched.search.max_epochs == max_epochs
    assert changed.train.epochs == 3


def test_fingerprint_tells_settings_apart() -> None:
    first = RunConfig()
    second = first.replace({"train.seed": 1})
    assert first.fingerprint() == RunConfig().fingerprint()
    assert first.fingerprint() != second.fingerprint()


def test_integers_and_equal_floats_are_the_same_settings() -> None:
    whole = RunConfig.parse({"train": {"learning_rate": 1, "augment": {"rotation_degrees": 10}}})
    point = RunConfig.parse(
        {"train": {"learning_rate": 1.0, "augment": {"rotation_degrees": 10.0}}}
    )
    assert whole.fingerprint() == point.fingerprint()


def _all_settings() -> list[type[Settings]]:
    found = list(Settings.__subclasses__())
    for settings in found:
        found += settings.__subclasses__()
    return found


def test_every_setting_is_documented() -> None:
    undocumented = [
        f"{settings.__name__}.{name}"
        for settings in _all_settings()
        if not issubclass(settings, Summary)  # figures, not settings
        for name, field in settings.model_fields.items()
        if not field.description
    ]
    assert undocumented == []
    assert {config.TrainConfig, recipes.Recipe} <= set(_all_settings())


@pytest.mark.parametrize("content", [b"[train\nepochs", b"\xff\xfe\x00", b"epochs = = 3"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        read_toml(path)


def test_recipes() -> None:
    with pytest.raises(ConfigError, match='did you mean "baseline-cnn"'):
        load_recipe("baselin-cnn")
    with pytest.raises(ConfigError, match="cannot read"):
        load_recipe("not-there.toml")


def test_model_option_takes_the_default_network_of_that_kind() -> None:
    assert load_recipe("baseline-cnn", {"model": {"architecture": "mlp"}}).model == MLPConfig()
    assert load_recipe("baseline-mlp", {"model": {"architecture": "cnn"}}).model == CNNConfig()
    with pytest.raises(ConfigError, match="one of mlp, cnn"):
        load_recipe("balanced", {"model": {"architecture": "transformer"}})


def test_every_published_set_up_has_its_recipe() -> None:
    references = [load_recipe(name).reference for name in shipped_recipes()]
    assert {r: references.count(r) for r in ("R0", "R1", "R2", "R3", "R4")} == {
        "R0": 3, "R1": 3, "R2": 2, "R3": 3, "R4": 6,
    }  # fmt: skip


def test_output_size_of_a_convolution() -> None:
    trial = load_recipe("one-conv-trial-1").model
    assert isinstance(trial, CNNConfig)
    assert trial.convolutions[0].output_size(28) == math.floor((28 + 2 - 7) / 3) + 1 == 8


def test_what_is_set_by_hand_is_no_longer_searched() -> None:
    searched = load_recipe("tuned", {"train.batch_size": 96, "train.epochs": 4})
    assert searched.search is not None
    whole = load_recipe("tuned").search
    assert whole is not None
    assert set(whole.space) - set(searched.search.space) == {"train.batch_size"}
    assert searched.run_config().train.batch_size == 96
    only = load_recipe("rate-sweep", {"train.learning_rate": 0.003})
    assert only.search is None


def test_a_setting_that_came_later_names_no_run_anew() -> None:
    """Drawn before `train.balance` was a setting: absent, or at nothing, it changes no name."""
    assert load_recipe("balanced").run_config().fingerprint()[:16] == "01eb9090056ca37f"
    plain, zero, half = (
        load_recipe("balanced", changes).run_config()
        for changes in ({}, {"train.balance": 0.0}, {"train.balance": 0.5})
    )
    assert plain == zero
    assert plain.fingerprint() == zero.fingerprint() != half.fingerprint()
    assert "balance" not in plain.to_toml()
    with pytest.raises(ConfigError, match=r"train\.balance: input should be less than or equal"):
        load_recipe("balanced", {"train.balance": 1.5})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"architecture": "cnn"}}, 'synthesis: lines need model.architecture = "crnn"'),
        ({"synthesis": None}, r"data\.dataset: synthetic lines need the settings \[synthesis\]"),
        ({"train.balance": 0.5}, r"train\.balance: is for characters, not for lines"),
        ({"train.outlier_exposure": 0.5}, r"train\.outlier_exposure: is for characters"),
        ({"train.augment.scale": 0.1}, r"train\.augment: is for characters"),
        ({"data.classes": ["1", "2"]}, r"data\.classes: is for characters"),
        ({"synthesis.share": 0.0}, r"synthesis\.share: input should be greater than 0"),
    ],
)
def test_a_line_reader_refuses_settings_of_characters(
    changes: dict[str, Any], message: str
) -> None:
    lines = RunConfig.parse(
        {"data": {"dataset": "synthetic"}, "model": {"architecture": "crnn"}, "synthesis": {}}
    )
    with pytest.raises(ConfigError, match=message):
        lines.replace(changes)
