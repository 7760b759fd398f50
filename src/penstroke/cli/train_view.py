"""What `penstroke train` shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstroke.cli.console import percent, print_json, print_table, program, say

if TYPE_CHECKING:
    from penstroke.config.settings import RunConfig
    from penstroke.runs.pipeline import Prepared
    from penstroke.runs.run import StartFacts

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


def describe(prepared: Prepared) -> str:
    """Return what is about to be trained, and how."""
    record = prepared.run.record
    resolved = record.resolved
    return (
        f"{record.config.model.architecture} on {len(prepared.data.train):,} images of "
        f"{prepared.data.name}, {resolved.precision} on {resolved.device}"
        + (f", {resolved.threads} threads" if resolved.device == "cpu" else "")
    )


def begins_from(start: StartFacts) -> str:
    """Return what a fine-tuned network begins with."""
    count = len(start.known) + len(start.new)
    new = f"; new are {' '.join(start.new)}" if start.new else ""
    return (
        f"begins with the network of {start.run} ({start.sha256[:12]}…): every layer, and of the "
        f"last one {len(start.known)} of {count} classes{new}"
    )


def show_figures(figures: dict[str, Any], as_json: bool) -> None:
    """Show how a run ended, and the next command to try."""
    if as_json:
        print_json(figures)
        return
    say("")
    if "val_accuracy" in figures:
        kept = f"(epoch {figures['best_epoch']}, the one kept)" if "best_epoch" in figures else ""
        say(f"validation accuracy  {percent(figures['val_accuracy'])}  {kept}")
    rest = f"loss {figures['test_loss']:.4f}  macro F1 {figures['test_f1']:.4f}"
    say(f"test accuracy        {percent(figures['test_accuracy'])}  {rest}")
    if figures.get("old_images"):
        before, after = (percent(figures[f"old_accuracy_{when}"]) for when in ("before", "after"))
        say(f"on the old data      {before} before, {after} now: {figures['old_images']:,} "
            f"validation images of {figures['old_dataset']}")  # fmt: skip
    elif "source" in figures:
        say(f"on the old data      not measured: {figures['old_reason']}")
    if "verdict" in figures:
        why = "" if figures["verdict"] == "good fit" else "; the report says why, and what to try"
        say(f"learning curves      {figures['verdict']}{why}")
    say(f"trained in           {figures['elapsed_seconds']:.1f} s")
    say(f"model                {figures['model']}")
    if "report" in figures:
        say(f"report               {figures['report']}")
    image = _EXAMPLE if Path(_EXAMPLE).exists() else "IMAGE.png"
    say(f"\nnext: {program()} predict {figures['run']} {image}")


def show_spread(several: list[dict[str, Any]], as_json: bool) -> None:
    """Show mean and spread over seeds."""
    from dataclasses import asdict

    from penstroke.evaluation.seed_variation import spread

    names = [f"test_{name}" for name in ("accuracy", "loss", "auroc", "f1")]
    names = ["val_accuracy", *names, "elapsed_seconds"]
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


def show_folds(figures: dict[str, Any], as_json: bool) -> None:
    """Show what a cross-validation came to, and the command that makes the network to use."""
    if as_json:
        print_json(figures)
        return
    say("")
    rows = [(f"fold {k}", percent(one)) for k, one in enumerate(figures["fold_accuracies"])]
    low, high = figures["intervals"]["accuracy"]
    rows += [
        ("mean ± sd", f"{percent(figures['fold_mean'])} ± {percent(figures['fold_sd'])}"),
        ("all images", percent(figures["accuracy"])),
    ]
    print_table(("", "accuracy"), rows)
    say(f"\n{figures['images']:,} images, each judged by a network that never saw it: "
        f"{100 * low:.2f} to {100 * high:.2f} % (95 %), balanced accuracy "
        f"{percent(figures['balanced_accuracy'])}, macro F1 {figures['f1']:.4f}")  # fmt: skip
    say(f"trained in  {figures['elapsed_seconds']:.1f} s")
    if "report" in figures:
        say(f"report      {figures['report']}")
    if figures["test_images"]:
        say("\nnext: the same command without --folds trains the network to use")
    else:
        say(f"\nnext: give {figures['dataset']} a few test images; then the same command without "
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
    print_table(("recipe", "data set", "search", "what it is", "repeats"), rows)
    say("\nnext: penstroke train NAME, or penstroke tune NAME where a search is named")


def show_plan(config: RunConfig, as_json: bool) -> None:
    """Show layers, costs and settings of a run that is not trained."""
    from penstroke.data.loading import load_dataset
    from penstroke.models.build import build_network
    from penstroke.models.summary import summarize
    from penstroke.training.batches import settle

    data = load_dataset(config.data)
    network = build_network(config.model, num_classes=len(data.classes), mean=0.0, std=1.0)
    summary = summarize(network)
    epochs = settle(config.train, data).epochs
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
