"""`penstroke corrections`: images that people labelled on the page or over HTTP."""

import typer

from penstroke.cli.console import exit_json, print_table, say
from penstroke.cli.options import JSON, argument, command_group, option
from penstroke.errors import DataError

app = command_group("corrections", "List and remove corrections: the data set `collected`.")


@app.command("list")
def list_command(
    label: str | None = option("Those of one label."), as_json: bool = JSON
) -> None:  # fmt: skip
    """List the corrections, oldest first."""
    from penstroke.data import collected

    found = {
        name: image
        for name, image in collected.read(collected.names()).items()
        if label in (None, image.label)
    }
    facts = [
        {"id": name, "label": image.label, "created": image.created,
         "split": collected.split_of(name), "answer": image.answer and image.answer.to_dict()}
        for name, image in found.items()
    ]  # fmt: skip
    exit_json({"path": str(collected.folder()), "corrections": facts})
    rows = [
        (name, image.label, image.answer.label or "–" if image.answer else "–",
         collected.split_of(name), image.created)
        for name, image in found.items()
    ]  # fmt: skip
    print_table(("id", "label", "answer", "split", "created"), rows)
    say(f"\n{len(rows):,} corrections in {collected.folder()}")


@app.command("rm")
def remove_command(
    ids: list[str] = argument("Corrections, by their ids.", metavar="ID…"),
    yes: bool = option("Remove without asking.", False, "--yes", "-y"),
    as_json: bool = JSON,
) -> None:
    """Remove corrections. What was trained on them stays as it is."""
    from penstroke.data import collected

    if unknown := set(ids) - set(collected.names()):
        raise DataError(
            f"there is no correction {min(unknown)} in {collected.folder()}: `penstroke "
            "corrections list` shows them"
        )
    if not yes:
        typer.confirm(f"remove {len(ids)} corrections?", abort=True, err=True)
    removed = list(filter(collected.remove, ids))
    exit_json({"removed": removed})
    say(f"removed {len(removed)} corrections")
