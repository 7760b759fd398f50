"""`penstroke tune`: from a recipe to its best settings."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from penstroke.cli.console import (
    Changes,
    Dataset,
    Exclude,
    Json,
    Overwrite,
    Report,
    changes_from,
    excluded_images,
    say,
    seconds_of,
    stem_of,
    takes,
)
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

if TYPE_CHECKING:
    from penstroke.config.recipes import Recipe
    from penstroke.search.engine import AnyEngine
    from penstroke.search.result import SearchResult
    from penstroke.search.runner import SearchStatus
    from penstroke.search.study import Study
    from penstroke.search.workflow import SearchRequest

_FOR_EACH_CALL = {
    "recipe", "workers", "engine", "address", "gpus", "confirm_seeds", "refit_all", "report",
    "as_json",
}  # fmt: skip
"""Options that may differ when a study is resumed; the others are settled when it is created."""


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """The options of `penstroke tune`."""

    recipe: Annotated[
        str, typer.Argument(help="Recipe with a [search] table, or a study to resume.")
    ] = "tuned"
    dataset: Dataset = None
    exclude: Exclude = None
    method: Annotated[
        str | None,
        typer.Option(help="Search algorithm: sweep, grid, random, tpe, hyperband or asha."),
    ] = None
    trials: Annotated[int | None, typer.Option(help="Number of trials (random, tpe and asha).")] = (
        None
    )
    max_epochs: Annotated[int | None, typer.Option(help="Most epochs of a trial.")] = None
    eta: Annotated[
        int | None, typer.Option(help="Reduction factor: 1 of ETA trials is promoted.")
    ] = None
    seeds: Annotated[
        int | None, typer.Option(help="Training seeds whose mean is a trial's score.")
    ] = None
    folds: Annotated[
        int | None, typer.Option(help="Cross-validation folds whose mean is a trial's score.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Random seed of the search.")] = None
    time_budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time that the plan must fit: 90s, 20m, 2h.")
    ] = None
    for_each: Annotated[
        str | None, typer.Option(metavar="NAME", help="Parameter with one study for each value.")
    ] = None
    changes: Changes = None
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes; one per core by default.")
    ] = None
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Processes on this machine, or a Ray cluster.")
    ] = "local"
    address: Annotated[str, typer.Option(help="Address of the Ray cluster; local starts one.")] = (
        "local"
    )
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each Ray worker, such as 0.25.")] = 0.0
    storage: Annotated[
        str, typer.Option(metavar="URL", help="Optuna storage in place of study.db.")
    ] = ""
    confirm_seeds: Annotated[
        int, typer.Option(min=0, help="New seeds to train the best settings with.")
    ] = 3
    refit_all: Annotated[
        bool,
        typer.Option("--refit-all", help="Final training on the validation images as well."),
    ] = False
    name: Annotated[str | None, typer.Option(help="Name of the study.")] = None
    overwrite: Overwrite = False
    report: Report = True
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and its cost only.")] = False
    as_json: Json = False

    @property
    def worker_count(self) -> int:
        """Number of workers."""
        from penstroke.machine import allowed_cores

        return self.workers or allowed_cores()

    def settings(self) -> dict[str, Any]:
        """Return the settings that differ from the recipe's, by their dotted names."""
        return changes_from(self.changes, {
            "data.dataset": self.dataset, "data.exclude": excluded_images(self.exclude),
            "search.method": self.method, "search.trials": self.trials,
            "search.max_epochs": self.max_epochs, "search.eta": self.eta,
            "search.seeds": self.seeds, "search.folds": self.folds, "search.seed": self.seed,
        })  # fmt: skip

    def for_new_studies(self) -> list[str]:
        """Return the options given here that a study cannot change once it exists."""
        flags = {"changes": "--set"}
        return [
            flags.get(field.name, "--" + field.name.replace("_", "-"))
            for field in fields(self)
            if field.name not in _FOR_EACH_CALL and getattr(self, field.name) != field.default
        ]


@takes(TuneOptions)
def command(options: TuneOptions) -> None:
    """Search for the best settings of a recipe.

    The best are confirmed with new seeds, trained and evaluated. Settings are chosen on validation
    images; the test split is opened once, at the end. The same command resumes a search that was
    interrupted.
    """
    from penstroke.config.recipes import load_recipe

    if (study := _existing_study(options)) is not None:
        show_result(_run(study, options), options.as_json)
        return
    time_budget = seconds_of(options.time_budget)
    request = _request(load_recipe(options.recipe, options.settings()), options.recipe, options)
    request = replace(request, time_budget_seconds=time_budget, storage=options.storage)
    stem = stem_of(options.recipe)
    if options.for_each is not None:
        _search_each(request, options.for_each, options.name or stem, options)
    elif options.dry_run:
        show_plan(request, options.worker_count, options.as_json)
    else:
        study = _open(request, stem, options, options.name)
        show_result(_run(study, options), options.as_json)


def _existing_study(options: TuneOptions) -> Study | None:
    """Return the study to resume; None where the recipe starts a new one."""
    from penstroke.config.recipes import shipped_recipes
    from penstroke.search.study import find_study

    study, refused = find_study(options.recipe), options.for_new_studies()
    if study is None or (refused and options.recipe in shipped_recipes()):
        return None
    if refused:
        raise typer.BadParameter(
            f"{study.path} is an existing study, whose settings are fixed: leave out "
            f"{', '.join(refused)}, or name its recipe"
        )
    return study


def _open(
    request: SearchRequest, stem: str, options: TuneOptions, name: str | None = None
) -> Study:
    from penstroke.search.workflow import open_study

    return open_study(
        request, stem=stem, name=name, workers=options.worker_count, overwrite=options.overwrite
    )


def _request(recipe: Recipe, source: str, options: TuneOptions) -> SearchRequest:
    from penstroke.errors import ConfigError
    from penstroke.search.workflow import SearchRequest

    if recipe.search is None:
        raise ConfigError(
            f"{source} has no [search] table, which says what to search: `penstroke train --list` "
            "marks the recipes that have one, such as tuned"
        )
    config, search = recipe.run_config(), recipe.search
    if search.after is not None and options.dry_run:
        say(f"{search.after} is searched first; its own plan: `tune {search.after} --dry-run`\n",
            as_json=options.as_json)  # fmt: skip
    elif search.after is not None:
        config = config.replace(_best_of(search.after, recipe, options))
    return SearchRequest(config, search.replace({"after": None}), recipe.title)


def _best_of(source: str, then: Recipe, options: TuneOptions) -> dict[str, Any]:
    """Search the recipe that comes before, on the same data; return its best settings."""
    from penstroke.config.recipes import load_recipe
    from penstroke.errors import ConfigError, StudyError

    data = {"data.dataset": then.data.dataset, "data.exclude": then.data.exclude}
    before = load_recipe(source, data)
    if before.search is not None and before.search.after is not None:
        raise ConfigError(
            f"search.after: {source} itself starts from another search; only one can go before"
        )
    study = _open(_request(before, source, options), stem_of(source), options)
    with study.locked():
        _search(study, replace(options, confirm_seeds=0))
    best = study.best()
    if best is None:
        raise StudyError(f"{study.path}: no trial has a score, so {then.title!r} cannot begin")
    study.write_best(study.space.config(best.settings), f"The best of {study.name}")
    say(f"{study.path}: best {best.settings}, {best.metric:.4f}", as_json=options.as_json)
    return best.settings


def _search_each(request: SearchRequest, name: str, stem: str, options: TuneOptions) -> None:
    """Search once for each value of one parameter, with that value fixed."""
    requests = _requests_for_each(request, name)
    if options.dry_run:
        show_plans(name, requests, options.worker_count, options.as_json)
        return
    results = []
    for value, one in requests:
        study = _open(one, stem, options, f"{stem}-{value}" if options.name else None)
        say(f"{name} = {value}", as_json=options.as_json)
        results.append((value, _run(study, options)))
    show_each(name, results, options.as_json)


def _requests_for_each(request: SearchRequest, name: str) -> list[tuple[Any, SearchRequest]]:
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
        raise ConfigError(f"--for-each {name}: it needs choices, or a range with step")
    if len(space.parameters) == 1:
        raise ConfigError(
            f"--for-each {name}: no other parameter is left to search; leave --for-each out"
        )
    return [
        (value, replace(request, config=space.config({name: value}), search=rest))
        for value in values
        if (rest := search.fixed(name, value))
    ]  # fmt: skip


def _run(study: Study, options: TuneOptions) -> SearchResult:
    """Search, confirm, train and evaluate the best; what is finished is not repeated."""
    from penstroke.search.workflow import conclude, result_so_far

    if study.result():
        say(
            f"{study.path} is already finished; its recipe with --overwrite replaces it",
            as_json=True,
        )
        return result_so_far(study)
    with study.locked():
        confirmed = _search(study, options)
        with training_bar("training the best settings") as watch:
            result = conclude(
                study,
                confirmed,
                refit_all=options.refit_all,
                report=options.report,
                on_epoch=watch,
            )
        if options.report:
            from penstroke.reports.search_report import write_search_report

            result = result.replace({"report": str(write_search_report(study, result))})
            result.write(study.path)
    return result


def _search(study: Study, options: TuneOptions) -> list[float]:
    from penstroke.search.workflow import confirm, search

    workers = options.worker_count
    say(describe(study, workers), as_json=options.as_json)
    # Workers are forked before the table is drawn, while this process is still one thread.
    engine = _start_engine(study, options)
    try:
        with live_table(study, workers) as watch, _interrupted_between_steps() as check:

            def on_status(status: SearchStatus) -> None:
                check()
                watch(status)

            if not search(study, engine, on_status):
                say("the time is up: continuing with the best so far", as_json=True)
        with counting_bar("confirming with new seeds", options.confirm_seeds) as count:
            return confirm(study, engine, options.confirm_seeds, count)
    except KeyboardInterrupt:
        show_interrupted(study)
        raise typer.Exit(130) from None
    finally:
        engine.close()


def _start_engine(study: Study, options: TuneOptions) -> AnyEngine:
    """Return the workers, with the data that they will need first."""
    from penstroke.search.engine import patience_seconds
    from penstroke.search.trial_worker import shared_data

    data, workers = study.record.config.data, options.worker_count
    patience = patience_seconds(len(shared_data(data).train))
    if options.engine == "ray":
        from penstroke.search.ray_engine import RayEngine

        return RayEngine(workers, options.address, options.gpus, [data], patience)
    from penstroke.search.local_engine import LocalEngine

    return LocalEngine(workers, [data], study.record.resolved.device, patience)


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
