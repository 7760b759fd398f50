"""`penstroke train`: from settings to a recogniser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.console import Json, percent, print_json, print_table, program, progress_bar, say

if TYPE_CHECKING:
    from penstroke.config import RunConfig
    from penstroke.workflow import Prepared


_PRESETS = ("fast", "balanced", "best")
_EXAMPLE = "examples/seven.png"  # there in a clone: the first command to try should work


def command(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A shipped recipe, a .toml file, or a run directory to repeat."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Recipe for any data set: fast, balanced or best.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set: `penstroke data list`.")] = None,
    model: Annotated[str | None, typer.Option(help="Network instead: mlp, cnn or resnet.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pictures.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, dropout, warps.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting.")
    ] = None,
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
        _show_recipes(as_json)
        return
    from penstroke.recipes import load_recipe

    options = {"data.dataset": dataset, "train.epochs": epochs, "train.batch_size": batch_size,
               "train.learning_rate": lr, "train.seed": seed}  # fmt: skip
    given = [f"{field}={value}" for field, value in options.items() if value is not None]
    source = _source(recipe, preset)
    config = load_recipe(source, [*given, *(changes or [])], architecture=model).run_config()
    if dry_run:
        _show_plan(config, as_json)
        return
    from penstroke.workflow import prepare, seeds_of

    stem = name or source.rstrip("/").rpartition("/")[2].removesuffix(".toml")
    count = max(repeats, ensemble)
    if count == 1:
        prepared = prepare(config, stem=stem, name=name, fresh=fresh)
        _show_figures(_train(prepared, report, as_json), as_json)
        return
    several = [
        _train(prepare(one, stem=stem, fresh=fresh), report and ensemble == 1, as_json)
        for one in seeds_of(config, count)
    ]
    if ensemble > 1:
        _show_figures(_average(several[:ensemble], config, report), as_json)
    else:
        _show_spread(several, as_json)


def _source(recipe: str | None, preset: str | None) -> str:
    if preset is None:
        return recipe or _PRESETS[1]
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
    say(f"{run.path}: {_describe(prepared)}{goes_on}", as_json=as_json)
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
    with progress_bar() as bar:
        task = bar.add_task("training", total=total, completed=prepared.epochs_done)
        for epoch in prepared.train():
            bar.advance(task)
            say(_line(epoch.metrics, total), as_json=as_json)


def _line(metrics: dict[str, Any], total: int) -> str:
    words = [f"epoch {metrics['epoch']:>{len(str(total))}}/{total}"]
    for split in ("train", "val"):
        if f"{split}_loss" in metrics:
            loss, accuracy = metrics[f"{split}_loss"], metrics[f"{split}_accuracy"]
            words.append(f"{split} loss {loss:.4f} accuracy {percent(accuracy)}")
    words.append(f"{metrics['elapsed_seconds']:.1f} s")
    return "  ".join(words) + (" *" if metrics["best_epoch"] == metrics["epoch"] else "")


def _describe(prepared: Prepared) -> str:
    record = prepared.run.record
    resolved = record.resolved
    return (
        f"{record.config.model.architecture} on {len(prepared.data.train):,} pictures of "
        f"{prepared.data.name}, {resolved.precision} on {resolved.device}"
        + (f", {resolved.threads} threads" if resolved.device == "cpu" else "")
    )


def _show_figures(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(figures)
        return
    say("")
    if "val_accuracy" in figures:
        kept = f"(epoch {figures['best_epoch']}, the one kept)" if "best_epoch" in figures else ""
        say(f"validation accuracy  {percent(figures['val_accuracy'])}  {kept}")
    rest = f"loss {figures['test_loss']:.4f}  macro F1 {figures['test_f1']:.4f}"
    say(f"test accuracy        {percent(figures['test_accuracy'])}  {rest}")
    say(f"trained in           {figures['elapsed_seconds']:.1f} s")
    say(f"model                {figures['model']}")
    if "report" in figures:
        say(f"report               {figures['report']}")
    picture = _EXAMPLE if Path(_EXAMPLE).exists() else "PICTURE.png"
    say(f"\nnext: {program()} predict {figures['run']} {picture}")


def _show_spread(several: list[dict[str, Any]], as_json: bool) -> None:
    from dataclasses import asdict

    from penstroke.evaluation.spread import spread

    names = (
        "val_accuracy",
        "test_accuracy",
        "test_loss",
        "test_auroc",
        "test_f1",
        "elapsed_seconds",
    )
    found = {name: spread([run[name] for run in several]) for name in names if name in several[0]}
    if as_json:
        runs = [run["run"] for run in several]
        print_json({"runs": runs, **{name: asdict(one) for name, one in found.items()}})
        return
    say("")
    rows = [
        (name, f"{one.mean:.5f}", f"{one.sd:.5f}", f"{one.low:.5f} – {one.high:.5f}")
        for name, one in found.items()
    ]
    print_table(
        (f"over {len(several)} seeds", "mean", "sd", "95 % interval of the mean"), rows, "123"
    )


def _show_recipes(as_json: bool) -> None:
    from penstroke.recipes import load_recipe, shipped_recipes

    recipes = {name: load_recipe(name) for name in shipped_recipes()}
    if as_json:
        print_json({"recipes": {name: recipe.to_dict() for name, recipe in recipes.items()}})
        return
    rows = [(name, r.data.dataset, r.title, r.reference) for name, r in recipes.items()]
    print_table(("recipe", "data set", "what it is", "repeats"), rows)
    say("\nnext: penstroke train NAME")


def _show_plan(config: RunConfig, as_json: bool) -> None:
    from penstroke.datasets import load_dataset
    from penstroke.models import build_network, summarize

    data = load_dataset(config.data)
    network = build_network(config.model, num_classes=len(data.classes), mean=0.0, std=1.0)
    summary = summarize(network)
    seen = len(data.train) * config.train.epochs
    if as_json:
        print_json({
            "config": config.to_dict(), "parameters": summary.parameters,
            "multiply_adds": summary.multiply_adds, "images_seen": seen,
        })  # fmt: skip
        return
    rows = [
        (layer.name, layer.kind, "×".join(map(str, layer.output_shape)), f"{layer.parameters:,}",
         f"{layer.multiply_adds:,}")
        for layer in summary.layers
    ]  # fmt: skip
    total = ("", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}")
    print_table(("layer", "kind", "output", "parameters", "multiply-adds"), [*rows, total], "34")
    say(f"\n{config.to_toml()}\n{seen:,} pictures to be seen in {config.train.epochs} epochs")
