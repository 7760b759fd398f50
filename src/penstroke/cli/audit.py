"""`penstroke data audit`: what is wrong with a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstroke.cli.console import (
    DatasetName,
    Json,
    percent,
    print_json,
    print_table,
    program,
    progress_bar,
    say,
)

if TYPE_CHECKING:
    from penstroke.quality.data_audit import Audit


def command(
    name: DatasetName,
    against: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Second data set, to find its images in this one."),
    ] = None,
    folds: Annotated[
        int, typer.Option(help="Number of networks; each reads what the others train on.")
    ] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the folds and networks.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Number of training images to audit; all by default.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the report and the list.")] = None,
    as_json: Json = False,
) -> None:
    """Find doubtful labels, duplicates, leaks into the test split, and defective images.

    Writes a report, and a list of training images for `penstroke train --exclude`.
    """
    from penstroke.files import cache_root
    from penstroke.quality.exclusion import write_list
    from penstroke.reports.audit_report import write_audit_report

    found = _audit(name, against, folds, seed, limit)
    folder = output or cache_root() / "audits" / name
    page, exclude = folder / "index.html", folder / "exclude.txt"
    write_audit_report(found, page)
    write_list(found, exclude)
    if as_json:
        print_json({**found.to_dict(), "report": str(page), "exclude": str(exclude)})
        return
    _show(found)
    excluded = len(found.excluded_positions())
    say(f"\nreport   {page}\nexclude  {exclude} ({excluded:,} training images)")
    say(f"\nnext: {program()} train --dataset {name} --exclude {exclude}")


def _audit(name: str, against: str | None, folds: int, seed: int, limit: int | None) -> Audit:
    from penstroke.quality.audit_images import AuditImages
    from penstroke.quality.data_audit import audit

    images = AuditImages.load(name, limit, seed)
    other = AuditImages.load(against) if against else None
    with progress_bar() as bar:
        task = bar.add_task("", total=1.0)

        def watch(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        return audit(images, other, folds=folds, seed=seed, on_progress=watch)


def _show(found: Audit) -> None:
    rows = [
        (count.kind, f"{count.train:,}", f"{count.test:,}", f"{count.excluded:,}", count.reason)
        for count in found.counts()
    ]
    print_table(("finding", "training", "test", "excluded", ""), rows, "123")
    train, test = found.train_accuracy, found.test_accuracy
    say(f"\npredicted correctly by networks that never saw them: {percent(train)} of training, "
        f"{percent(test)} of test")  # fmt: skip
    if conflicts := len(found.conflicts()):
        say(f"copies with two labels: {conflicts:,} pairs")
