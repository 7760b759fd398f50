"""`penstroke train`: from a recipe to a trained, evaluated and exported network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    progress_bar,
    say,
    stem_of,
    takes,
)
from penstroke.cli.train_view import (
    describe,
    line,
    pretrained_from,
    show_figures,
    show_folds,
    show_plan,
    show_recipes,
    show_variation,
)

if TYPE_CHECKING:
    from penstroke.config.settings import RunConfig
    from penstroke.runs.finetuning import PretrainedRun
    from penstroke.runs.pipeline import Training
    from penstroke.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of `penstroke train`."""

    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Recipe: a shipped one (fast, balanced, best, …), a .toml file, or a run to "
            "repeat; balanced by default."
        ),
    ] = None
    init_from: Annotated[
        str | None, typer.Option(metavar="RUN", help="Finished run to take the first weights from.")
    ] = None
    dataset: Dataset = None
    exclude: Exclude = None
    model: Annotated[
        str | None, typer.Option(help="Kind of network in its default size: mlp, cnn or resnet.")
    ] = None
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed (initialisation, shuffling, dropout, augmentation)."),
    ] = None
    changes: Changes = None
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of runs with consecutive seeds; mean and deviation.")
    ] = 1
    ensemble: Annotated[
        int, typer.Option(min=1, help="Number of seeds averaged into one model.")
    ] = 1
    folds: Annotated[
        int | None, typer.Option(help="Number of cross-validation folds; no network to use.")
    ] = None
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None
    overwrite: Overwrite = False
    report: Report = True
    list_recipes: Annotated[bool, typer.Option("--list", help="List of the recipes.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Settings and network, without training.")
    ] = False
    as_json: Json = False

    @property
    def chosen_recipe(self) -> str:
        """The recipe to train."""
        return self.recipe or ("finetune" if self.init_from else "balanced")

    def settings(self) -> dict[str, Any]:
        """Return the settings that differ from the recipe's, by their dotted names."""
        return changes_from(self.changes, {
            "model": {"architecture": self.model} if self.model else None,
            "data.dataset": self.dataset, "data.exclude": excluded_images(self.exclude),
            "train.epochs": self.epochs,
            "train.min_steps": None if self.epochs is None else 0,  # exactly that many epochs
            "train.batch_size": self.batch_size, "train.learning_rate": self.lr,
            "train.seed": self.seed,
        })  # fmt: skip


@takes(TrainOptions)
def command(options: TrainOptions) -> None:
    """Train a network, evaluate it, and export it as one ONNX file.

    The same command resumes a run that was interrupted, and returns at once if it is finished.
    """
    if options.list_recipes:
        show_recipes(options.as_json)
        return
    pretrained = _pretrained(options)
    config = _config(options, pretrained)
    if options.dry_run:
        show_plan(config, options.as_json)
    elif options.folds is not None:
        _refuse_both(options.seeds > 1 or options.ensemble > 1, "--folds, or --seeds or --ensemble")
        _cross_validate(config, options.folds, options, pretrained)
    elif options.seeds == options.ensemble == 1:
        show_figures(_train(config, options, pretrained, options.name), options.as_json)
    elif options.ensemble == 1:
        runs = [_train(one, options, pretrained) for one in config.seeds(options.seeds)]
        show_variation(runs, options.as_json)
    else:
        configs = config.seeds(max(options.seeds, options.ensemble))
        members = [_train(one, replace(options, report=False), pretrained) for one in configs]
        show_figures(_average(members[: options.ensemble], config, options), options.as_json)


def _config(options: TrainOptions, pretrained: PretrainedRun | None) -> RunConfig:
    from penstroke.config.recipes import load_recipe

    settings = options.settings()
    config = load_recipe(options.chosen_recipe, settings).run_config()
    if pretrained is None:
        return config
    sets_model = any(name.partition(".")[0] == "model" for name in settings)
    _refuse_both(sets_model, "--init-from, which brings its network, or --model or --set model.…")
    return pretrained.applied_to(config)


def _refuse_both(both: bool, what: str) -> None:
    if both:
        raise typer.BadParameter(f"give {what}, not both")


def _pretrained(options: TrainOptions) -> PretrainedRun | None:
    """Return the run to start from: the one named, or that of the run to repeat."""
    if options.init_from is not None:
        from penstroke.runs.finetuning import find_pretrained

        return find_pretrained(options.init_from)
    if options.recipe is None or not (Path(options.recipe) / "run.toml").exists():
        return None
    from penstroke.runs.finetuning import pretrained_of
    from penstroke.runs.run import Run

    return pretrained_of(Run.open(Path(options.recipe)))


def _train(
    config: RunConfig,
    options: TrainOptions,
    pretrained: PretrainedRun | None,
    name: str | None = None,
) -> Run:
    from penstroke.files import runs_root
    from penstroke.runs.pipeline import start_or_resume

    training = start_or_resume(
        config, stem=options.name or stem_of(options.chosen_recipe),
        path=runs_root() / name if name else None,
        overwrite=options.overwrite, pretrained=pretrained,
    )  # fmt: skip
    run = training.run
    if run.status == "finished":
        say(f"{run.path} is already finished; --overwrite trains it again", as_json=True)
        return run
    _follow(training, options.as_json)
    with progress_bar() as bar:
        bar.add_task("exporting and evaluating", total=None)
        training.finish(report=options.report)
    return run


def _average(members: list[Run], config: RunConfig, options: TrainOptions) -> Run:
    from penstroke.data.loading import load_dataset
    from penstroke.runs.pipeline import make_ensemble

    with progress_bar() as bar:
        bar.add_task("averaging, exporting and evaluating", total=None)
        return make_ensemble(members, load_dataset(config.data), report=options.report)


def _cross_validate(
    config: RunConfig, folds: int, options: TrainOptions, pretrained: PretrainedRun | None
) -> None:
    from penstroke.runs.cross_validation import cross_validation, finish_fold

    stem = options.name or stem_of(options.chosen_recipe)
    cross = cross_validation(config, folds, stem=stem, name=options.name, pretrained=pretrained)
    summary = None if options.overwrite else cross.summary()
    if summary:
        say(f"{cross.path} is already finished; --overwrite trains it again", as_json=True)
    else:
        for fold in range(folds):
            training = cross.start_or_resume(fold, overwrite=options.overwrite)
            if training.run.status == "unfinished":
                _follow(training, options.as_json)
                finish_fold(training)
        with progress_bar() as bar:
            bar.add_task("aggregating the folds", total=None)
            summary = cross.aggregate(report=options.report)
    show_folds(cross, summary, options.as_json)


def _follow(training: Training, as_json: bool) -> None:
    """Train, printing each epoch."""
    for note in training.notes:
        say(f"note: {note}", as_json=True)
    run, total = training.run, training.run.total_epochs
    resumed = f", resuming after epoch {training.epochs_done}" if training.checkpoint else ""
    say(f"{run.path}: {describe(training)}{resumed}", as_json=as_json)
    if run.record.pretrained:
        say(pretrained_from(run.record.pretrained), as_json=as_json)
    marks_best = run.record.config.train.checkpoint_metric != "last"
    try:
        with progress_bar() as bar:
            task = bar.add_task("training", total=total, completed=training.epochs_done)
            for epoch in training.epochs():
                bar.advance(task)
                say(line(epoch.metrics, total, marks_best), as_json=as_json)
    except KeyboardInterrupt:
        say("interrupted: the same command goes on after the last epoch shown", as_json=True)
        raise typer.Exit(130) from None
