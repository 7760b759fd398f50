"""`penstroke data audit`: what is wrong with a data set."""

from pathlib import Path

from penstroke.cli.console import exit_json, percent, print_table, program, progress_bar, say
from penstroke.cli.options import DATASET_NAME, JSON, option


def command(
    name: str = DATASET_NAME,
    against: str | None = option(
        "Second data set, to find its images in this one.", metavar="NAME"),
    folds: int = option("Number of networks; each reads what the others train on.", 4),
    seed: int = option("Random seed of the folds and networks.", 0, min=0),
    limit: int | None = option("Number of training images to audit; all by default.", min=1),
    output: Path | None = option("Folder for the report and the list."),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Find doubtful labels, duplicates, leaks into the test split, and defective images.

    Writes a report, and a list of training images for `penstroke train --exclude`: a label is on
    it only if it is more likely wrong than right, given how good the networks are.
    """
    from penstroke.files import cache_root
    from penstroke.quality.audit_images import AuditImages
    from penstroke.quality.data_audit import audit
    from penstroke.quality.exclusion import write_list
    from penstroke.reports.audit_report import write_audit_report

    images = AuditImages.load(name, limit, seed)
    other = AuditImages.load(against) if against else None
    with progress_bar("", total=1.0) as update:
        result = audit(
            images, other, folds=folds, seed=seed,
            on_progress=lambda what, share: update(description=what, completed=share),
        )  # fmt: skip
    folder = output or cache_root() / "audits" / name
    page, exclude = folder / "index.html", folder / "exclude.txt"
    write_audit_report(result, page)
    write_list(result, exclude)
    exit_json({**result.to_dict(), "report": str(page), "exclude": str(exclude)})
    rows = [
        (count.kind, f"{count.train:,}", f"{count.test:,}", f"{count.excluded:,}", count.reason)
        for count in result.counts()
    ]
    print_table(("finding", "training", "test", "excluded", ""), rows, "123")
    train, test = percent(result.train_accuracy), percent(result.test_accuracy)
    say(f"\npredicted correctly by networks that never saw them: {train} of training, "
        f"{test} of test")  # fmt: skip
    if conflicts := len(result.conflicts()):
        say(f"copies with two labels: {conflicts:,} pairs")
    excluded = len(result.excluded_positions())
    say(f"\nreport   {page}\nexclude  {exclude} ({excluded:,} training images)")
    list_option = f" --exclude {exclude}" if excluded else ""
    say(f"\nnext: {program()} train --dataset {name}{list_option}")
