"""`penstroke data import`: your own images, or IDX files, as a data set."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from penstroke.cli.console import exit_json, program, progress_bar, say, show_left_out
from penstroke.cli.options import JSON, argument, given_options, option, takes
from penstroke.errors import ConfigError, MissingExtraError
from penstroke.files import cache_root

if TYPE_CHECKING:
    from penstroke.data.image_import import Import

_FOR_IDX = {"label_offset"}
_NOT_FOR_LINES = {
    "classes", "map", "merge_case", "preprocessed", "transposed", "label_offset",
}  # fmt: skip
_FOR_BOTH = {"name", "source", "classes", "replace", "as_json", "transposed"}


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The options of `penstroke data import`."""

    name: str = argument("Name of the new data set.")
    source: Path = argument("Folder, .zip, .csv, .parquet, .npz, .npy or .mat file, or IDX files.")
    lines: bool = option(
        "Images are lines of text, each with its text in place of a class.", False, "--lines"
    )
    sheet: bool = option(
        "Source is photos or scans of sheets of `penstroke form sheet`, or, with --rows, of grids.",
        False, "--sheet")  # fmt: skip
    rows: str | None = option(
        "What the rows of a grid hold, from the top, separated by commas; again and again.",
        metavar="CLASSES")  # fmt: skip
    labels: Literal["folder", "table"] | None = option(
        "Where the labels are; detected by default.")  # fmt: skip
    pattern: str | None = option(
        "Pattern of labels, and perhaps of writers, in file names: (?P<label>…), (?P<writer>…); "
        "of lines (?P<text>…).",
        metavar="REGEX")  # fmt: skip
    images: Path | None = option("Folder or zip with the images that a table names.")
    file_column: str | None = option("Column of a table with the file names.")
    label_column: str | None = option("Column of a table or Parquet file with the labels or texts.")
    image_column: str | None = option("Column of a Parquet file with the images.")
    writer_column: str | None = option("Column of a table or Parquet file with the writers.")
    writer_folders: bool = option(
        "Folder above that of a class, or the folder of a line, names the writer.", False,
        "--writer-folders")  # fmt: skip
    encoding: str = option("Text encoding of a table.", "utf-8")
    classes: str | None = option(
        "Classes to keep, separated by commas: digits, letters, upper, lower, alphanumeric, or "
        "names (0,1,2). For IDX files: the names of the classes.")  # fmt: skip
    map: list[str] | None = option(
        "New name of a label or folder; LABEL= drops it; 0-25=A-Z renames a range.",
        metavar="LABEL=CLASS")  # fmt: skip
    merge_case: bool = option(
        "Upper and lower case as one class, such as Aa.", False, "--merge-case"
    )
    test: Path | None = option("Second source, with the test images.")
    test_fraction: float = option(
        "Fraction of each class to test on, unless the source says which.", 0.2)  # fmt: skip
    seed: int = option("Random seed of the test images.", 0, min=0)
    max_unreadable: str = option(
        "Most unreadable images allowed: a fraction or a number.", "0.05")  # fmt: skip
    preprocessed: bool | None = option(
        "Whether 28×28 arrays are already normalised as MNIST is; detected by default.", None,
        "--preprocessed/--preprocess")  # fmt: skip
    workers: int = option("Number of processes.", 2, min=1, max=64)
    transposed: bool | None = option(
        "Orientation of IDX images and arrays; EMNIST's are transposed.", None,
        "--transposed/--upright")  # fmt: skip
    label_offset: int = option("Label of the first class in IDX files.", 0)
    replace: bool = option("Replace a data set of that name.", False, "--replace")
    report: Path | None = option("Where to write the import report (HTML).", metavar="FILE")
    as_json: bool = JSON

    def class_names(self) -> tuple[str, ...] | None:
        """Return the names in --classes."""
        return tuple(map(str.strip, self.classes.split(","))) if self.classes else None


@takes(ImportOptions)
def command(options: ImportOptions) -> None:
    """Import images as a data set: a folder per class, a zip, a table, Parquet, arrays or IDX.

    Each image is normalised to 28×28 pixels, or, of --lines, to 32 pixels in height. A report shows
    the results beside the originals. The same command resumes an import that was interrupted.
    """
    from penstroke.data.catalogue import check_new_name
    from penstroke.data.idx import holds_idx, import_idx
    from penstroke.data.loading import imported_folder, imported_names

    check_new_name(options.name)
    if options.rows and not options.sheet:
        raise ConfigError("--rows is for --sheet")
    if options.sheet:
        _import_sheets(options)
        return
    is_idx = not options.lines and holds_idx(options.source)
    if is_idx and options.name in imported_names() and not options.replace:
        raise ConfigError(f'the data set "{options.name}" already exists; use --replace')
    for name, typed in given_options(options).items():
        if is_idx and name not in _FOR_IDX | _FOR_BOTH:
            raise ConfigError(f"{typed} is for images, but {options.source} holds IDX files")
        if options.lines and (
            name in _NOT_FOR_LINES or (name, options.labels) == ("labels", "folder")
        ):
            raise ConfigError(f"{typed} is for characters, not for --lines")
        if not is_idx and name in _FOR_IDX:
            raise ConfigError(f"{typed} is for IDX files only")
    if not is_idx:
        _import_images(options)
        return
    name = options.name
    train, test = import_idx(
        name, options.source, imported_folder(name), transposed=options.transposed,
        label_offset=options.label_offset, classes=options.class_names(),
    )  # fmt: skip
    exit_json({"name": name, "classes": train.classes, "train": len(train), "test": len(test)})
    say(f"{name}: {len(train):,} training and {len(test):,} test images of {len(train.classes)} "
        f"classes\n\nnext: {program()} data show {name}")  # fmt: skip


def _import_sheets(options: ImportOptions) -> None:
    """Import the characters on sheets, which are cut out into a folder first."""
    from penstroke.forms.sheets import cut_sheets

    if options.lines or options.labels or options.pattern or options.images:
        raise ConfigError("--sheet says where images and labels are; leave out other options on it")
    folder = cache_root() / "sheets" / options.name
    rows = tuple(map(str.strip, options.rows.split(","))) if options.rows else ()
    with progress_bar("cutting sheets", total=1.0) as update:
        left_out = cut_sheets(
            options.source, folder, rows, lambda done, total: update(completed=done, total=total)
        )
    show_left_out("sheets left out", [f"{file}: {why}" for file, why in left_out])
    _import_images(replace(options, source=folder, labels="table"))


def _import_images(options: ImportOptions) -> None:
    from penstroke.data.image_import import ClassMap, ImportSettings, import_images, parse_map
    from penstroke.data.line_import import import_lines
    from penstroke.data.loading import imported_folder
    from penstroke.data.sources.contents import SourceOptions

    name = options.name
    settings = ImportSettings(
        options=SourceOptions(
            labels=options.labels, pattern=options.pattern, images=options.images,
            file_column=options.file_column, label_column=options.label_column,
            image_column=options.image_column, writer_column=options.writer_column,
            writer_folders=options.writer_folders, encoding=options.encoding,
            transposed=options.transposed, lines=options.lines,
        ),
        classes=ClassMap(
            wanted=options.class_names(), renamed=parse_map(options.map or []),
            merge_case=options.merge_case,
        ),
        test=options.test, test_fraction=options.test_fraction, seed=options.seed,
        max_unreadable=_limit(options.max_unreadable), preprocessed=options.preprocessed,
    )  # fmt: skip
    columns = "{task.completed:,.0f} of {task.total:,.0f}"
    hint = "interrupted: the same command resumes from here"
    page = options.report or cache_root() / "imports" / name / "index.html"
    problems: list[str] = []
    with progress_bar("reading", columns, total=1.0, hint=hint) as update:
        result: Import[Any] = (import_lines if options.lines else import_images)(
            name, options.source, imported_folder(name), settings, workers=options.workers,
            progress=lambda done, total: update(completed=done, total=total),
            replace_existing=options.replace,
            finish=lambda result: problems.extend(_write_report(result, page)),
        )  # fmt: skip
    for problem in problems:
        say(problem)
    report = None if problems else str(page)
    exit_json({**result.to_dict(), "report": report})
    train, test = result.train, result.test
    what = "lines" if options.lines else f"images of {len(train.classes)} classes"
    say(f"{name}: {len(train):,} training and {len(test):,} test {what}")
    for what, how in [*result.decisions.items(), *(("note", text) for text in result.notes)]:
        say(f"  {what:<15}{how}")
    unreadable = [f"{image}: {why}" for image, why in result.unreadable]
    left_out = [f"{file}: {why}" for file, why in result.left_out]
    for what, images in (
        ("without ink, left out", result.empty), ("unreadable", unreadable), ("left out", left_out)
    ):  # fmt: skip
        show_left_out(what, images)
    if report:
        say(f"\nreport  {report}")
    recipe = "numbers " if options.lines else ""
    say(f"\nnext: {program()} data show {name}\n      {program()} train {recipe}--dataset {name}")


def _write_report(result: "Import[Any]", page: Path) -> list[str]:
    """Write the import report; without the packages for it, return what is missing."""
    try:  # the data set is complete all the same
        from penstroke.reports.import_report import write_import_report

        write_import_report(result, page)
    except (ModuleNotFoundError, MissingExtraError) as error:
        return [f'no report: {error}; pip install "penstroke[train]"']
    return []


def _limit(text: str) -> float | int:
    with contextlib.suppress(ValueError):
        value = float(text)
        if value.is_integer() and value >= 0 and "." not in text:
            return int(value)
        if 0 <= value <= 1:
            return value
    raise ConfigError(f"--max-unreadable: {text!r} is neither a fraction (0.05) nor a number (20)")
