"""`penstroke train`: from settings to a recogniser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.audit import Exclude, excluded
from penstroke.cli.console import Json, progress_bar, say
from penstroke.cli.train_view import (
    describe,
    line,
    show_figures,
    show_plan,
    show_recipes,
    show_spread,
)

if TYPE_CHECKING:
    from penstroke.config import RunConfig
    from penstroke.workflow import Prepared


_PRESETS = ("fast", "balanced", "best")
_DEFAULT = "balanced"

_Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting.")
]


def command(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A shipped recipe, a .toml file, or a run directory to repeat."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Recipe for any data set: fast, balanced or best.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set: `penstroke data list`.")] = None,
    exclude: Exclude = None,
    model: Annotated[str | None, typer.Option(help="Network instead: mlp, cnn or resnet.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pictures.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, dropout, warps.")] = None,
    changes: _Changes = None,
    repeats: Annotated[int, typer.Option(min=1, help="Train so many seeds; mean and spread.")] = 1,
    ensemble: Annotated[int, typer.Option(min=1, help="So many seeds averaged in one model.")] = 1,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again if it is there.")] = False,
    report: Annotated[bool, typer.Option(help="Write the report.")] = True,
    list_recipes: Annotated[bool, typer.Option("--list", help="Show the recipes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show settings and network.")] = False,
    as_json: Json = False,
) -> None:
    """Train a network, judge it, and export it as one file that recognises.

    The same command goes on where it was stopped, and answers at once when it is done already.
    """
    if list_recipes:
        show_recipes(as_json)
        return
    from penstroke.recipes import load_recipe

    options = {"data.dataset": dataset, "data.exclude": excluded(exclude), "train.epochs": epochs,
               "train.batch_size": batch_size, "train.learning_rate": lr,
               "train.seed": seed}  # fmt: skip
    given = [f"{field}={value}" for field, value in options.items() if value is not None]
    given += [] if epochs is None else ["train.min_steps=0"]  # who says how many means so many
    source = _source(recipe, preset)
    config = load_recipe(source, [*given, *(changes or [])], architecture=model).run_config()
    if dry_run:
        show_plan(config, as_json)
        return
    stem = name or source.rstrip("/").rpartition("/")[2].removesuffix(".toml")
    if repeats == ensemble == 1:
        _train_one(config, stem, name, fresh, report, as_json)
    else:
        _train_several(config, stem, repeats, ensemble, fresh, report, as_json)


def _train_one(
    config: RunConfig, stem: str, name: str | None, fresh: bool, report: bool, as_json: bool
) -> None:
    from penstroke.workflow import prepare

    prepared = prepare(config, stem=stem, name=name, fresh=fresh)
    show_figures(_train(prepared, report, as_json), as_json)


def _train_several(
    config: RunConfig, stem: str, repeats: int, ensemble: int,
    fresh: bool, report: bool, as_json: bool,
) -> None:  # fmt: skip
    from penstroke.workflow import prepare

    several = [
        _train(prepare(one, stem=stem, fresh=fresh), report and ensemble == 1, as_json)
        for one in config.seeds(max(repeats, ensemble))
    ]
    if ensemble > 1:
        show_figures(_average(several[:ensemble], config, report), as_json)
    else:
        show_spread(several, as_json)


def _source(recipe: str | None, preset: str | None) -> str:
    if preset is None:
        return recipe or _DEFAULT
    if recipe is not None:
        raise typer.BadParameter("give a recipe or a --preset, not both")
    if preset not in _PRESETS:
        from penstroke.errors import near_match

        raise typer.BadParameter(
            f'"{preset}" is no preset{near_match(preset, _PRESETS)}; one of {", ".join(_PRESETS)}'
        )
    return preset


def _train(prepared: Prepared, report: bool, as_json: bool) -> dict[str, Any]:
    from penstroke.workflow import finish

    for note in prepared.notes:
        say(f"note: {note}", as_json=True)
    run = prepared.run
    if run.status == "finished":
        say(f"{run.path} is finished already; --fresh trains it again", as_json=True)
        return run.summary()
    goes_on = f", going on after epoch {prepared.epochs_done}" if prepared.state else ""
    say(f"{run.path}: {describe(prepared)}{goes_on}", as_json=as_json)
    try:
        _follow(prepared, as_json)
    except KeyboardInterrupt:
        say("interrupted: the same command goes on after the last epoch shown", as_json=True)
        raise typer.Exit(130) from None
    with progress_bar() as bar:
        bar.add_task("exporting and judging", total=None)
        return finish(prepared, report=report)


def _average(members: list[dict[str, Any]], config: RunConfig, report: bool) -> dict[str, Any]:
    from penstroke.datasets import load_dataset
    from penstroke.runs import find_run
    from penstroke.workflow import make_ensemble

    with progress_bar() as bar:
        bar.add_task("averaging, exporting and judging", total=None)
        runs = [find_run(figures["run"]) for figures in members]
        return make_ensemble(runs, load_dataset(config.data), report=report)


def _follow(prepared: Prepared, as_json: bool) -> None:
    total = prepared.total_epochs
    marks_best = prepared.run.record.config.train.select != "last"
    with progress_bar() as bar:
        task = bar.add_task("training", total=total, completed=prepared.epochs_done)
        for epoch in prepared.train():
            bar.advance(task)
            say(line(epoch.metrics, total, marks_best), as_json=as_json)
