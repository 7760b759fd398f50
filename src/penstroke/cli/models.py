"""`penstroke models`: the bundled models and their cards."""

from collections.abc import Sequence
from typing import Any

from penstroke.cli.console import exit_json, percent, print_table, say
from penstroke.cli.options import JSON, argument, command_group

_FEW = 20
"""Classes that are listed one by one."""

app = command_group("models", "List the bundled models, and show their model cards.")


@app.command("list")
def list_command(as_json: bool = JSON) -> None:
    """List the bundled models."""
    from penstroke.inference.bundled import bundled_names
    from penstroke.runs.run import find_run

    runs = [find_run(name) for name in bundled_names()]
    facts: list[dict[str, Any]] = [
        {
            "name": run.name, "classes": list(run.record.data.classes),
            "dataset": run.record.config.source, "test_accuracy": run.summary().test_accuracy,
            "size_bytes": run.model_path.stat().st_size, "path": str(run.path),
        }
        for run in runs
    ]  # fmt: skip
    exit_json({"models": facts})
    rows = [
        (one["name"], span(one["classes"]), one["dataset"], percent(one["test_accuracy"]),
         f"{one['size_bytes'] / 1000:.0f} kB")
        for one in facts
    ]  # fmt: skip
    print_table(("model", "classes", "trained on", "test accuracy", "size"), rows, "34")
    say("\nnext: penstroke predict IMAGE --model NAME     (a character; `numbers` reads lines)")


def span(classes: Sequence[str]) -> str:
    """Return the classes in short: each of a few, else the first, the last and how many."""
    named = [name for name in classes if name]  # CTC's blank has no name
    if len(named) <= _FEW and len("".join(named)) == len(named):
        return "".join(named)
    return f"{named[0]} … {named[-1]} ({len(named)})"


@app.command("show")
def show_command(
    name: str = argument("Name of a bundled model.", metavar="MODEL"), as_json: bool = JSON
) -> None:
    """Show the model card: data, accuracy, what is rejected, limitations."""
    from penstroke.errors import RunError, near_match
    from penstroke.inference.bundled import bundled_names, bundled_run
    from penstroke.runs.run import Run

    folder, names = bundled_run(name), bundled_names()
    if folder is None:
        raise RunError(
            f'there is no bundled model "{name}"{near_match(name, names)}; there is '
            f"{', '.join(names)}"
        )
    run = Run.open(folder)
    card = (folder / "card.md").read_text(encoding="utf-8")
    exit_json({"name": name, "path": str(folder), "record": run.record, "summary": run.summary(),
               "card": card})  # fmt: skip
    say(card)
