"""`penstroke tune`: from a recipe to its best settings."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from penstroke.cli import options as shared
from penstroke.cli.console import exit_json, note, percent, print_table, program, progress_bar, say
from penstroke.cli.options import (
    argument,
    changes_from,
    given_options,
    option,
    seconds_of,
    stem_of,
    takes,
)
from penstroke.errors import ConfigError, StudyError, near_match
from penstroke.machine import allowed_cores

if TYPE_CHECKING:
    from penstroke.config.recipes import Recipe
    from penstroke.search.engine import Engine
    from penstroke.search.runner import SearchStatus
    from penstroke.search.study import SearchResult, Study
    from penstroke.search.workflow import SearchRequest

_FOR_EACH_CALL = {
    "recipe", "workers", "engine", "address", "gpus", "confirm_seeds", "refit_all", "report",
    "as_json",
}  # fmt: skip
"""Options that may differ when a study is resumed; the others are settled when it is created."""


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """The options of `penstroke tune`."""

    recipe: str = argument("Recipe with a [search] table, or a study to resume.", "tuned")
    dataset: str | None = shared.DATASET
    exclude: Path | None = shared.EXCLUDE
    texts: Path | None = shared.TEXTS
    method: str | None = option(
        "Search algorithm: sweep, grid, random, tpe, hyperband or asha.")  # fmt: skip
    trials: int | None = option("Number of trials (random, tpe and asha).")
    max_epochs: int | None = option("Most epochs of a trial.")
    eta: int | None = option("Reduction factor: 1 of ETA trials is promoted.")
    seeds: int | None = option("Training seeds whose mean is a trial's score.")
    folds: int | None = option("Cross-validation folds whose mean is a trial's score.")
    seed: int | None = option("Random seed of the search.")
    time_budget: str | None = option(
        "Time that the plan must fit: 90s, 20m, 2h.", metavar="TIME")  # fmt: skip
    for_each: str | None = option("Parameter with one study for each value.", metavar="NAME")
    changes: list[str] | None = shared.SET
    workers: int = option(
        "Number of processes; one per core by default.", allowed_cores, min=1, show_default=False
    )
    engine: Literal["local", "ray"] = option(
        "Processes on this machine, or a Ray cluster.", "local")  # fmt: skip
    address: str = option("Address of the Ray cluster; local starts one.", "local")
    gpus: float = option("GPUs of each Ray worker, such as 0.25.", 0.0, min=0)
    storage: str = option("Optuna storage in place of study.db.", "", metavar="URL")
    confirm_seeds: int = option("New seeds to train the best settings with.", 3, min=0)
    refit_all: bool = option(
        "Final training on the validation images as well.", False, "--refit-all")  # fmt: skip
    name: str | None = option("Name of the study.")
    overwrite: bool = shared.OVERWRITE
    report: bool = shared.REPORT
    dry_run: bool = option("Plan and its cost only.", False, "--dry-run")
    as_json: bool = shared.JSON


@takes(TuneOptions)
def command(options: TuneOptions) -> None:
    """Search for the best settings of a recipe.

    The best are confirmed with new seeds, trained and evaluated. Settings are chosen on validation
    images; the test split is opened once, at the end. The same command resumes a search that was
    interrupted.
    """
    from penstroke.config.recipes import load_recipe

    if (study := _existing_study(options)) is not None:
        _show_result(study, _run(study, options))
        return
    time_budget = seconds_of(options.time_budget)
    settings = changes_from(options.changes, {
        "data.dataset": options.dataset, "data.exclude": options.exclude,
        "synthesis.texts": options.texts,
        "search.method": options.method, "search.trials": options.trials,
        "search.max_epochs": options.max_epochs, "search.eta": options.eta,
        "search.seeds": options.seeds, "search.folds": options.folds, "search.seed": options.seed,
    })  # fmt: skip
    recipe = load_recipe(options.recipe, settings)
    _check_not_searched(recipe, settings)
    request = _request(recipe, options.recipe, options)
    request = replace(request, time_budget_seconds=time_budget, storage=options.storage)
    stem = stem_of(options.recipe)
    if options.for_each is not None:
        _search_each(request, options.for_each, options.name or stem, options)
    elif options.dry_run:
        _show_plan(request, options.workers)
    else:
        study = _open(request, stem, options, options.name)
        _show_result(study, _run(study, options))


def _check_not_searched(recipe: Recipe, settings: Mapping[str, Any]) -> None:
    """Refuse a setting that is a part of a parameter, which would override it in silence."""
    from penstroke.config.space import shared_setting

    for name, parameter in product(settings, recipe.search.space if recipe.search else ()):
        if shared := shared_setting(recipe, name, parameter):
            raise ConfigError(
                f"{name}: the search sets {shared} too, as a part of {parameter}: set that"
            )


def _existing_study(options: TuneOptions) -> Study | None:
    """Return the study to resume; None where the recipe starts a new one."""
    from penstroke.config.recipes import shipped_recipes
    from penstroke.search.study import Study

    study, given = Study.find(options.recipe), given_options(options).items()
    fixed = [option for name, option in given if name not in _FOR_EACH_CALL]
    if study is None or (fixed and options.recipe in shipped_recipes()):
        return None
    if fixed:
        raise typer.BadParameter(
            f"{study.path} is an existing study, whose settings are fixed: leave out "
            f"{', '.join(fixed)}, or name its recipe"
        )
    return study


def _open(request: SearchRequest, stem: str, options: TuneOptions, name: str | None) -> Study:
    from penstroke.search.workflow import open_study

    return open_study(
        request, stem=stem, name=name, workers=options.workers, overwrite=options.overwrite
    )


def _request(recipe: Recipe, source: str, options: TuneOptions) -> SearchRequest:
    from penstroke.search.workflow import SearchRequest

    if recipe.search is None:
        raise ConfigError(
            f"{source} has no [search] table, which says what to search: `penstroke train --list` "
            "marks the recipes that have one, such as tuned"
        )
    config, search = recipe.run_config(), recipe.search
    if search.after is not None and options.dry_run:
        say(f"{search.after} is searched first; its own plan: `tune {search.after} --dry-run`\n")
    elif search.after is not None:
        config = config.replace(_best_of(search.after, recipe, options))
    return SearchRequest(config, search.replace({"after": None}), recipe.title)


def _best_of(source: str, then: Recipe, options: TuneOptions) -> dict[str, Any]:
    """Search the recipe that comes before, on the same data; return its best settings."""
    from penstroke.config.recipes import load_recipe

    data = {"data.dataset": then.data.dataset, "data.exclude": then.data.exclude}
    before = load_recipe(source, data)
    if before.search is not None and before.search.after is not None:
        raise ConfigError(
            f"search.after: {source} itself starts from another search; only one can go before"
        )
    study = _open(_request(before, source, options), stem_of(source), options, name=None)
    with study.locked():
        _search(study, replace(options, confirm_seeds=0))
    best = study.best()
    if best is None:
        raise StudyError(f"{study.path}: no trial has a score, so {then.title!r} cannot begin")
    study.write_best(study.space.config(best.settings))
    say(f"{study.path}: best {best.settings}, {best.metric:.4f}")
    return best.settings


def _search_each(request: SearchRequest, name: str, stem: str, options: TuneOptions) -> None:
    """Search once for each value of one parameter, with that value fixed."""
    requests = _requests_for_each(request, name)
    if options.dry_run:
        _show_plans(name, requests, options.workers)
        return
    results, studies = [], []
    for value, one in requests:
        text = "-".join(map(str, value)) if isinstance(value, list) else value
        study = _open(one, stem, options, f"{stem}-{text}" if options.name else None)
        say(f"{name} = {value}")
        results.append((value, _run(study, options)))
        studies.append({name: value, **results[-1][1].to_dict(), "trial_runs": study.trial_runs()})
    exit_json({"each": name, "studies": studies})
    keys = sorted({key for _, result in results for key in result.best_settings})
    rows = [
        (value, *(result.best_settings.get(key, "–") for key in keys),
         f"{result.best_metric:.4f}", f"{result.confirmed_mean:.4f}",
         percent(result.test["test_accuracy"]))
        for value, result in results
    ]  # fmt: skip
    headings = (name, *keys, results[0][1].metric, "new seeds", "test accuracy")
    print_table(headings, rows, "".join(map(str, range(len(headings)))))


def _requests_for_each(request: SearchRequest, name: str) -> list[tuple[Any, SearchRequest]]:
    from penstroke.config.space import Space

    space = Space(request.config, request.search.space)
    if name not in space.parameters:
        problem = f"not in the search space{near_match(name, space.parameters)}"
    elif (values := space.parameters[name].listed()) is None:
        problem = "it needs choices, or a range with step"
    elif len(space.parameters) == 1:
        problem = "no other parameter is left to search; leave --for-each out"
    else:
        return [
            (value, replace(request, config=space.config({name: value}), search=rest))
            for value in values
            if (rest := request.search.fixed(name, value))
        ]
    raise ConfigError(f"--for-each {name}: {problem}")


def _run(study: Study, options: TuneOptions) -> SearchResult:
    """Search, confirm, train and evaluate the best; what is finished is not repeated."""
    from penstroke.search.workflow import conclude, result_so_far

    if study.result():
        note(f"{study.path} is already finished; its recipe with --overwrite replaces it")
        return result_so_far(study)
    with study.locked():
        confirmed = _search(study, options)
        with progress_bar("training the best settings") as update:
            result = conclude(
                study, confirmed, refit_all=options.refit_all, report=options.report,
                on_epoch=lambda epoch, n: update(completed=epoch.metrics["epoch"], total=n),
            )  # fmt: skip
        if options.report:
            from penstroke.reports.search_report import write_search_report

            result = result.replace({"report": str(write_search_report(study, result))})
            result.write(study.path)
    return result


def _search(study: Study, options: TuneOptions) -> list[float]:
    """Search and confirm; return the metrics of the best settings with new seeds."""
    from penstroke.search.engine import LocalEngine, patience_seconds
    from penstroke.search.workflow import confirm, planned_epochs, search

    record, workers, seeds = study.record, options.workers, options.confirm_seeds
    planned = planned_epochs(study)
    images = record.config.epoch_size(record.data.train_images)
    kind = "lines" if record.config.reads_lines else "images"
    about = "about " if record.search.method == "asha" else ""
    say(f"{study.path}: {record.search.method} over {len(study.space.parameters)} parameters, up "
        f"to {record.max_epochs} epochs a trial, {about}{planned:,} in all; "
        f"{images:,} {kind}, {record.resolved.precision}, "
        f"{workers} worker{'s' if workers > 1 else ''}")  # fmt: skip
    # Workers are forked before the table is drawn, while this process is still one thread, and
    # with the data that they will need first.
    configs, patience = [record.config], patience_seconds(images)
    if options.engine == "ray":
        from penstroke.search.ray_engine import RayEngine

        engine: Engine = RayEngine(workers, options.address, options.gpus, configs, patience)
    else:
        engine = LocalEngine(workers, configs, record.resolved.device, patience)
    try:
        with _interrupts_held() as check, _live_table(study, planned, workers, check) as watch:
            if not search(study, engine, watch):
                note("the time is up: continuing with the best so far")
        with progress_bar("confirming with new seeds", total=seeds, visible=seeds > 0) as update:
            return confirm(study, engine, seeds, lambda: update(advance=1))
    except KeyboardInterrupt:
        if best := study.best():
            note(f"stopped; best so far: trial {best.number}, {record.search.metric} "
                f"{best.metric:.4f}, {_in_one_line(best.settings)}")  # fmt: skip
        note(f"`{program()} tune {study.path}` resumes the search")
        raise typer.Exit(130) from None
    finally:
        engine.close()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    """Yield a function that raises a Ctrl-C held back: a database's clean-up could swallow it."""
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


def _show_plan(request: SearchRequest, workers: int) -> None:
    from penstroke.config.space import Space
    from penstroke.search.workflow import plan_search

    config, search, estimate = plan_search(request, workers)
    seconds = estimate.worker_seconds / workers
    facts = {"method": search.method, "max_epochs": config.train.epochs, "workers": workers}
    space = {name: p.text for name, p in Space(config, search.space).parameters.items()}
    exit_json({**facts, "space": space, **estimate.to_dict(), "seconds": seconds})
    print_table(("parameter", "values"), space.items())
    say("")
    rows = []
    for number, bracket in enumerate(estimate.brackets, 1):
        for index, rung in enumerate(bracket.rungs):
            rows.append((number if index == 0 else "", index + 1, rung.trials, rung.epochs,
                         bracket.epochs if index == 0 else ""))  # fmt: skip
    headings = ("bracket", "rung", "trials", "epochs each", "epochs of the bracket")
    print_table(headings, rows, "01234")
    say(f"\n{search.method}: {estimate.trials} trials, {estimate.epochs:,} epochs, "
        f"{estimate.multiply_adds:.2g} multiply-adds; about "
        f"{_duration(estimate.worker_seconds)} of one worker, {_duration(seconds)} with {workers}"
        )  # fmt: skip
    if search.method == "asha":
        say("asha promotes as scores come in: about as many trials reach each rung")


def _show_plans(name: str, requests: Sequence[tuple[Any, SearchRequest]], workers: int) -> None:
    from penstroke.search.workflow import plan_search

    plans = [(value, plan_search(request, workers)[2]) for value, request in requests]
    seconds = sum(estimate.worker_seconds for _, estimate in plans)
    figures = ("trials", "epochs", "worker_seconds")
    studies = [{name: value, **{key: getattr(e, key) for key in figures}} for value, e in plans]
    exit_json({"each": name, "studies": studies, "worker_seconds": seconds, "workers": workers,
               "seconds": seconds / workers})  # fmt: skip
    rows = [
        (value, e.trials, f"{e.epochs:,}", _duration(e.worker_seconds / workers))
        for value, e in plans
    ]
    print_table((name, "trials", "epochs", f"time with {workers}"), rows, "0123")
    say(f"\n{len(rows)} studies; about {_duration(seconds)} of one worker, "
        f"{_duration(seconds / workers)} with {workers}")  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _live_table(
    study: Study, planned: int, workers: int, check: Callable[[], None]
) -> Iterator[Callable[[SearchStatus], None]]:
    """Yield a function that calls `check` and, on a terminal, shows the status in place.

    It is drawn when called, not by a thread: workers are forked from this process.
    """
    if not sys.stderr.isatty():
        yield lambda _: check()
        return
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    start, drawn = time.monotonic(), 0.0
    planned -= study.epochs_trained()  # what earlier calls trained costs nothing any more
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

        def watch(status: SearchStatus) -> None:
            nonlocal drawn
            check()
            now, done, best = time.monotonic(), status.epochs_trained, status.best
            if now - drawn <= 0.5:
                return
            drawn = now
            table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
            running = [f"trial {one.trial} to epoch {one.epochs}" for one in status.running]
            table.add_row("running", ", ".join(running[:workers]))
            table.add_row("epochs", f"{done:,} of {planned:,} that were left")
            seconds_left = max(planned - done, 0) * (now - start) / max(done, 1)
            table.add_row("left", f"about {_duration(seconds_left)}" if done else "…")
            if best is not None:
                metric = f"{study.record.search.metric} {best.metric:.4f}"
                table.add_row("best so far", f"trial {best.number}: {metric}")
                table.add_row("", _in_one_line(best.settings))
            if status.failed:
                table.add_row("failed", f"{status.failed} trials; reasons are kept")
            live.update(table, refresh=True)

        yield watch


def _in_one_line(settings: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={value}" for name, value in settings.items())


def _show_result(study: Study, result: SearchResult) -> None:
    exit_json({**result.to_dict(), "trial_runs": study.trial_runs()})
    say(f"\ntrials            {result.trials}: {result.complete} to the last epoch, "
        f"{result.pruned} pruned, {result.failed} failed")  # fmt: skip
    say(f"best              trial {result.best_trial}, {result.metric} {result.best_metric:.4f}")
    for name, value in result.best_settings.items():
        say(f"                  {name} = {value}")
    if count := len(result.confirmed):
        sd = f" ± {result.confirmed_sd:.4f}" if count > 1 else ""
        seeds = "1 seed" if count == 1 else f"{count} seeds"
        each = ", ".join(f"{value:.4f}" for value in result.confirmed)
        say(f"with new seeds    {result.metric} {result.confirmed_mean:.4f}{sd} "
            f"({seeds}: {each}): the best of many is partly luck")  # fmt: skip
    say(f"test accuracy     {percent(result.test['test_accuracy'])}, opened once")
    say(f"best recipe       {result.best_recipe}")
    say(f"model             {result.model}")
    if result.report:
        say(f"report            {result.report}")
    say(f"\nnext: {program()} train {result.best_recipe} --seeds 5")
