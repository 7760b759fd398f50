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

    Data sets of one kind can be combined, as in mnist+collected. Those of lines have an alphabet
    in place of classes.
    """
    from penstroke.data import collected
    from penstroke.data.catalogue import catalogue
    from penstroke.data.lines import printable_alphabet
    from penstroke.data.loading import imported_folder, imported_names
    from penstroke.data.store import load_index

    rows = []
    for name, manifest in catalogue().items():
        present = all((data_root() / name / f.name).exists() for f in manifest.files)
        where = "comes with it" if not manifest.files else "here" if present else "to download"
        rows.append((name, "characters", len(manifest.classes), where, manifest.title))
    alphabets = {}
    for name in imported_names():
        index = load_index(imported_folder(name))
        title, kind, classes = index.title, "characters", len(index.classes)
        if index.alphabet is not None:
            kind, classes = "lines", len(index.alphabet)
            alphabets[name] = {"lines": index.lines, "alphabet": index.alphabet}
            title = f"{index.lines:,} lines of {printable_alphabet(index.alphabet)}; {title}"
        rows.append((name, kind, classes, "imported", title))
    if labels := collected.labels():
        where = f"{len(labels)} images"
        classes = len(set(labels.values()))
        rows.append((collected.NAME, "characters", classes, where, collected.TITLE))
    keys = ("name", "kind", "classes", "where", "title")
    found = [dict(zip(keys, row, strict=True)) | alphabets.get(str(row[0]), {}) for row in rows]
    exit_json({"datasets": found})
    print_table(("name", "kind", "classes", "where", "what it is"), rows, "2")
    say(f"\ndata folder: {data_root()} (PENSTROKE_DATA)")


@app.command("show")
def show_command(
    name: str = DATASET_NAME,
    sheet: Path | None = option("Where to write the contact sheet (PNG).", metavar="FILE"),
    as_json: bool = JSON,
) -> None:
    """Show the size of each class, and write a contact sheet of training images.

    Of lines, how often each character occurs, and a sheet of training lines with their texts.
    """
    from penstroke.config.settings import DataConfig
    from penstroke.data.loading import holds_lines, load_dataset
    from penstroke.reports.contact_sheet import contact_sheet

    if holds_lines(name):
        _show_lines(name, sheet)
        return
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


def _show_lines(name: str, sheet: Path | None) -> None:
    from penstroke.config.settings import DataConfig
    from penstroke.data.loading import load_lines
    from penstroke.reports.contact_sheet import line_sheet

    splits = load_lines(DataConfig(dataset=name, validation_fraction=0))
    lines, path = splits.train, sheet or cache_root() / "sheets" / f"{name}.png"
    write_atomically(path, line_sheet(lines))
    counts, lengths = lines.character_counts(), sorted(map(len, lines.texts))
    exit_json({
        "name": name, "kind": "lines", "alphabet": splits.alphabet,
        "lines": {"train": len(lines), "test": len(splits.test)},
        "train_writers": lines.writer_count, "character_counts": {"train": counts},
        "text_lengths": {"least": lengths[0], "most": lengths[-1]},
        "fingerprint": splits.fingerprint, "sheet": str(path),
    })  # fmt: skip
    widest = max(counts.values())
    rows = [
        ("space" if character == " " else character, f"{count:,}", "█" * round(30 * count / widest))
        for character, count in counts.items()
    ]
    print_table(("character", "train", ""), rows, "1")
    say(f"\n{len(lines):,} training lines of {lengths[0]} to {lengths[-1]} characters, "
        f"{len(splits.test):,} test lines")  # fmt: skip
    if writers := lines.writer_count:
        say(f"training lines of {writers:,} known writers")
    say(f"\nsheet:  {path}")


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
