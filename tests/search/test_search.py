"""Whole searches, by real workers on real digits."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from helpers import small_config
from penstroke.config.settings import RunConfig
from penstroke.config.space import Space
from penstroke.data import store
from penstroke.data.dataset import Dataset, sealed
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError, SealedTestError, StudyError
from penstroke.reports.search_report import write_search_report
from penstroke.search.engine import LocalEngine
from penstroke.search.study import Study
from penstroke.search.trial_store import TrialStore
from penstroke.search.workflow import (
    SearchRequest,
    conclude,
    confirm,
    open_study,
    plan_search,
    result_so_far,
    search,
)
from searching import SPACE, finished_search, remains, runs_of, small_recipe, small_search


def test_hyperband_trains_its_brackets_and_promotes_the_best() -> None:
    study = finished_search()
    trials = remains(study)
    assert len(trials) == 10
    epochs = [len(histories[0]) for *_, histories in trials.values()]
    assert sorted(epochs) == [1, 1, 2, 2, 2, 4, 4, 4, 4, 4]
    first_rung = {n: values[1] for n, (*_, values, _) in list(trials.items())[:4]}
    went_on = [n for n in first_rung if len(trials[n][-1][0]) > 1]
    assert sorted(first_rung, key=lambda n: -first_rung[n])[:2] == sorted(
        went_on, key=lambda n: -first_rung[n]
    )
    states = [state for _, state, *_ in trials.values()]
    assert (states.count("complete"), states.count("pruned")) == (5, 5)


def test_only_survivors_keep_checkpoints() -> None:
    study = finished_search()
    for number, (_, state, *_) in remains(study).items():
        (run,) = runs_of(study, number)
        kept = list((run.path / "checkpoints").glob("*"))
        assert len(kept) == (1 if state == "complete" else 0)


def test_the_result_is_that_of_the_seed_however_many_work() -> None:
    """Of two workers mostly; here of one and of three."""
    for workers in (1, 3):
        assert remains(small_search(str(workers), workers=workers)) == remains(finished_search())


@pytest.mark.parametrize(
    ("changes", "trials"),
    [
        ({"method": "random", "trials": 5, "max_epochs": 1}, 5),
        ({"method": "tpe", "trials": 13, "max_epochs": 1}, 13),
        ({"method": "asha", "trials": 6}, 6),
        ({"method": "grid", "max_epochs": 1,
          "space": {"train.learning_rate": {"choices": [1e-3, 1e-2]},
                    "train.batch_size": {"low": 32, "high": 96, "step": 32}}}, 6),
        ({"method": "sweep", "max_epochs": 1,
          "space": {"train.learning_rate": {"choices": [1e-4, 1e-3, 1e-2]}}}, 3),
        ({"method": "random", "trials": 50, "max_epochs": 1,
          "space": {"train.batch_size": {"choices": [32, 64]}}}, 2),
    ],
)  # fmt: skip
def test_every_method_comes_to_its_end(changes: dict[str, Any], trials: int) -> None:
    study = small_search(**changes)
    found = remains(study)
    assert len(found) == trials
    assert {state for _, state, *_ in found.values()} <= {"complete", "pruned"}
    assert len({str(values) for values, *_ in found.values()}) == trials
    best = study.best()
    assert best is not None
    complete = [value for _, state, value, *_ in found.values() if state == "complete"]
    assert best.metric == max(complete)


def test_a_score_is_the_mean_over_seeds_or_folds() -> None:
    ways: list[dict[str, Any]] = [{"seeds": 3}, {"folds": 3}]
    for how in ways:
        study = small_search(str(how)[2:7], method="random", trials=2, max_epochs=2, **how)
        for number, trial in study.store.trials().items():
            runs = runs_of(study, number)
            assert len(runs) == 3
            assert len({run.record.config.fingerprint() for run in runs}) == 3
            kept = [run.history()[run.best_epoch() - 1]["val_accuracy"] for run in runs]
            assert trial.metric == pytest.approx(statistics.mean(kept))


def test_a_trial_that_fails_is_recorded_and_the_rest_finish() -> None:
    """A learning rate of 1e30 gives nan; a batch larger than the data cannot be trained."""
    study = small_search(method="grid", max_epochs=1, space={
        "train.learning_rate": {"choices": [1e-3, 1e30]},
        "train.batch_size": {"choices": [64, 5000]},
        "train.optimizer": {"choices": ["sgd"]},
    })  # fmt: skip
    trials = study.store.trials()
    reasons = {n: trial.failure for n, trial in trials.items()}
    assert [trials[n].state for n in range(4)] == ["complete", "failed", "failed", "failed"]
    assert "train.batch_size: 5000 is more than the 400" in reasons[1]
    assert "the loss became" in reasons[2]


def test_a_search_that_goes_on_trains_nothing_twice() -> None:
    study = finished_search()
    before = remains(study)
    stamps = {p: p.stat().st_mtime_ns for p in study.path.glob("trials/*/history.jsonl")}
    again = small_search()
    assert remains(again) == before
    assert {p: p.stat().st_mtime_ns for p in study.path.glob("trials/*/history.jsonl")} == stamps


def test_confirm_and_conclude(runs: Path) -> None:
    study = finished_search()
    engine = LocalEngine(2, [study.record.config])
    try:
        confirmed = confirm(study, engine, 3)
        assert confirm(study, engine, 3) == confirmed
    finally:
        engine.close()
    assert len(confirmed) == 3
    result = conclude(study, confirmed, report=False)
    assert result.confirmed_mean == pytest.approx(statistics.mean(confirmed))
    best = study.best()
    assert best is not None
    assert result.best_metric == best.metric
    assert result.trials == 10
    final = Study.find(study.path)
    assert final is not None
    assert final.result() == result
    assert result_so_far(final) == result
    opened = (runs / "s-best" / "test_openings.jsonl").read_text().splitlines()
    assert len(opened) == 1
    assert list(study.path.rglob("test_openings.jsonl")) == []
    page = write_search_report(study, result).read_text()
    assert "<script" not in page
    assert f"a validation accuracy of {100 * result.best_metric:.2f} %" in page
    assert "val_accuracy<" not in page


def test_trained_on_everything_holds_nothing_out() -> None:
    study = small_search(method="random", trials=1, max_epochs=1)
    result = conclude(study, [], refit_all=True, report=False)
    config = RunConfig.parse(find_run_config(Path(result.run)))
    assert config.data.validation_fraction == 0


def find_run_config(path: Path) -> dict[str, object]:
    from penstroke.runs.run import Run

    return Run.open(path).record.config.to_dict()


def test_the_test_labels_change_no_decision() -> None:
    """A leak probe: the same images with the test labels shuffled, searched again."""
    whole = load_dataset("digits")
    test = whole.test.unseal()
    shuffled = np.random.default_rng(0).permutation(test.labels)
    found = []
    for name, labels in (("told", test.labels), ("shuffled", shuffled)):
        from penstroke.data.loading import imported_folder

        store.save(imported_folder(name), name, whole.train,
                   Dataset(test.images, labels, test.classes))  # fmt: skip
        config = small_config()
        data = config.data.model_copy(update={"dataset": name})
        recipe = small_recipe(config.model_copy(update={"data": data}))
        assert recipe.search is not None
        study = open_study(SearchRequest(recipe.run_config(), recipe.search), stem=name)
        engine = LocalEngine(2, [recipe])
        assert search(study, engine)
        engine.close()
        found.append(remains(study))
    assert found[0] == found[1]
    with sealed(), pytest.raises(SealedTestError):
        whole.test.unseal()


def test_another_search_of_the_same_name_says_what_differs() -> None:
    short: dict[str, Any] = {"method": "random", "trials": 1, "max_epochs": 1}
    small_search("mine", **short)
    other: dict[str, Any] = {"space": {**SPACE, "train.learning_rate": {"choices": [0.1]}}}
    with pytest.raises(StudyError, match=r"search\.space\.train\.learning_rate\.choices.*--name"):
        small_search("mine", **short, **other)


def test_nothing_held_out_nothing_to_choose_by() -> None:
    recipe = small_recipe()
    data = recipe.data.model_copy(update={"validation_fraction": 0.0})
    train = recipe.train.model_copy(update={"checkpoint_metric": "last"})
    config = RunConfig(data=data, model=recipe.model, train=train)
    assert recipe.search is not None
    with pytest.raises(ConfigError, match=r"data\.validation_fraction: a search needs"):
        open_study(SearchRequest(config, recipe.search), stem="x")


@pytest.fixture
def steady_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which each measurement of a step comes out the same."""
    monkeypatch.setattr("penstroke.search.cost_estimate.seconds_a_step", lambda *_, **__: 0.01)


@pytest.mark.usefixtures("steady_machine")
@pytest.mark.parametrize("method", ["hyperband", "random", "tpe", "grid"])
def test_a_plan_is_fitted_to_its_time(method: str) -> None:
    space: dict[str, Any] = {"train.batch_size": {"choices": [16, 32, 48, 64]}}
    if method != "grid":
        space["train.seed"] = {"low": 0, "high": 1000}
    recipe = small_recipe(method=method, max_epochs=9, eta=3, space=space)
    assert recipe.search is not None
    request = SearchRequest(recipe.run_config(), recipe.search)
    *_, whole = plan_search(request, workers=1)
    shorter = SearchRequest(
        request.config, request.search, time_budget_seconds=whole.worker_seconds / 3
    )
    *_, fitted = plan_search(shorter, workers=1)
    assert fitted.epochs < whole.epochs
    if method != "grid":
        longer = SearchRequest(
            request.config, request.search, time_budget_seconds=whole.worker_seconds * 5
        )
        assert plan_search(longer, workers=1)[2].epochs > 2 * whole.epochs


@pytest.mark.parametrize("method", ["hyperband", "random"])
def test_a_time_too_short_for_one_trial_is_refused(method: str) -> None:
    recipe = small_recipe(method=method, max_epochs=4, space={"train.seed": {"low": 0, "high": 99}})
    assert recipe.search is not None
    hurried = SearchRequest(recipe.run_config(), recipe.search, time_budget_seconds=1e-3)
    with pytest.raises(ConfigError, match=r"too short: one trial \(epochs: [14]\) takes about"):
        plan_search(hurried, workers=1000)


@pytest.mark.usefixtures("steady_machine")
def test_no_number_of_workers_makes_a_trial_shorter() -> None:
    recipe = small_recipe(
        method="hyperband", max_epochs=9, space={"train.seed": {"low": 0, "high": 99}}
    )
    assert recipe.search is not None
    request = SearchRequest(recipe.run_config(), recipe.search)
    longest = plan_search(request, workers=1)[2].longest_seconds
    half = SearchRequest(request.config, request.search, time_budget_seconds=longest / 2)
    config, *_ = plan_search(half, workers=1000)
    assert config.train.epochs < 9


def test_when_the_time_is_up_nothing_is_left_running() -> None:
    """Half an hour's trials in two seconds: the search ends before them, and leaves no work."""
    recipe = small_recipe(method="random", trials=1000, max_epochs=40)
    assert recipe.search is not None
    study = open_study(SearchRequest(recipe.run_config(), recipe.search), stem="t")
    hurried = study.record.model_copy(update={"time_budget_seconds": 2.0})
    study = Study(study.path, hurried)
    engine = LocalEngine(2, [recipe])
    try:
        assert not search(study, engine)
        assert engine.free == 2
    finally:
        engine.close()
    states = [state for _, state, *_ in remains(study).values()]
    assert set(states) <= {"complete", "waiting"}
    assert len(states) < 1000


def test_suggestions_come_from_scores() -> None:
    """After its first ten, TPE stays near what scored well, where chance would go anywhere."""
    rate = {"train.learning_rate": {"low": 1e-6, "high": 1e-1, "log": True}}
    study = small_search(method="tpe", trials=22, max_epochs=2, workers=1, space=rate)
    rates = [values["train.learning_rate"] for values, *_ in remains(study).values()]
    assert sum(rate > 1e-4 for rate in rates[10:]) >= 10


@pytest.mark.parametrize("method", ["hyperband", "asha"])
def test_a_search_with_failures_and_patience_goes_on_to_the_same_end(method: str) -> None:
    """What failed, was given up, or ended by its own patience is told again, not trained again."""
    changes: dict[str, Any] = {"method": method, "trials": 9, "max_epochs": 4, "space": {
        "train.learning_rate": {"choices": [1e-3, 3e-3, 1e30, 1e-5]},
        "train.batch_size": {"choices": [32, 64, 5000]},
        "train.optimizer": {"choices": ["sgd", "adam"]},
        "train.patience": {"choices": [1, 2]},
    }}  # fmt: skip
    study = small_search(**changes)
    states = [state for _, state, *_ in remains(study).values()]
    assert "failed" in states
    assert "complete" in states
    before = remains(study)
    assert remains(small_search(**changes)) == before


def test_members_that_fail_leave_no_work_behind() -> None:
    """Of three folds one cannot be trained; what the others were doing disturbs nobody."""
    study = small_search(method="random", trials=3, max_epochs=2, folds=3, space={
        "train.batch_size": {"choices": [64, 267, 5000]},
    })  # fmt: skip
    engine = LocalEngine(2, [study.record.config])
    try:
        assert len(confirm(study, engine, 2)) == 2
    finally:
        engine.close()


def test_the_best_run_stands_beside_its_study_wherever_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the path means something else in an URL, or in Optuna's template of one."""
    runs = tmp_path / "what?" / "100%25 {x} #"
    monkeypatch.setenv("PENSTROKE_RUNS", str(runs))
    study = small_search("a $1 #", method="random", trials=1, max_epochs=1)
    result = conclude(study, [], report=False)
    assert Path(result.run) == runs / "a $1 #-best"
    assert (study.path / "study.db").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == ["what?"]


def test_two_that_begin_one_study_at_once_do_not_meet_in_its_storage(runs: Path) -> None:
    recipe = small_recipe()
    assert recipe.search is not None
    request = SearchRequest(recipe.run_config(), recipe.search)
    first, second = (open_study(request, stem="s", name="s") for _ in range(2))
    assert not (runs / "s" / "study.db").exists()  # only who holds the lock creates it
    with (
        first.locked(), pytest.raises(StudyError, match="searched by another process"),
        second.locked(),
    ):  # fmt: skip
        pass
    assert first.store.trials() == {}


def test_two_that_create_the_tables_of_one_storage_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen that there are none: each table that the other has created is an error."""
    tables = optuna.storages._rdb.models.BaseModel.metadata
    create_all, calls = tables.create_all, []

    def be_late(engine: Any) -> None:
        calls.append(engine)
        for table in tables.sorted_tables[: 2 * len(calls)]:
            create_all(engine, tables=[table])
        create_all(engine, checkfirst=len(calls) > 2)

    monkeypatch.setattr(tables, "create_all", be_late)
    recipe = small_recipe()
    assert recipe.search is not None
    space = Space(recipe.run_config(), recipe.search.space)
    store = TrialStore(tmp_path / "new.db", "s", space, maximize=True)
    assert (len(calls), store.trials()) == (3, {})


def test_a_study_with_a_damaged_storage_can_be_removed(runs: Path) -> None:
    study = small_search("s", method="random", trials=1, max_epochs=1)
    (study.path / "study.db").write_bytes(b"not SQLite")
    Study.open(study.path).remove()
    assert list(runs.iterdir()) == []


def test_a_last_run_that_was_begun_otherwise_makes_way(runs: Path) -> None:
    study = small_search("e", method="random", trials=1, max_epochs=2)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conclude(study, [], report=False, on_epoch=stop)
    conclude(study, [], refit_all=True, report=False)
    assert RunConfig.parse(find_run_config(runs / "e-best")).data.validation_fraction == 0


def test_the_best_of_a_study_that_is_no_more_is_not_mixed_with_another(runs: Path) -> None:
    study = small_search("g", method="random", trials=1, max_epochs=1)
    conclude(study, [], report=False)
    study.remove()
    recipe = small_recipe(method="random", trials=2, max_epochs=1)
    assert recipe.search is not None
    request = SearchRequest(recipe.run_config(), recipe.search)
    with pytest.raises(StudyError, match="penstroke runs rm g-best"):
        open_study(request, stem="g", name="g")
    assert not (runs / "g").exists()


def test_fresh_waits_for_nobody_and_destroys_nothing_that_is_in_use(runs: Path) -> None:
    study = small_search("h", method="random", trials=1, max_epochs=1)
    result = conclude(study, [], report=False)
    request = SearchRequest(study.record.config, study.record.search)
    with study.locked(), pytest.raises(StudyError):
        open_study(request, stem="h", name="h", overwrite=True)
    assert Path(result.model).exists()


def test_fresh_forgets_the_study_and_its_last_run(runs: Path) -> None:
    study = small_search("f", method="random", trials=2, max_epochs=1)
    conclude(study, [], report=False)
    recipe = small_recipe(method="random", trials=1, max_epochs=1)
    assert recipe.search is not None
    request = SearchRequest(recipe.run_config(), recipe.search)
    again = open_study(request, stem="f", name="f", overwrite=True)
    assert again.store.trials() == {}
    assert not (runs / "f-best").exists()
