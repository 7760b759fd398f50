"""`penstroke data import`: your own images, or IDX files, as a data set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from penstroke.cli.console import Json, print_json, program, progress_bar, say, takes

if TYPE_CHECKING:
    from penstroke.data.image_import import ImportResult, ImportSettings

_LISTED = 5
_FOR_IDX = {"transposed", "label_offset"}
_FOR_BOTH = {"name", "source", "classes", "replace", "as_json"}


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The options of `penstroke data import`."""

    name: Annotated[str, typer.Argument(help="Name of the new data set.")]
    source: Annotated[
        Path, typer.Argument(help="Folder, .zip, .csv, .parquet or .npz file, or IDX files.")
    ]
    labels: Annotated[
        Literal["folder", "table"] | None,
        typer.Option(help="Where the labels are; detected by default."),
    ] = None
    pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Pattern of labels in file names: (?P<label>…)."),
    ] = None
    images: Annotated[
        Path | None, typer.Option(help="Folder or zip with the images that a table names.")
    ] = None
    file_column: Annotated[
        str | None, typer.Option(help="Column of a table with the file names.")
    ] = None
    label_column: Annotated[
        str | None, typer.Option(help="Column of a table or Parquet file with the labels.")
    ] = None
    image_column: Annotated[
        str | None, typer.Option(help="Column of a Parquet file with the images.")
    ] = None
    encoding: Annotated[str, typer.Option(help="Text encoding of a table.")] = "utf-8"
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes to keep, separated by commas: digits, letters, upper, lower, "
            "alphanumeric, or names (0,1,2). For IDX files: the names of the classes."
        ),
    ] = None
    map: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=CLASS", help="New name of a label or folder; LABEL= drops it."),
    ] = None
    merge_case: Annotated[
        bool, typer.Option("--merge-case", help="Upper and lower case as one class, such as Aa.")
    ] = False
    test: Annotated[Path | None, typer.Option(help="Second source, with the test images.")] = None
    test_fraction: Annotated[
        float, typer.Option(help="Fraction of each class to test on, unless the source says which.")
    ] = 0.2
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the test images.")] = 0
    max_unreadable: Annotated[
        str, typer.Option(help="Most unreadable images allowed: a fraction or a number.")
    ] = "0.05"
    preprocessed: Annotated[
        bool | None,
        typer.Option(
            "--preprocessed/--preprocess",
            help="Whether 28×28 arrays are already normalised as MNIST is; detected by default.",
        ),
    ] = None
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of processes.")] = 2
    transposed: Annotated[
        bool | None,
        typer.Option(
            "--transposed/--upright", help="Orientation of IDX images; EMNIST's are transposed."
        ),
    ] = None
    label_offset: Annotated[int, typer.Option(help="Label of the first class in IDX files.")] = 0
    replace: Annotated[bool, typer.Option("--replace", help="Replace a data set of that name.")] = (
        False
    )
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the import report (HTML).")
    ] = None
    as_json: Json = False

    def given(self) -> dict[str, str]:
        """Return the options that differ from their defaults, as they are typed."""
        return {
            field.name: "--" + field.name.replace("_", "-")
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }

    def class_names(self) -> tuple[str, ...] | None:
        """Return the names in --classes."""
        return tuple(map(str.strip, self.classes.split(","))) if self.classes else None

    def import_settings(self) -> ImportSettings:
        """Return how the images become a data set."""
        from penstroke.data.class_map import ClassMap, parse_map
        from penstroke.data.image_import import ImportSettings
        from penstroke.data.sources.listing import SourceOptions

        return ImportSettings(
            options=SourceOptions(
                labels=self.labels, pattern=self.pattern, images=self.images,
                file_column=self.file_column, label_column=self.label_column,
                image_column=self.image_column, encoding=self.encoding,
            ),
            classes=ClassMap(
                wanted=self.class_names(), renamed=parse_map(self.map or []),
                merge_case=self.merge_case,
            ),
            test=self.test, test_fraction=self.test_fraction, seed=self.seed,
            max_unreadable=_limit(self.max_unreadable), preprocessed=self.preprocessed,
        )  # fmt: skip


@takes(ImportOptions)
def command(options: ImportOptions) -> None:
    """Import images as a data set: a folder per class, a zip, a table, Parquet, NPZ or IDX.

    Each image is normalised to 28×28 pixels. A report shows the results beside the originals. The
    same command resumes an import that was interrupted.
    """
    from penstroke.data.idx_import import holds_idx
    from penstroke.data.loading import check_new_name, imported_names
    from penstroke.errors import ConfigError

    check_new_name(options.name)
    if options.name in imported_names() and not options.replace:
        raise ConfigError(f'the data set "{options.name}" already exists; use --replace')
    is_idx = holds_idx(options.source)
    for name, option in options.given().items():
        if is_idx and name not in _FOR_IDX | _FOR_BOTH:
            raise ConfigError(f"{option} is for images, but {options.source} holds IDX files")
        if not is_idx and name in _FOR_IDX:
            raise ConfigError(f"{option} is for IDX files only")
    if is_idx:
        _import_idx(options)
        return
    result = _import_images(options)
    path = _write_report(result, options)
    if options.as_json:
        print_json({**result.to_dict(), "report": None if path is None else str(path)})
    else:
        _show(result, path)


def _import_idx(options: ImportOptions) -> None:
    from penstroke.data.idx_import import import_idx
    from penstroke.data.loading import imported_folder

    name = options.name
    train, test = import_idx(
        name, options.source, imported_folder(name), transposed=options.transposed,
        label_offset=options.label_offset, classes=options.class_names(),
    )  # fmt: skip
    if options.as_json:
        print_json({"name": name, "classes": train.classes, "train": len(train), "test": len(test)})
        return
    _show_sizes(name, len(train), len(test), len(train.classes))
    say(f"\nnext: {program()} data show {name}")


def _limit(text: str) -> float | int:
    """Return the fraction or number of images in `text`."""
    from penstroke.errors import ConfigError

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value.is_integer() and value >= 0 and "." not in text:
        return int(value)
    if 0 <= value <= 1:
        return value
    raise ConfigError(f"--max-unreadable: {text!r} is neither a fraction (0.05) nor a number (20)")


def _import_images(options: ImportOptions) -> ImportResult:
    from penstroke.data.image_import import import_images
    from penstroke.data.loading import imported_folder

    settings = options.import_settings()
    try:
        with progress_bar("{task.completed:,.0f} of {task.total:,.0f}") as bar:
            task = bar.add_task("reading", total=1.0)
            return import_images(
                options.name, options.source, imported_folder(options.name), settings,
                workers=options.workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here", as_json=True)
        raise typer.Exit(130) from None


def _write_report(result: ImportResult, options: ImportOptions) -> Path | None:
    """Write the report; without the packages for it, the data set is complete all the same."""
    from penstroke.errors import MissingExtraError
    from penstroke.files import cache_root

    path = options.report or cache_root() / "imports" / result.name / "index.html"
    try:
        from penstroke.reports.import_report import write_import_report

        write_import_report(result, path)
    except (ModuleNotFoundError, MissingExtraError) as error:
        say(f'no report: {error}; pip install "penstroke[train]"', as_json=options.as_json)
        return None
    return path


def _show(result: ImportResult, path: Path | None) -> None:
    _show_sizes(result.name, len(result.train), len(result.test), len(result.train.classes))
    for what, how in result.decisions.items():
        say(f"  {what:<15}{how}")
    for note in result.notes:
        say(f"  note           {note}")
    _show_some("without ink, left out", result.empty)
    _show_some("unreadable", [f"{name}: {why}" for name, why in result.unreadable])
    if path:
        say(f"\nreport  {path}")
    name = result.name
    say(f"\nnext: {program()} data show {name}\n      {program()} train --dataset {name}")


def _show_sizes(name: str, train: int, test: int, classes: int) -> None:
    say(f"{name}: {train:,} training and {test:,} test images of {classes} classes")


def _show_some(what: str, names: list[str]) -> None:
    if names:
        say(f"\n{what}: {len(names):,}")
        for name in names[:_LISTED]:
            say(f"  {name}")
        if len(names) > _LISTED:
            say(f"  and {len(names) - _LISTED:,} more")
