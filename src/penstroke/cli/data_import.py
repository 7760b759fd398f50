"""`penstroke data import`: one's own images, or IDX files, as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.console import Json, options_typed, print_json, program, progress_bar, say

if TYPE_CHECKING:
    from penstroke.data.image_import import ImportResult, ImportSettings

_LISTED = 5
_FOR_IDX = {"transposed", "label_offset"}
_FOR_BOTH = {"classes", "replace", "as_json"}
Name = Annotated[str, typer.Argument(help="What to call it.")]
Where = Annotated[Path, typer.Argument(help="Folder, .zip, .csv, .parquet, .npz, or IDX files.")]
Labels = Annotated[
    str | None, typer.Option(metavar="folder|table", help="Where labels are; found out by default.")
]
Pattern = Annotated[
    str | None, typer.Option(metavar="REGEX", help="Labels are in file names: group (?P<label>…).")
]
Images = Annotated[
    Path | None, typer.Option(help="Folder or zip of the images that a table names.")
]
FileColumn = Annotated[str | None, typer.Option(help="Of a table.")]
LabelColumn = Annotated[str | None, typer.Option(help="Of a table or Parquet file.")]
ImageColumn = Annotated[str | None, typer.Option(help="Of a Parquet file.")]
Encoding = Annotated[str, typer.Option(help="Of a table.")]
Classes = Annotated[
    str | None,
    typer.Option(help="Keep these only, with commas: digits, letters, upper, lower, alphanumeric, "
                      "or names: 0,1,2. Of IDX files: the names of their classes."),
]  # fmt: skip
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="LABEL=CLASS", help="Rename a label or folder; LABEL= drops it."),
]
MergeCase = Annotated[
    bool, typer.Option("--merge-case", help="Both cases of a letter are one class, Aa.")
]
Test = Annotated[Path | None, typer.Option(help="Another source, to test on.")]
TestShare = Annotated[
    float, typer.Option(help="Of each class, where the source does not say which to test on.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of that choice.")]
MaxUnreadable = Annotated[
    str, typer.Option(help="Most images that may be unreadable: a share, or a number.")
]
Placed = Annotated[
    bool | None,
    typer.Option(
        "--preprocessed/--preprocess", help="28×28 arrays are as MNIST's already, or are not."
    ),
]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that read.")]
Transposed = Annotated[
    bool | None,
    typer.Option("--transposed/--upright", help="IDX: they lie on their side, as EMNIST's do."),
]
LabelOffset = Annotated[int, typer.Option(help="IDX: label of the first class.")]
Replace = Annotated[bool, typer.Option("--replace", help="If it is there already.")]
HtmlPage = Annotated[Path | None, typer.Option(help="Where to write the page (HTML).")]


def command(
    context: typer.Context,
    name: Name,
    source: Where,
    labels: Labels = None,
    pattern: Pattern = None,
    images: Images = None,
    file_column: FileColumn = None,
    label_column: LabelColumn = None,
    image_column: ImageColumn = None,
    encoding: Encoding = "utf-8",
    classes: Classes = None,
    map_: Map = None,
    merge_case: MergeCase = False,
    test: Test = None,
    test_share: TestShare = 0.2,
    seed: Seed = 0,
    max_unreadable: MaxUnreadable = "0.05",
    placed: Placed = None,
    workers: Workers = 2,
    transposed: Transposed = None,
    label_offset: LabelOffset = 0,
    replace: Replace = False,
    page: HtmlPage = None,
    as_json: Json = False,
) -> None:
    """Import images as a data set: a folder a class, a zip, a table, Parquet, NPZ or IDX.

    Every image is brought to the 28×28 that networks read. A page shows what came out beside what
    went in. Interrupted, the same command goes on.
    """
    given = {option: value for option, value in locals().items() if value is not None}
    _refuse_taken(name, replace=replace)
    from penstroke.data.idx_import import holds_idx

    is_idx = holds_idx(source)
    _refuse_others(options_typed(context), source, is_idx=is_idx)
    if is_idx:
        _import_idx(given)
        return
    settings = _settings(given)
    result, path = _import_images(name, source, settings, workers, page, as_json)
    if as_json:
        print_json({**result.to_dict(), "page": None if path is None else str(path)})
    else:
        _show(result, path)


def _refuse_taken(name: str, *, replace: bool) -> None:
    from penstroke.data.loading import check_new_name, imported_names
    from penstroke.errors import ConfigError

    check_new_name(name)
    if name in imported_names() and not replace:
        raise ConfigError(f'"{name}" is imported already: --replace does it again')


def _refuse_others(typed: dict[str, str], source: Path, *, is_idx: bool) -> None:
    from penstroke.errors import ConfigError

    for name, option in typed.items():
        if is_idx and name not in _FOR_IDX | _FOR_BOTH:
            raise ConfigError(f"{option} goes with images; {source} is IDX files")
        if not is_idx and name in _FOR_IDX:
            raise ConfigError(f"{option} goes with IDX files only")


def _import_idx(given: dict[str, Any]) -> None:
    from penstroke.data.idx_import import import_idx
    from penstroke.data.loading import imported_folder

    name, classes = given["name"], given.get("classes")
    train, test = import_idx(
        name, given["source"], imported_folder(name), transposed=given.get("transposed"),
        label_offset=given["label_offset"], classes=tuple(classes.split(",")) if classes
        else None,
    )  # fmt: skip
    if given["as_json"]:
        print_json({"name": name, "classes": train.classes, "train": len(train), "test": len(test)})
        return
    _show_sizes(name, len(train), len(test), len(train.classes))
    say(f"\nnext: {program()} data show {name}")


def _settings(given: dict[str, Any]) -> ImportSettings:
    from penstroke.data.class_map import ClassMap, parse_map
    from penstroke.data.image_import import ImportSettings
    from penstroke.data.sources.listing import SourceOptions
    from penstroke.errors import ConfigError

    if given.get("labels") not in (None, "folder", "table"):
        raise ConfigError(f"--labels: {given['labels']!r} is neither folder nor table")
    keys = ("labels", "pattern", "images", "file_column", "label_column", "image_column",
            "encoding")  # fmt: skip
    wanted = given.get("classes")
    return ImportSettings(
        options=SourceOptions(**{key: given[key] for key in keys if key in given}),
        classes=ClassMap(
            wanted=tuple(word.strip() for word in wanted.split(",")) if wanted else None,
            renamed=parse_map(given.get("map_", [])),
            merge_case=given["merge_case"],
        ),
        test=given.get("test"), test_fraction=given["test_share"], seed=given["seed"],
        max_unreadable=_limit(given["max_unreadable"]), preprocessed=given.get("placed"),
    )  # fmt: skip


def _limit(text: str) -> float | int:
    """Return the share or number of images that `text` says."""
    from penstroke.errors import ConfigError

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value.is_integer() and value >= 0 and "." not in text:
        return int(value)
    if 0 <= value <= 1:
        return value
    raise ConfigError(f"--max-unreadable: {text!r} is neither a share (0.05) nor a number (20)")


def _import_images(
    name: str, source: Path, settings: ImportSettings, workers: int, page: Path | None,
    as_json: bool,
) -> tuple[ImportResult, Path | None]:  # fmt: skip
    from penstroke.data.image_import import import_images
    from penstroke.data.loading import imported_folder

    try:
        with progress_bar("{task.completed:,.0f} of {task.total:,.0f}") as bar:
            task = bar.add_task("reading", total=1.0)
            result = import_images(
                name, source, imported_folder(name), settings, workers=workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here", as_json=True)
        raise typer.Exit(130) from None
    return result, _write_page(result, page, as_json)


def _write_page(result: ImportResult, page: Path | None, as_json: bool) -> Path | None:
    """Write the page; the data set is whole without it, where the packages for it are missing."""
    from penstroke.files import cache_root

    path = page or cache_root() / "imports" / result.name / "index.html"
    try:
        from penstroke.errors import MissingExtraError
        from penstroke.reports.import_report import write_page

        write_page(result, path)
    except (ModuleNotFoundError, MissingExtraError) as error:
        say(f'no page: {error}; pip install "penstroke[train]"', as_json=as_json)
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
        say(f"\npage  {path}")
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
