"""`penstroke train`: from settings to a recogniser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.audit import Exclude, excluded
from penstroke.cli.console import Json, progress_bar, say
from penstroke.cli.train_view import (
    begins_from,
    describe,
    line,
    show_figures,
    show_folds,
    show_plan,
    show_recipes,
    show_spread,
)
from penstroke.config.toml import parse_assignments

if TYPE_CHECKING:
    from penstroke.config.settings import RunConfig
    from penstroke.runs.finetuning import PretrainedRun
    from penstroke.runs.pipeline import Training
    from penstroke.runs.run import Run


_PRESETS = ("fast", "balanced", "best")
_DEFAULT, _DEFAULT_FROM = "balanced", "finetune"

_Recipe = Annotated[
    str | None,
    typer.Argument(help="A shipped recipe, a .toml file, or a run directory to repeat."),
]
_Preset = Annotated[
    str | None, typer.Option(help="Recipe for any data set: fast, balanced or best.")
]
_From = Annotated[
    str | None,
    typer.Option("--init-from", metavar="RUN", help="Begin with the network of this finished run."),
]
_Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any setting.")
]
_Folds = Annotated[
    int | None,
    typer.Option(help="Judge each training image, by networks trained on the other folds."),
]


@dataclass(frozen=True)
class _Way:
    """How a run is to be made, whatever its settings."""

    stem: str
    name: str | None
    overwrite: bool
    report: bool
    as_json: bool
    pretrained: PretrainedRun | None

    @property
    def path(self) -> Path | None:
        """Directory of the run, where it has a name."""
        from penstroke.files import runs_root

        return runs_root() / self.name if self.name else None


def command(
    recipe: _Recipe = None,
    preset: _Preset = None,
    origin: _From = None,
    dataset: Annotated[str | None, typer.Option(help="Data set: `penstroke data list`.")] = None,
    exclude: Exclude = None,
    model: Annotated[str | None, typer.Option(help="Network instead: mlp, cnn or resnet.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, dropout, warps.")] = None,
    changes: _Changes = None,
    repeats: Annotated[int, typer.Option(min=1, help="Train so many seeds; mean and spread.")] = 1,
    ensemble: Annotated[int, typer.Option(min=1, help="So many seeds averaged in one model.")] = 1,
    folds: _Folds = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin again if it is there.")
    ] = False,
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
    options = {"data.dataset": dataset, "data.exclude": excluded(exclude), "train.epochs": epochs,
               "train.batch_size": batch_size, "train.learning_rate": lr,
               "train.seed": seed}  # fmt: skip
    given: dict[str, Any] = {} if model is None else {"model": {"architecture": model}}
    given |= {field: value for field, value in options.items() if value is not None}
    given |= {} if epochs is None else {"train.min_steps": 0}
    given |= parse_assignments(changes or [])
    chosen, pretrained = _recipe(recipe, preset, origin), _pretrained(recipe, origin)
    config = _config(chosen, given, pretrained)
    if dry_run:
        show_plan(config, as_json)
        return
    stem = name or chosen.rstrip("/").rpartition("/")[2].removesuffix(".toml")
    way = _Way(stem, name, overwrite, report, as_json, pretrained)
    if folds is not None:
        _refuse_both(repeats > 1 or ensemble > 1, "--folds, or --seeds or --ensemble")
        _cross_validate(config, folds, way)
    elif repeats == ensemble == 1:
        _train_one(config, way)
    else:
        _train_several(config, repeats, ensemble, way)


def _config(chosen: str, given: dict[str, Any], pretrained: PretrainedRun | None) -> RunConfig:
    from penstroke.config.recipes import load_recipe

    config = load_recipe(chosen, given).run_config()
    if pretrained is None:
        return config
    sets_model = any(name.partition(".")[0] == "model" for name in given)
    _refuse_both(sets_model, "--init-from, whose network it is, or --model or --set model.…")
    return pretrained.applied_to(config)


def _refuse_both(holds: bool, what: str) -> None:
    if holds:
        raise typer.BadParameter(f"give {what}, not both")


def _pretrained(recipe: str | None, origin: str | None) -> PretrainedRun | None:
    """Return the run to begin from: the one named, or that of the run to repeat."""
    if origin is not None:
        from penstroke.runs.finetuning import find_pretrained

        return find_pretrained(origin)
    if recipe is None or not (Path(recipe) / "run.toml").exists():
        return None
    from penstroke.runs.finetuning import pretrained_of
    from penstroke.runs.run import Run

    return pretrained_of(Run.open(Path(recipe)))


def _train_one(config: RunConfig, way: _Way) -> None:
    from penstroke.runs.pipeline import start_or_resume

    training = start_or_resume(
        config, stem=way.stem, path=way.path, overwrite=way.overwrite, pretrained=way.pretrained
    )
    show_figures(_train(training, way.report, way.as_json), way.as_json)


def _train_several(config: RunConfig, repeats: int, ensemble: int, way: _Way) -> None:
    from penstroke.runs.pipeline import start_or_resume

    several = [
        _train(
            start_or_resume(one, stem=way.stem, overwrite=way.overwrite, pretrained=way.pretrained),
            way.report and ensemble == 1,
            way.as_json,
        )
        for one in config.seeds(max(repeats, ensemble))
    ]
    if ensemble > 1:
        show_figures(_average(several[:ensemble], config, way.report), way.as_json)
    else:
        show_spread(several, way.as_json)


def _cross_validate(config: RunConfig, folds: int, way: _Way) -> None:
    from penstroke.runs.cross_validation import cross_validation, finish_fold

    cross = cross_validation(config, folds, stem=way.stem, name=way.name, pretrained=way.pretrained)
    summary = None if way.overwrite else cross.summary()
    if summary:
        say(f"{cross.path} is finished already; --overwrite trains it again", as_json=True)
    else:
        for fold in range(folds):
            training = cross.start_or_resume(fold, overwrite=way.overwrite)
            if training.run.status == "unfinished":
                _follow_all(training, way.as_json)
                finish_fold(training)
        with progress_bar() as bar:
            bar.add_task("aggregating the folds", total=None)
            summary = cross.aggregate(report=way.report)
    show_folds(cross, summary, way.as_json)


def _recipe(recipe: str | None, preset: str | None, origin: str | None) -> str:
    if preset is None:
        return recipe or (_DEFAULT_FROM if origin else _DEFAULT)
    if recipe is not None:
        raise typer.BadParameter("give a recipe or a --preset, not both")
    if preset not in _PRESETS:
        from penstroke.errors import near_match

        raise typer.BadParameter(
            f'"{preset}" is no preset{near_match(preset, _PRESETS)}; one of {", ".join(_PRESETS)}'
        )
    return preset


def _train(training: Training, report: bool, as_json: bool) -> Run:
    run = training.run
    if run.status == "finished":
        say(f"{run.path} is finished already; --overwrite trains it again", as_json=True)
        return run
    _follow_all(training, as_json)
    with progress_bar() as bar:
        bar.add_task("exporting and judging", total=None)
        training.finish(report=report)
    return run


def _follow_all(training: Training, as_json: bool) -> None:
    for note in training.notes:
        say(f"note: {note}", as_json=True)
    run = training.run
    goes_on = f", going on after epoch {training.epochs_done}" if training.checkpoint else ""
    say(f"{run.path}: {describe(training)}{goes_on}", as_json=as_json)
    if run.record.pretrained:
        say(begins_from(run.record.pretrained), as_json=as_json)
    try:
        _follow(training, as_json)
    except KeyboardInterrupt:
        say("interrupted: the same command goes on after the last epoch shown", as_json=True)
        raise typer.Exit(130) from None


def _average(members: list[Run], config: RunConfig, report: bool) -> Run:
    from penstroke.data.loading import load_dataset
    from penstroke.runs.pipeline import make_ensemble

    with progress_bar() as bar:
        bar.add_task("averaging, exporting and judging", total=None)
        return make_ensemble(members, load_dataset(config.data), report=report)


def _follow(training: Training, as_json: bool) -> None:
    total = training.run.total_epochs
    marks_best = training.run.record.config.train.checkpoint_metric != "last"
    with progress_bar() as bar:
        task = bar.add_task("training", total=total, completed=training.epochs_done)
        for epoch in training.epochs():
            bar.advance(task)
            say(line(epoch.metrics, total, marks_best), as_json=as_json)
