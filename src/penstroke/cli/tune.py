"""`penstroke tune`: from a recipe to its best settings."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from penstroke.cli.audit import Exclude, excluded
from penstroke.cli.console import Json, options_typed, say, seconds_of
from penstroke.cli.tune_view import (
    counting_bar,
    describe,
    live_table,
    show_each,
    show_interrupted,
    show_plan,
    show_plans,
    show_result,
    training_bar,
)
from penstroke.config.toml import parse_assignments

if TYPE_CHECKING:
    from penstroke.config.recipes import Recipe
    from penstroke.config.settings import DataConfig
    from penstroke.search.engine import AnyEngine
    from penstroke.search.runner import SearchStatus
    from penstroke.search.study import Study
    from penstroke.search.workflow import SearchRequest, SearchResult

_Recipe = Annotated[
    str, typer.Argument(help="A recipe with a [search] table, or a study to go on with.")
]
_Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting.")
]
_TimeBudget = Annotated[
    str | None, typer.Option(metavar="TIME", help="Fit the plan to it: 90s, 20m, 2h.")
]

_Method = Annotated[str | None, typer.Option(help="sweep, grid, random, tpe, hyperband or asha.")]
_Each = Annotated[
    str | None, typer.Option(metavar="NAME", help="A study for each value of a parameter.")
]
_Everything = Annotated[
    bool, typer.Option("--refit-all", help="Train the last one on validation images too.")
]
_Storage = Annotated[str, typer.Option(metavar="URL", help="Optuna storage instead of study.db.")]
_EngineName = Annotated[
    Literal["local", "ray"], typer.Option(help="Processes here, or a Ray cluster.")
]

_FOR_EVERY_STUDY = {
    "workers", "engine", "address", "gpus", "confirm", "everything", "report", "as_json",
}  # fmt: skip
"""What may be said anew each time; all else was settled when a study began."""


def command(
    context: typer.Context,
    recipe: _Recipe = "tuned",
    dataset: Annotated[str | None, typer.Option(help="Data set: `penstroke data list`.")] = None,
    exclude: Exclude = None,
    method: _Method = None,
    trials: Annotated[int | None, typer.Option(help="Settings tried: random, tpe, asha.")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Most epochs of a trial.")] = None,
    eta: Annotated[int | None, typer.Option(help="One in so many is promoted.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Score by the mean of so many seeds.")] = None,
    folds: Annotated[int | None, typer.Option(help="… or by cross-validation.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the settings drawn.")] = None,
    time_budget: _TimeBudget = None,
    each: _Each = None,
    changes: _Changes = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core.")] = None,
    engine: _EngineName = "local",
    address: Annotated[str, typer.Option(help="Of a Ray cluster; local starts one.")] = "local",
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each Ray worker: 0.25 say.")] = 0.0,
    storage: _Storage = "",
    confirm: Annotated[int, typer.Option(min=0, help="Train the best with new seeds.")] = 3,
    everything: _Everything = False,
    name: Annotated[str | None, typer.Option(help="Name of the study.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin again if it is there.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Write the report.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, and its cost.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Search the settings of a recipe; then train, confirm and judge the best.

    Settings are chosen on validation images; the test split is opened once, at the end. The same
    command goes on where it was stopped.
    """
    crew = _Crew(workers or _cores(), engine, address, gpus)
    job = _Job(crew, confirm, everything, overwrite, report, dry_run, as_json)
    if (study := _named_study(recipe, options_typed(context))) is not None:
        _finish(study, job)
        return
    loaded = _load(recipe, changes or [], {
        "data.dataset": dataset, "data.exclude": excluded(exclude),
        "search.method": method, "search.trials": trials,
        "search.max_epochs": max_epochs, "search.eta": eta, "search.seeds": seeds,
        "search.folds": folds, "search.seed": seed,
    })  # fmt: skip
    _begin(_request(loaded, recipe, seconds_of(time_budget), storage, job), recipe, job,
           each, name)  # fmt: skip


@dataclass(frozen=True)
class _Crew:
    """Who trains."""

    workers: int
    engine: str
    address: str
    gpus: float

    def assemble(self, data: DataConfig, device: str) -> AnyEngine:
        """Return the workers, with the data that they will need first."""
        from penstroke.search.engine import patience_seconds
        from penstroke.search.trial_worker import shared_data

        patience = patience_seconds(len(shared_data(data).train))
        if self.engine == "ray":
            from penstroke.search.ray_engine import RayEngine

            return RayEngine(self.workers, self.address, self.gpus, [data], patience)
        from penstroke.search.local_engine import LocalEngine

        return LocalEngine(self.workers, [data], device, patience)


@dataclass(frozen=True)
class _Job:
    """What is to be done with every study of this command."""

    crew: _Crew
    confirm: int
    everything: bool
    overwrite: bool
    report: bool
    dry_run: bool
    as_json: bool


def _begin(
    request: SearchRequest, source: str, job: _Job, each: str | None, name: str | None
) -> None:
    stem = source.rstrip("/").rpartition("/")[2].removesuffix(".toml")
    if each is not None:
        _search_each(request, each, name or stem, job, named=name is not None)
    elif job.dry_run:
        show_plan(request, job.crew.workers, job.as_json)
    else:
        _finish(_open(request, stem, job, name), job)


def _load(name: str, changes: list[str], options: dict[str, Any]) -> Recipe:
    from penstroke.config.recipes import load_recipe

    given = {field: value for field, value in options.items() if value is not None}
    return load_recipe(name, {**given, **parse_assignments(changes)})


def _open(request: SearchRequest, stem: str, job: _Job, name: str | None = None) -> Study:
    from penstroke.search.workflow import open_study

    return open_study(
        request, stem=stem, name=name, workers=job.crew.workers, overwrite=job.overwrite
    )


def _request(
    recipe: Recipe, source: str, time_budget: float | None, storage: str, job: _Job
) -> SearchRequest:
    from penstroke.config.space import Space
    from penstroke.errors import ConfigError
    from penstroke.search.workflow import SearchRequest

    if recipe.search is None:
        raise ConfigError(
            f"{source} has no [search] table, which says what to search: see the recipes marked "
            "in `penstroke train --list`, tuned for one"
        )
    config, search = recipe.run_config(), recipe.search
    if search.after is not None and job.dry_run:
        say(f"{search.after} is searched first; its own plan: `tune {search.after} --dry-run`\n",
            as_json=job.as_json)  # fmt: skip
    elif search.after is not None:
        best = _best_of(search.after, recipe, job)
        config = Space(config, {}).config(best)
    search = search.replace({"after": None})
    return SearchRequest(config, search, recipe.title, time_budget, storage)


def _best_of(source: str, then: Recipe, job: _Job) -> dict[str, Any]:
    """Search the recipe that comes before, on the same data; return its best settings."""
    from penstroke.errors import ConfigError, StudyError

    exclude = list(then.data.exclude) if then.data.exclude else None
    before = _load(source, [], {"data.dataset": then.data.dataset, "data.exclude": exclude})
    if before.search is not None and before.search.after is not None:
        raise ConfigError(
            f"search.after: {source} begins with another search itself; only one can go before"
        )
    request = _request(before, source, None, "", job)
    study = _open(request, source.rpartition("/")[2].removesuffix(".toml"), job)
    with study.locked():
        _search(study, replace(job, confirm=0))
    best = study.best()
    if best is None:
        raise StudyError(f"{study.path}: no trial has a score, so {then.title!r} cannot begin")
    study.write_best(study.space.config(best.settings), f"The best of {study.name}")
    say(f"{study.path}: best {best.settings}, {best.metric:.4f}", as_json=job.as_json)
    return best.settings


def _search_each(request: SearchRequest, name: str, stem: str, job: _Job, named: bool) -> None:
    """Search once for each value of one parameter, that value fixed."""
    ones = _one_for_each(request, name)
    if job.dry_run:
        show_plans(name, ones, job.crew.workers, job.as_json)
        return
    results = []
    for value, one in ones:
        study = _open(one, stem, job, f"{stem}-{value}" if named else None)
        say(f"{name} = {value}", as_json=job.as_json)
        results.append((value, _run(study, job)))
    show_each(name, results, job.as_json)


def _one_for_each(request: SearchRequest, name: str) -> list[tuple[Any, SearchRequest]]:
    from penstroke.config.space import Space
    from penstroke.errors import ConfigError, near_match

    search = request.search
    space = Space(request.config, search.space)
    if name not in space.parameters:
        raise ConfigError(
            f"--for-each {name}: not in the search space{near_match(name, space.parameters)}"
        )
    values = space.parameters[name].listed()
    if values is None:
        raise ConfigError(f"--for-each {name}: give it choices, or a range with step")
    if len(space.parameters) == 1:
        raise ConfigError(
            f"--for-each {name}: nothing else is left to search; leave --for-each out"
        )
    return [
        (value, replace(request, config=space.config({name: value}), search=rest))
        for value in values
        if (rest := search.fixed(name, value))
    ]  # fmt: skip


def _finish(study: Study, job: _Job) -> None:
    show_result(_run(study, job), job.as_json)


def _run(study: Study, job: _Job) -> SearchResult:
    """Search, confirm, train and judge the best; what is done already is not done again."""
    from penstroke.search.workflow import conclude, result_so_far

    if study.summary():
        say(
            f"{study.path} is finished already; its recipe with --overwrite begins again",
            as_json=True,
        )
        return result_so_far(study)
    with study.locked():
        confirmed = _search(study, job)
        with training_bar("training the best") as watch:
            result = conclude(
                study, confirmed, refit_all=job.everything, report=job.report, on_epoch=watch
            )
        if job.report:
            from penstroke.reports.search_report import write_report

            result = replace(result, report=str(write_report(study, result)))
            study.write_summary(result.to_dict())
    return result


def _search(study: Study, job: _Job) -> list[float]:
    from penstroke.search.workflow import confirm, search

    say(describe(study, job.crew.workers), as_json=job.as_json)
    # Workers are forked before the table is drawn, while this process is still one thread.
    engine = job.crew.assemble(study.record.config.data, study.record.resolved.device)
    try:
        with live_table(study, job.crew.workers) as watch, _interrupted_between_steps() as check:

            def look(status: SearchStatus) -> None:
                check()
                watch(status)

            is_through = search(study, engine, look)
            if not is_through:
                say("the time is up: going on with the best so far", as_json=True)
        with counting_bar("the best again, with new seeds", job.confirm) as count:
            return confirm(study, engine, job.confirm, count)
    except KeyboardInterrupt:
        show_interrupted(study)
        raise typer.Exit(130) from None
    finally:
        engine.close()


@contextlib.contextmanager
def _interrupted_between_steps() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until the yielded function is called, which then raises KeyboardInterrupt.

    In the middle of a database's clean-up it could be swallowed.
    """
    pressed: list[int] = []

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, before)


def _named_study(name: str, options: dict[str, str]) -> Study | None:
    """Return the study that `name` goes on with; None where it is a recipe to begin with."""
    from penstroke.config.recipes import shipped_recipes
    from penstroke.search.study import find_study

    study = find_study(name)
    beginning = [typed for field, typed in options.items() if field not in _FOR_EVERY_STUDY]
    if study is None or (beginning and name in shipped_recipes()):
        return None
    if beginning:
        raise typer.BadParameter(
            f"{study.path} is a study, which keeps to what it was begun with: leave out "
            f"{', '.join(beginning)}, or name its recipe"
        )
    return study


def _cores() -> int:
    from penstroke.machine import allowed_cores

    return allowed_cores()
