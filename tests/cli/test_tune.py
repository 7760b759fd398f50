"""`penstroke tune` as a person and as a machine use it."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import tomli_w

from helpers import Outcome, small_config, start, wait_until
from penstroke.config.recipes import load_recipe, shipped_recipes
from penstroke.config.space import Space
from penstroke.errors import StudyError
from penstroke.search.study import Study
from searching import (
    remains,
    small_recipe,
    small_search,
    study_in,
    tune_command,
    tuned_study,
    undisturbed_study,
)

Cli = Callable[..., Outcome]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(tomli_w.dumps(small_recipe().to_dict()))
    return path


def test_the_plan_comes_first(penstroke: Cli, recipe: Path, runs: Path) -> None:
    said = penstroke("tune", recipe, "--dry-run").out
    assert "hyperband: 10 trials, 28 epochs" in said
    assert "of one worker" in said
    plan = json.loads(penstroke("tune", recipe, "--dry-run", "--json").out)
    assert [[rung["trials"] for rung in b] for b in plan["brackets"]] == [[4, 2, 1], [3, 1], [3]]
    assert plan["seconds"] == plan["worker_seconds"] / plan["workers"]
    assert not runs.exists()


def test_the_plan_shows_the_space_with_several_layers_as_one_parameter(
    penstroke: Cli, tmp_path: Path
) -> None:
    layers = small_config().replace({"model.convolutions": [{"filters": 4}, {"filters": 8}]})
    name = "model.convolutions.*.filters"
    momentum = {"low": 0.5, "high": 0.9, "step": 0.2, "when": {"train.optimizer": "sgd"}}
    wide = small_recipe(layers, method="grid", max_epochs=1, space={
        name: {"factors": [0.5, 1]}, "train.optimizer": {"choices": ["adam", "sgd"]},
        "train.momentum": momentum,
    })  # fmt: skip
    path = tmp_path / "wide.toml"
    path.write_text(tomli_w.dumps(wide.to_dict()))
    plan = json.loads(penstroke("tune", path, "--dry-run", "--json").out)
    assert plan["space"] == {
        name: "[2, 4], [4, 8]",
        "train.optimizer": '"adam", "sgd"',
        "train.momentum": '0.5 to 0.9 in steps of 0.2, if train.optimizer is "sgd"',
    }
    assert plan["trials"] == 8
    assert "[2, 4], [4, 8]" in penstroke("tune", path, "--dry-run").out
    fixed = penstroke("tune", path, "--dry-run", "--set", f"{name}=[3, 5]", "--json")
    assert list(json.loads(fixed.out)["space"]) == ["train.optimizer", "train.momentum"]
    refused = penstroke("tune", path, "--dry-run", "--set", "model.convolutions.1.filters=3")
    assert (refused.exit_code, f"as a part of {name}: set that" in refused.err) == (2, True)


def test_the_whole_way(penstroke: Cli, recipe: Path, runs: Path) -> None:
    done = penstroke("tune", recipe, "--name", "s", "--confirm-seeds", 2, "--json")
    assert done.exit_code == 0, done.err
    figures = json.loads(done.out)
    assert figures["trials"] == 10
    assert len(figures["confirmed"]) == 2
    assert 0.5 < figures["test"]["test_accuracy"] < 1
    assert Path(figures["report"]).exists()
    assert load_recipe(figures["best_recipe"]).train.learning_rate
    again = penstroke("tune", recipe, "--name", "s", "--confirm-seeds", 2)
    assert again.exit_code == 0
    assert "already finished" in again.err
    by_name = penstroke("tune", "s", "--json")
    assert json.loads(by_name.out) == figures
    shown = penstroke("tune", recipe, "--name", "s").out
    assert "the best of many is partly luck" in shown
    assert "opened once" in shown


def test_what_a_study_was_begun_with_is_not_changed_when_it_goes_on(
    penstroke: Cli, recipe: Path, runs: Path
) -> None:
    small_search("s", method="random", trials=1, max_epochs=1)
    for options in (["--dry-run"], ["--overwrite"], ["--trials", "3", "--set", "train.seed=1"]):
        refused = penstroke("tune", "s", *options)
        assert refused.exit_code == 2
        assert f"leave out {', '.join(o for o in options if o[0] == '-')}, or name" in " ".join(
            refused.err.replace("│", "").split()
        )
    assert not list(runs.rglob("test_openings.jsonl"))
    assert penstroke("tune", recipe, "--name", "s", "--dry-run").exit_code == 0


def test_the_plan_of_a_study_for_each_value(
    penstroke: Cli, recipe: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstroke.search.cost_estimate.seconds_a_step", lambda *_, **__: 0.01)
    options = ("--for-each", "model.convolutions.0.filters", "--dry-run")
    plan = json.loads(penstroke("tune", recipe, *options, "--json").out)
    assert [s["model.convolutions.0.filters"] for s in plan["studies"]] == [4, 8, 12]
    assert plan["worker_seconds"] == sum(s["worker_seconds"] for s in plan["studies"])
    assert "3 studies; about" in penstroke("tune", recipe, *options).out
    assert not runs.exists()


def test_a_page_about_a_study_at_any_time(penstroke: Cli, recipe: Path, runs: Path) -> None:
    tuned_study()
    (runs / "s" / "summary.json").unlink()
    page = Path(json.loads(penstroke("report", "s", "--json").out)["report"])
    assert "The search is not finished; the test split has not been opened." in page.read_text()


def test_a_search_where_everything_fails_says_why(penstroke: Cli, tmp_path: Path) -> None:
    hopeless = small_recipe(method="sweep", max_epochs=1,
                            space={"train.batch_size": {"choices": [4000, 5000]}})  # fmt: skip
    (tmp_path / "hopeless.toml").write_text(tomli_w.dumps(hopeless.to_dict()))
    done = penstroke("tune", tmp_path / "hopeless.toml")
    assert done.exit_code == 1
    assert "all failed, most of them because: train.batch_size: 4000 is more than" in done.err


def test_a_study_for_each_value(penstroke: Cli, recipe: Path) -> None:
    done = penstroke(
        "tune", recipe, "--for-each", "model.convolutions.0.filters", "--method", "random",
        "--trials", 2, "--max-epochs", 1, "--confirm-seeds", 0, "--no-report",
        "--name", "wide", "--json",
    )  # fmt: skip
    studies = json.loads(done.out)["studies"]
    assert [study["model.convolutions.0.filters"] for study in studies] == [4, 8, 12]
    assert all("model.convolutions.0.filters" not in s["best_settings"] for s in studies)
    assert [Path(study["study"]).name for study in studies] == ["wide-4", "wide-8", "wide-12"]


def test_one_search_after_another(penstroke: Cli, tmp_path: Path, runs: Path) -> None:
    """The second begins where the first ended: its factors are of the best rate."""
    first = small_recipe(method="sweep", max_epochs=1,
                         space={"train.learning_rate": {"choices": [1e-5, 4e-3]}})  # fmt: skip
    (tmp_path / "first.toml").write_text(tomli_w.dumps(first.to_dict()))
    second = small_recipe(
        method="grid", max_epochs=1, after=str(tmp_path / "first.toml"), final_epochs=3,
        space={"train.learning_rate": {"factors": [0.5, 1.0]}},
    )  # fmt: skip
    (tmp_path / "second.toml").write_text(tomli_w.dumps(second.to_dict()))
    plan = penstroke("tune", tmp_path / "second.toml", "--dry-run").out
    assert "first.toml is searched first" in plan
    assert "grid: 2 trials" in plan
    assert not runs.exists()
    done = penstroke(
        "tune", tmp_path / "second.toml", "--name", "two", "--confirm-seeds", 0, "--json"
    )
    assert done.exit_code == 0, done.err
    study = Study.find("two")
    assert study is not None
    rates = {values["train.learning_rate"] for values, *_ in remains(study).values()}
    assert rates == {2e-3, 4e-3}
    assert len((runs / "two-best" / "history.jsonl").read_text().splitlines()) == 3


# The driver of a search that stops, and does not go on, once it has kept the third epochs.
STOPPING = """
import os, signal, threading
from penstroke.cli.main import main
from penstroke.search import runner
write, calls = runner.write_epochs, []
def write_and_stop(*arguments, **options):
    write(*arguments, **options)
    calls.append(1)
    if len(calls) == 3:
        hold_back, pressed = signal.getsignal(signal.SIGINT), threading.Event()
        signal.signal(signal.SIGINT, lambda *interrupt: (hold_back(*interrupt), pressed.set()))
        open(os.environ["STOPPED"], "w").close()
        pressed.wait(120)
runner.write_epochs = write_and_stop
main()
"""


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(
    recipe: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOPPED", str(tmp_path / "stopped"))
    stopping = [sys.executable, "-c", STOPPING, *tune_command(recipe)[3:]]
    started = start(stopping, stderr=subprocess.PIPE, text=True)
    wait_until((tmp_path / "stopped").exists)
    workers = psutil.Process(started.pid).children()
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 130
    assert "resumes the search" in said
    assert "Traceback" not in said
    assert psutil.wait_procs(workers, timeout=120)[1] == []
    stopped = study_in(runs)
    assert "RUNNING" not in {state for _, state, *_ in remains(stopped).values()}
    subprocess.run(tune_command(recipe), check=True, capture_output=True)
    assert remains(stopped) == remains(undisturbed_study())


@pytest.mark.slow
def test_kill_9_at_any_moment_changes_nothing(tmp_path: Path) -> None:
    """A few kills; `make torture` deals out two hundred."""
    script = Path(__file__).parents[2] / "scripts" / "torture.py"
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "2", "--seed", "1", "--rounds", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["different"] == 0
    assert found["driver"] + found["worker"] >= 2


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_written(recipe: Path, runs: Path) -> None:
    """Files may not grow beyond 40 kB after the third history: then the same command goes on."""
    script = """
import resource
from penstroke.search import runner
write, calls = runner.write_epochs, []
def write_and_fill(*arguments, **options):
    calls.append(1)
    if len(calls) == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, resource.RLIM_INFINITY))
    write(*arguments, **options)
runner.write_epochs = write_and_fill
from penstroke.cli.main import main
main()
"""
    arguments = tune_command(recipe)[3:]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "File too large" in done.stderr or "disk" in done.stderr
    assert "Traceback" not in done.stderr
    study = study_in(runs)
    before = [len(histories[0]) for *_, histories in remains(study).values()]
    assert sum(before) >= 3
    subprocess.run(tune_command(recipe), check=True, capture_output=True)
    assert remains(study) == remains(undisturbed_study())


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("balanced",), 2, "balanced has no [search] table"),
        (("tund",), 2, 'did you mean "tuned"'),
        (("RECIPE", "--method", "hyperbnd"), 2, 'did you mean "hyperband"'),
        (("RECIPE", "--eta", "1"), 2, "search.eta"),
        (("RECIPE", "--for-each", "train.learning_rat"), 2, 'did you mean "train.learning_rate"'),
        (
            ("RECIPE", "--for-each", "train.learning_rate"),
            2,
            "it needs choices, or a range with step",
        ),
        (("RECIPE", "--time-budget", "20"), 2, "write it as 90s, 20m or 2h"),
        (("RECIPE", "--method", "sweep"), 2, "a sweep changes one parameter, the space has 4"),
        (("RECIPE", "--method", "grid"), 2, "a grid needs choices"),
        (("RECIPE", "--folds", "3", "--seeds", "2"), 2, "not both"),
        (("RECIPE", "--storage", "nonsense"), 1, "the study's storage nonsense cannot be used"),
        (("RECIPE", "--storage", "postgresql://u:secret@127.0.0.1:1/x"), 1, "cannot be used"),
    ],
)
def test_bad_usage(
    penstroke: Cli, recipe: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    done = penstroke("tune", *(str(recipe) if word == "RECIPE" else word for word in options))
    assert done.exit_code == code
    assert said in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err


def test_a_damaged_or_locked_storage_is_said(penstroke: Cli, recipe: Path, runs: Path) -> None:
    tuned_study()
    (runs / "s" / "summary.json").unlink()
    database = runs / "s" / "study.db"
    whole = database.read_bytes()
    database.write_bytes(b"this is no database, whatever its name says" * 100)
    done = penstroke("tune", recipe, "--name", "s")
    assert done.exit_code == 1
    assert "study.db cannot be used" in done.err
    database.write_bytes(whole)
    (runs / "s" / "study.toml").write_text("format_version = 99")
    done = penstroke("tune", "s")
    assert done.exit_code == 1
    assert "written by a newer Penstroke" in done.err


def test_a_study_on_a_read_only_disk_can_be_shown(
    penstroke: Cli, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tuned_study()
    connect = sqlite3.connect

    def read_only(*arguments: object, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)  # type: ignore[call-overload]
        connection.execute("pragma query_only = on")
        return cast("sqlite3.Connection", connection)

    with monkeypatch.context() as patch:
        patch.setattr("sqlite3.dbapi2.connect", read_only)
        patch.setattr("sqlite3.connect", read_only)
        done = penstroke("runs", "show", "s")
        assert (done.exit_code, "s  finished" in done.out) == (0, True), done.err
        with pytest.raises(StudyError, match="cannot be used: .*readonly database"):
            study.store.add(99, {})


@pytest.mark.parametrize(
    "change",
    [
        "trial_user_attributes set value_json = 'NaN' where key = 'settings'",
        """trial_user_attributes set value_json = '{"train.epochs": NaN}' where key = 'settings'""",
        "trial_user_attributes set value_json = printf('%.99999c', '[') where key = 'settings'",
        "trial_user_attributes set value_json = 'NaN' where key = 'trial'",
        "trial_user_attributes set value_json = '[1]' where key = 'trial'",
        "trial_user_attributes set value_json = '1e999' where key = 'trial'",
        "trial_values set value_type = 'INF_POS', value = null",
        "trial_params set distribution_json = '['",
        "trials set state = 'XX'",
    ],
)
def test_damaged_trials_are_said(penstroke: Cli, runs: Path, change: str) -> None:
    study = tuned_study()
    with contextlib.closing(sqlite3.connect(study.path / "study.db")) as database:
        database.execute(f"update {change}")
        database.commit()
    (study.path / "summary.json").unlink()
    for command in (("tune", "s"), ("runs", "show", "s"), ("report", "s")):
        done = penstroke(*command)
        assert (done.exit_code, "study.db is damaged: " in done.err) == (1, True), done.err
        assert len(done.err) < 500


def test_two_searches_of_one_study_at_once(penstroke: Cli, recipe: Path, runs: Path) -> None:
    study = tuned_study()
    (study.path / "summary.json").unlink()
    with study.locked():
        done = penstroke("tune", recipe, "--name", "s")
    assert done.exit_code == 1
    assert "is searched by another process" in done.err


def test_a_study_is_listed_and_removed_like_a_run(penstroke: Cli, recipe: Path, runs: Path) -> None:
    tuned_study()
    listed = json.loads(penstroke("runs", "list", "--json").out)
    assert [Path(one["run"]).name for one in listed["runs"]] == ["s-best"]
    assert [one["summary"]["trials"] for one in listed["studies"]] == [10]
    assert "s      finished      10" in penstroke("runs", "list").out
    assert penstroke("runs", "rm", "s", "s-best", "--yes").exit_code == 0
    assert list(runs.iterdir()) == []


def test_optunas_own_tools_open_the_study(recipe: Path, runs: Path) -> None:
    import optuna

    tuned_study()
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{runs / 's' / 'study.db'}")
    assert len(study.trials) == 10
    assert study.best_trial.params["train.learning_rate"]
    assert sum(len(t.intermediate_values) for t in study.trials) == 28
    with sqlite3.connect(runs / "s" / "study.db") as database:
        (count,) = database.execute("select count(*) from trials").fetchone()
    assert count == 10


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_space_of_every_shipped_recipe_fits(name: str) -> None:
    recipe = load_recipe(name)
    if recipe.search is not None:
        space = Space(recipe.run_config(), recipe.search.space)
        drawn = next(space.distinct_draws(seed=0))
        assert space.config(drawn) != recipe.run_config()
