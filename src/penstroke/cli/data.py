"""`penstroke data`: the data sets."""

from pathlib import Path

from penstroke.cli import audit
from penstroke.cli import data_import as importing
from penstroke.cli.console import exit_json, print_table, progress_bar, say
from penstroke.cli.options import DATASET_NAME, JSON, argument, command_group, option
from penstroke.files import cache_root, data_root, write_atomically

app = command_group("data", "List, show, download, import and audit data sets.")
app.command("import")(importing.command)
app.command("audit")(audit.command)


@app.command("list")
def list_command(as_json: bool = JSON) -> None:
    """List the data sets: those of the catalogue, imported ones, and collected corrections.

    Data sets can be combined, as in mnist+collected.
    """
    from penstroke.data import collected
    from penstroke.data.catalogue import catalogue
    from penstroke.data.loading import imported_folder, imported_names
    from penstroke.data.store import load_index

    rows = []
    for name, manifest in catalogue().items():
        present = all((data_root() / name / f.name).exists() for f in manifest.files)
        where = "comes with it" if not manifest.files else "here" if present else "to download"
        rows.append((name, len(manifest.classes), where, manifest.title))
    for name in imported_names():
        index = load_index(imported_folder(name))
        rows.append((name, len(index.classes), "imported", index.title))
    if labels := collected.labels():
        where = f"{len(labels)} images"
        rows.append((collected.NAME, len(set(labels.values())), where, collected.TITLE))
    keys = ("name", "classes", "where", "title")
    exit_json({"datasets": [dict(zip(keys, row, strict=True)) for row in rows]})
    print_table(("name", "classes", "where", "what it is"), rows, "1")
    say(f"\ndata folder: {data_root()} (PENSTROKE_DATA)")


@app.command("show")
def show_command(
    name: str = DATASET_NAME,
    sheet: Path | None = option("Where to write the contact sheet (PNG).", metavar="FILE"),
    as_json: bool = JSON,
) -> None:
    """Show the size of each class, and write a contact sheet of training images."""
    from penstroke.config.settings import DataConfig
    from penstroke.data.loading import load_dataset
    from penstroke.reports.contact_sheet import contact_sheet

    splits = load_dataset(DataConfig(dataset=name, validation_fraction=0))
    mean, std = splits.train.mean_and_std
    path = sheet or cache_root() / "sheets" / f"{name}.png"
    write_atomically(path, contact_sheet(splits.train))
    counts = {
        split: [int(n) for n in dataset.class_counts()]
        for split, dataset in (("train", splits.train), ("test", splits.test))
    }
    exit_json({
        "name": name, "classes": splits.classes, "train_writers": splits.train.writer_count,
        "images": {split: sum(by_class) for split, by_class in counts.items()},
        "class_counts": counts, "mean": mean, "std": std, "fingerprint": splits.fingerprint,
        "sheet": str(path),
    })  # fmt: skip
    widest = max(counts["train"])
    rows = [
        (label, f"{train:,}", f"{test:,}", "█" * round(30 * train / widest))
        for label, train, test in zip(splits.classes, counts["train"], counts["test"], strict=True)
    ]
    total = ("all", f"{len(splits.train):,}", f"{len(splits.test):,}", "")
    print_table(("class", "train", "test", ""), [*rows, total], "12")
    if writers := splits.train.writer_count:
        say(f"\ntraining images of {writers:,} known writers")
    say(f"\npixels: mean {mean:.4f}, standard deviation {std:.4f} of full scale")
    say(f"sheet:  {path}")


@app.command("download")
def download_command(
    name: str = argument("Data set of the catalogue.", metavar="DATASET"),
    copy: Path | None = option(
        "Local copy to use instead: a zip, or a folder with the files.", None, "--from"),
    keep: bool = option(
        "Whether an archive that holds other data sets too is kept for them.", True),
    writers: bool = option(
        "Also download the table of who wrote each image (mnist: QMNIST's).", False, "--writers"),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Download a data set, or check and complete what is there."""
    from penstroke.data.catalogue import manifest_of
    from penstroke.data.download import download_dataset, download_writers, kept_archive

    manifest = manifest_of(name)
    size = manifest.size_bytes / 1e6
    with progress_bar(name, "{task.completed:.1f} MB", total=size) as update:
        paths = download_dataset(
            manifest, data_root(), copy=copy, keep_archive=keep,
            progress=lambda more, total: update(advance=more / 1e6, total=total / 1e6),
        )  # fmt: skip
    if writers:
        with progress_bar("writers", "{task.completed:.1f} MB") as update:
            paths += download_writers(
                manifest, data_root(),
                progress=lambda more, total: update(advance=more / 1e6, total=total / 1e6),
            )  # fmt: skip
    kept = kept_archive(manifest, data_root())
    exit_json({"name": name, "files": list(map(str, paths)), "archive": kept and str(kept)})
    if not paths:
        say(f"{name} comes with Penstroke: there is nothing to download")
        return
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    say(f"{len(paths)} files, {megabytes:.1f} MB, checked: {paths[0].parent}")
    if kept:
        say(f"kept for its other data sets: {kept} ({kept.stat().st_size / 1e6:.0f} MB)")
