"""`penstroke train`: from a recipe to a trained, evaluated and exported network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from penstroke.cli import options as shared
from penstroke.cli.console import exit_json, note, percent, print_table, program, progress_bar, say
from penstroke.cli.options import argument, changes_from, option, stem_of, takes

if TYPE_CHECKING:
    from penstroke.config.settings import RunConfig
    from penstroke.runs.finetuning import PretrainedRun
    from penstroke.runs.pipeline import Training
    from penstroke.runs.run import Run

_SUMMARY_WIDTH = 128
"""Pixels of the strip whose layers a plan shows."""
FINETUNE, FINETUNE_LINES = "finetune", "finetune-lines"
"""The recipes that need a trained network to start from."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of `penstroke train`."""

    recipe: str | None = argument(
        "Recipe: a shipped one (fast, balanced, best, …), a .toml file, or a run to repeat; "
        "balanced by default.", None)  # fmt: skip
    init_from: str | None = option(
        "Bundled model or finished run to take the first weights from; the recipe finetune takes "
        "the bundled model with the most of the classes unless one is named.",
        metavar="MODEL|RUN",
    )
    dataset: str | None = shared.DATASET
    exclude: Path | None = shared.EXCLUDE
    texts: Path | None = shared.TEXTS
    model: str | None = option("Kind of network in its default size: mlp, cnn, resnet or crnn.")
    epochs: int | None = option("Passes over the training images.")
    batch_size: int | None = option("Images per step.")
    lr: float | None = option("Learning rate.")
    seed: int | None = option("Random seed (initialisation, shuffling, dropout, augmentation).")
    changes: list[str] | None = shared.SET
    seeds: int = option("Number of runs with consecutive seeds; mean and deviation.", 1, min=1)
    ensemble: int = option("Number of seeds averaged into one model.", 1, min=1)
    folds: int | None = option("Number of cross-validation folds; no network to use.")
    name: str | None = option("Name of the run.")
    overwrite: bool = shared.OVERWRITE
    report: bool = shared.REPORT
    list_recipes: bool = option("List of the recipes.", False, "--list")
    dry_run: bool = option("Settings and network, without training.", False, "--dry-run")
    as_json: bool = shared.JSON

    @property
    def chosen_recipe(self) -> str:
        """The recipe to train."""
        if self.recipe or not self.init_from:
            return self.recipe or "balanced"
        from penstroke.runs.finetuning import find_pretrained

        pretrained = find_pretrained(self.init_from)
        return FINETUNE_LINES if pretrained.run.record.config.reads_lines else FINETUNE


@takes(TrainOptions)
def command(options: TrainOptions) -> None:
    """Train a network, evaluate it, and export it as one ONNX file.

    The same command resumes a run that was interrupted, and returns at once if it is finished.
    """
    if options.list_recipes:
        _show_recipes()
        return
    config, pretrained = _config(options)
    if options.dry_run:
        _show_plan(config)
    elif options.folds is not None:
        if options.seeds > 1 or options.ensemble > 1:
            raise typer.BadParameter("give --folds, or --seeds or --ensemble, not both")
        _cross_validate(config, options.folds, options, pretrained)
    elif config.reads_lines and options.ensemble > 1:
        raise typer.BadParameter(
            "--ensemble is for recognisers of single characters: line readers write a character "
            "in different columns, so that their outputs cannot be averaged; use --seeds"
        )
    else:
        configs = config.seeds(max(options.seeds, options.ensemble))
        runs = [_train(one, options, pretrained) for one in configs]
        if options.ensemble > 1:
            from penstroke.data.loading import load_dataset
            from penstroke.runs.pipeline import make_ensemble

            with progress_bar("averaging, exporting and evaluating"):
                members, data = runs[: options.ensemble], load_dataset(config.data)
                runs = [make_ensemble(members, data, report=options.report)]
        if len(runs) == 1:
            _show_figures(runs[0])
        else:
            _show_variation(runs)


def _config(options: TrainOptions) -> tuple[RunConfig, PretrainedRun | None]:
    """Return the settings, and the run to start from."""
    from penstroke.config.recipes import load_recipe

    settings = changes_from(options.changes, {
        "model": {"architecture": options.model} if options.model else None,
        "data.dataset": options.dataset, "data.exclude": options.exclude,
        "synthesis.texts": options.texts, "train.epochs": options.epochs,
        "train.batch_size": options.batch_size, "train.learning_rate": options.lr,
        "train.seed": options.seed,
    })  # fmt: skip
    config = load_recipe(options.chosen_recipe, settings).run_config()
    pretrained = _pretrained(options, config)
    if pretrained is None:
        return config, None
    if pretrained.run.record.config.reads_lines != config.reads_lines:
        kinds = ("single characters", "lines")
        raise typer.BadParameter(
            f"{pretrained.run.name} reads {kinds[not config.reads_lines]}, but the recipe "
            f"{options.chosen_recipe} is for {kinds[config.reads_lines]}"
        )
    if any(name.partition(".")[0] == "model" for name in settings):
        raise typer.BadParameter(
            "fine-tuning brings its network with it: leave --model and --set model.… out, or "
            "train by another recipe without --init-from"
        )
    return config.replace({"model": pretrained.run.record.config.model}), pretrained


def _pretrained(options: TrainOptions, config: RunConfig) -> PretrainedRun | None:
    """Return the run to start from: one named, that of a repeated run, or a bundled one."""
    if options.init_from is not None:
        from penstroke.runs.finetuning import find_pretrained

        return find_pretrained(options.init_from)
    if options.recipe is not None and (Path(options.recipe) / "run.toml").exists():
        from penstroke.runs.finetuning import pretrained_of
        from penstroke.runs.run import Run

        return pretrained_of(Run.open(Path(options.recipe)))
    if options.recipe == FINETUNE:
        from penstroke.data.loading import load_dataset
        from penstroke.runs.finetuning import default_pretrained

        return default_pretrained(load_dataset(config.data).classes)
    return None


def _train(config: RunConfig, options: TrainOptions, pretrained: PretrainedRun | None) -> Run:
    from penstroke.runs.pipeline import start_or_resume
    from penstroke.runs.record import folder_path

    is_single = options.seeds == options.ensemble == 1
    named = folder_path(options.name) if options.name is not None else None
    training = start_or_resume(
        config, stem=options.name or stem_of(options.chosen_recipe),
        path=named if is_single else None,
        overwrite=options.overwrite, pretrained=pretrained,
    )  # fmt: skip
    if training.run.status == "finished":
        note(f"{training.run.path} is already finished; --overwrite trains it again")
        return training.run
    follow(training)
    with progress_bar("exporting and evaluating"):
        training.finish(report=options.report and options.ensemble == 1)
    return training.run


def follow(training: Training) -> None:
    """Train, printing a line for each epoch."""
    for text in training.notes:
        note(f"note: {text}")
    record, total = training.run.record, training.run.total_epochs
    done = training.epochs_done
    resolved = record.resolved
    cores = f", {_threads(resolved.threads)}" if resolved.device == "cpu" else ""
    resumed = f", resuming after epoch {done}" if training.checkpoint else ""
    say(f"{training.run.path}: {record.config.model.architecture} on {_amount(training)}, "
        f"{resolved.precision} on {resolved.device}"
        f"{cores}{resumed}")  # fmt: skip
    if pretrained := record.pretrained:
        known, new = pretrained.known_classes, pretrained.new_classes
        say(f"starts from the network of {pretrained.run} ({pretrained.sha256[:12]}…): every "
            f"layer, and of the last one {len(known)} of {len(known) + len(new)} classes"
            + (f"; new are {' '.join(new)}" if new else ""))  # fmt: skip
    marks_best = record.config.train.checkpoint_metric != "last"
    hint = "interrupted: the same command resumes after the last epoch shown"
    measured, threads = resolved.threads == 0, 0
    with progress_bar("training", total=total, completed=done, hint=hint) as update:
        for epoch in training.epochs():
            update(advance=1)
            before, threads = threads, epoch.metrics["threads"]
            changed = f"  {_threads(threads)}" if measured and threads != before else ""
            say(_epoch_line(epoch.metrics, total, marks_best) + changed)


def _threads(count: int | tuple[int, ...]) -> str:
    """Return a number of threads in words; 0 are measured."""
    from penstroke.machine import allowed_threads

    if isinstance(count, tuple):
        return f"{', '.join(map(str, count))} threads"
    return f"{count or f'1 or {allowed_threads()}'} thread{'' if count == 1 else 's'}"


def _amount(training: Training) -> str:
    """Return what is trained on, in words."""
    config, count = training.run.record.config, len(training.data.train)
    kind = "lines" if config.reads_lines else "images"
    parts = [f"{count:,} {kind} of {training.data.name}"] if count else []
    if synthesis := config.synthesis:
        share = f" ({synthesis.share:.0%} of each batch)" if count else ""
        parts.append(f"lines composed of {synthesis.characters}{share}")
        return f"{' and '.join(parts)}, {synthesis.lines_per_epoch:,} an epoch"
    return parts[0]


def _epoch_line(metrics: dict[str, Any], total: int, marks_best: bool) -> str:
    """Return one epoch as a line, with a star where it is the best so far."""
    words = [f"epoch {metrics['epoch']:>{len(str(total))}}/{total}"]
    for split in ("train", "val"):
        if f"{split}_loss" in metrics:
            loss, accuracy = metrics[f"{split}_loss"], metrics[f"{split}_accuracy"]
            words.append(f"{split} loss {loss:.4f} accuracy {percent(accuracy)}")
    if (error_rate := metrics.get("val_character_error_rate")) is not None:
        words.append(f"character errors {percent(error_rate)}")
    words.append(f"{metrics['elapsed_seconds']:.1f} s")
    is_best = metrics["best_epoch"] == metrics["epoch"]
    return "  ".join(words) + (" *" if marks_best and is_best else "")


def _show_figures(run: Run) -> None:
    values, summary = run.to_dict(), run.summary()
    exit_json(values)
    say("")
    if summary.val_accuracy is not None:
        kept = f"(epoch {summary.best_epoch}, the one kept)" if summary.best_epoch else ""
        say(f"validation accuracy  {percent(summary.val_accuracy)}  {kept}")
    more = f"macro F1 {summary.test_f1:.4f}" if summary.test_f1 is not None else ""
    if (error_rate := summary.test_character_error_rate) is not None:
        more = f"character errors {percent(error_rate)}"
    say(f"test accuracy        {percent(summary.test_accuracy)}  loss {summary.test_loss:.4f}  "
        f"{more}")  # fmt: skip
    if summary.source_images:
        say(f"on the old data      {percent(summary.source_accuracy_before)} before, "
            f"{percent(summary.source_accuracy_after)} now: {summary.source_images:,} "
            f"validation images of {summary.source_dataset}")  # fmt: skip
    elif summary.source:
        say(f"on the old data      not measured: {summary.source_reason}")
    if summary.temperature_note:
        say(f"calibration          {summary.temperature_note}")
    if summary.diagnosis:
        why = "" if summary.diagnosis == "good fit" else "; the report says why, and what to try"
        say(f"learning curves      {summary.diagnosis}{why}")
    say(f"trained in           {summary.elapsed_seconds:.1f} s")
    say(f"model                {values['model']}")
    if "report" in values:
        say(f"report               {values['report']}")
    example = "examples/seven.png"  # there in a clone: the first command to try should work
    image = example if Path(example).exists() else "IMAGE.png"
    command = "read" if run.record.config.reads_lines else "predict"
    say(f"\nnext: {program()} {command} {image} --model {run.path}")


def _show_variation(runs: list[Run]) -> None:
    from penstroke.evaluation.intervals import seed_variation

    figures = [run.summary().to_dict() for run in runs]
    names = ("val_accuracy", "test_accuracy", "test_loss", "test_auroc", "test_f1")
    variations = {
        name: seed_variation([one[name] for one in figures])
        for name in (*names, "elapsed_seconds")
        if name in figures[0]
    }
    exit_json({"runs": [str(run.path) for run in runs], **variations})
    say("")
    rows = [
        (name, f"{one.mean:.5f}", f"{one.sd:.5f}", f"{one.low:.5f} – {one.high:.5f}")
        for name, one in variations.items()
    ]
    print_table((f"over {len(runs)} seeds", "mean", "sd", "95 % interval of the mean"), rows, "123")


def _cross_validate(
    config: RunConfig, folds: int, options: TrainOptions, pretrained: PretrainedRun | None
) -> None:
    """Train and validate on all folds; show the figures, and how to train the network to use."""
    from penstroke.runs.cross_validation import cross_validation, finish_fold

    stem = options.name or stem_of(options.chosen_recipe)
    cross = cross_validation(config, folds, stem=stem, name=options.name, pretrained=pretrained)
    summary = None if options.overwrite else cross.summary()
    if summary:
        note(f"{cross.path} is already finished; --overwrite trains it again")
    else:
        for fold in range(folds):
            training = cross.start_or_resume(fold, overwrite=options.overwrite)
            if training.run.status == "unfinished":
                follow(training)
                finish_fold(training)
        with progress_bar("aggregating the folds"):
            summary = cross.aggregate(report=options.report)
    path = cross.path / "report" / "index.html"
    page = {"report": str(path)} if path.exists() else {}
    exit_json({"run": str(cross.path), **summary.to_dict(), **page})
    say("")
    rows = [(f"fold {k}", percent(one)) for k, one in enumerate(summary.fold_accuracies)]
    mean = f"{percent(summary.fold_mean)} ± {percent(summary.fold_sd)}"
    kind = "lines" if config.reads_lines else "images"
    rows += [("mean ± sd", mean), (f"all {kind}", percent(summary.accuracy))]
    print_table(("", "exact match" if config.reads_lines else "accuracy"), rows)
    low, high = summary.intervals["accuracy"]
    more = f"character errors {percent(summary.character_error_rate)}"
    if summary.f1 is not None:
        more = f"balanced accuracy {percent(summary.balanced_accuracy)}, macro F1 {summary.f1:.4f}"
    say(f"\n{summary.images:,} {kind}, each judged by a network that never saw it: "
        f"{100 * low:.2f} to {100 * high:.2f} % (95 %), {more}")  # fmt: skip
    if summary.new_writer_interval and summary.split_by == "writer":
        low, high = summary.new_writer_interval
        say(f"{summary.writers:,} writers, each in one fold; accuracy on new writers: "
            f"{100 * low:.2f} to {100 * high:.2f} % (95 %)")  # fmt: skip
    say(f"trained in  {summary.elapsed_seconds:.1f} s")
    if page:
        say(f"report      {page['report']}")
    first = "" if summary.test_images else f"give {summary.dataset} a few test {kind}; then "
    say(f"\nnext: {first}the same command without --folds trains the network to use")


def _show_recipes() -> None:
    from penstroke.config.recipes import load_recipe, shipped_recipes

    recipes = {name: load_recipe(name) for name in shipped_recipes()}
    exit_json({"recipes": recipes})
    rows = [
        (name, r.data.dataset, r.search.method if r.search else "", r.title, r.reference)
        for name, r in recipes.items()
    ]
    print_table(("recipe", "data set", "search", "title", "reference"), rows)
    say("\nnext: penstroke train NAME, or penstroke tune NAME for a recipe with a search")


def _show_plan(config: RunConfig) -> None:
    from penstroke.config.settings import IMAGE_SIZE
    from penstroke.data.run_data import load_data
    from penstroke.models.build import build_network
    from penstroke.models.summary import summarize
    from penstroke.preprocessing.strips import STRIP_HEIGHT

    data = load_data(config)
    network = build_network(config.model, num_classes=len(data.classes), mean=0.0, std=1.0)
    kind, size = "images", (IMAGE_SIZE, IMAGE_SIZE)
    if config.reads_lines:
        kind, size = "lines", (STRIP_HEIGHT, _SUMMARY_WIDTH)
    summary = summarize(network, size)
    amount = config.epoch_size(len(data.train))
    epochs = config.train.epochs_for(amount)
    seen = amount * epochs
    exit_json({
        "config": config, "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds, f"{kind}_seen": seen,
    })  # fmt: skip
    rows = [
        (layer.name, layer.kind, "×".join(map(str, layer.output_shape)), f"{layer.parameters:,}",
         f"{layer.multiply_adds:,}")
        for layer in summary.layers
    ]  # fmt: skip
    total = ("", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}")
    print_table(("layer", "kind", "output", "parameters", "multiply-adds"), [*rows, total], "34")
    say(f"\n{config.to_toml()}\n{seen:,} {kind} to be seen in {epochs} epochs")
