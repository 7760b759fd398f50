"""What `penstroke train` shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstroke.cli.console import percent, print_json, print_table, program, say

if TYPE_CHECKING:
    from penstroke.config.settings import RunConfig
    from penstroke.runs.cross_validation import CrossValidation
    from penstroke.runs.pipeline import Training
    from penstroke.runs.run import PretrainedFacts, Run
    from penstroke.runs.summaries import FoldsSummary

_EXAMPLE = "examples/seven.png"  # there in a clone: the first command to try should work


def line(metrics: dict[str, Any], total: int, marks_best: bool) -> str:
    """Return one epoch as a line, with a star where it is the best so far."""
    words = [f"epoch {metrics['epoch']:>{len(str(total))}}/{total}"]
    for split in ("train", "val"):
        if f"{split}_loss" in metrics:
            loss, accuracy = metrics[f"{split}_loss"], metrics[f"{split}_accuracy"]
            words.append(f"{split} loss {loss:.4f} accuracy {percent(accuracy)}")
    words.append(f"{metrics['elapsed_seconds']:.1f} s")
    is_best = metrics["best_epoch"] == metrics["epoch"]
    return "  ".join(words) + (" *" if marks_best and is_best else "")


def describe(training: Training) -> str:
    """Return what is about to be trained, and how."""
    record = training.run.record
    resolved = record.resolved
    return (
        f"{record.config.model.architecture} on {len(training.data.train):,} images of "
        f"{training.data.name}, {resolved.precision} on {resolved.device}"
        + (f", {resolved.threads} threads" if resolved.device == "cpu" else "")
    )


def pretrained_from(pretrained: PretrainedFacts) -> str:
    """Return what a fine-tuned network starts from."""
    known, new = pretrained.known_classes, pretrained.new_classes
    return (
        f"starts from the network of {pretrained.run} ({pretrained.sha256[:12]}…): every layer, "
        f"and of the last one {len(known)} of {len(known) + len(new)} classes"
        + (f"; new are {' '.join(new)}" if new else "")
    )


def show_figures(run: Run, as_json: bool) -> None:
    """Show the figures of a finished run, and the next command to try."""
    values = run.to_dict()
    if as_json:
        print_json(values)
        return
    summary = run.summary()
    say("")
    if summary.val_accuracy is not None:
        kept = f"(epoch {summary.best_epoch}, the one kept)" if summary.best_epoch else ""
        say(f"validation accuracy  {percent(summary.val_accuracy)}  {kept}")
    rest = f"loss {summary.test_loss:.4f}  macro F1 {summary.test_f1:.4f}"
    say(f"test accuracy        {percent(summary.test_accuracy)}  {rest}")
    if summary.old_images:
        say(f"on the old data      {percent(summary.old_accuracy_before)} before, "
            f"{percent(summary.old_accuracy_after)} now: {summary.old_images:,} validation images "
            f"of {summary.old_dataset}")  # fmt: skip
    elif summary.source:
        say(f"on the old data      not measured: {summary.old_reason}")
    if summary.diagnosis:
        why = "" if summary.diagnosis == "good fit" else "; the report says why, and what to try"
        say(f"learning curves      {summary.diagnosis}{why}")
    say(f"trained in           {summary.elapsed_seconds:.1f} s")
    say(f"model                {values['model']}")
    if "report" in values:
        say(f"report               {values['report']}")
    image = _EXAMPLE if Path(_EXAMPLE).exists() else "IMAGE.png"
    say(f"\nnext: {program()} predict {image} --model {run.path}")


def show_variation(several: list[Run], as_json: bool) -> None:
    """Show mean and standard deviation over seeds."""
    from penstroke.evaluation.seed_variation import seed_variation

    names = [f"test_{name}" for name in ("accuracy", "loss", "auroc", "f1")]
    figures = [run.summary().to_dict() for run in several]
    found = {
        name: seed_variation([one[name] for one in figures])
        for name in ["val_accuracy", *names, "elapsed_seconds"]
        if name in figures[0]
    }
    if as_json:
        runs = [str(run.path) for run in several]
        print_json({"runs": runs, **found})
        return
    say("")
    rows = [
        (name, f"{one.mean:.5f}", f"{one.sd:.5f}", f"{one.low:.5f} – {one.high:.5f}")
        for name, one in found.items()
    ]
    print_table(
        (f"over {len(several)} seeds", "mean", "sd", "95 % interval of the mean"), rows, "123"
    )


def show_folds(cross: CrossValidation, summary: FoldsSummary, as_json: bool) -> None:
    """Show the figures of a cross-validation, and the command that trains the network to use."""
    page = {"report": str(cross.report_path)} if cross.report_path.exists() else {}
    if as_json:
        print_json({"run": str(cross.path), **summary.to_dict(), **page})
        return
    say("")
    rows = [(f"fold {k}", percent(one)) for k, one in enumerate(summary.fold_accuracies)]
    low, high = summary.intervals["accuracy"]
    rows += [
        ("mean ± sd", f"{percent(summary.fold_mean)} ± {percent(summary.fold_sd)}"),
        ("all images", percent(summary.accuracy)),
    ]
    print_table(("", "accuracy"), rows)
    say(f"\n{summary.images:,} images, each judged by a network that never saw it: "
        f"{100 * low:.2f} to {100 * high:.2f} % (95 %), balanced accuracy "
        f"{percent(summary.balanced_accuracy)}, macro F1 {summary.f1:.4f}")  # fmt: skip
    say(f"trained in  {summary.elapsed_seconds:.1f} s")
    if page:
        say(f"report      {page['report']}")
    if summary.test_images:
        say("\nnext: the same command without --folds trains the network to use")
    else:
        say(f"\nnext: give {summary.dataset} a few test images; then the same command without "
            "--folds trains the network to use")  # fmt: skip


def show_recipes(as_json: bool) -> None:
    """List the shipped recipes."""
    from penstroke.config.recipes import load_recipe, shipped_recipes

    recipes = {name: load_recipe(name) for name in shipped_recipes()}
    if as_json:
        print_json({"recipes": {name: recipe.to_dict() for name, recipe in recipes.items()}})
        return
    rows = [
        (name, r.data.dataset, r.search.method if r.search else "", r.title, r.reference)
        for name, r in recipes.items()
    ]
    print_table(("recipe", "data set", "search", "title", "reference"), rows)
    say("\nnext: penstroke train NAME, or penstroke tune NAME for a recipe with a search")


def show_plan(config: RunConfig, as_json: bool) -> None:
    """Show layers, costs and settings of a run that is not trained."""
    from penstroke.data.loading import load_dataset
    from penstroke.models.build import build_network
    from penstroke.models.summary import summarize

    data = load_dataset(config.data)
    network = build_network(config.model, num_classes=len(data.classes), mean=0.0, std=1.0)
    summary = summarize(network)
    epochs = config.train.epochs_for(len(data.train))
    seen = len(data.train) * epochs
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
    say(f"\n{config.to_toml()}\n{seen:,} images to be seen in {epochs} epochs")
