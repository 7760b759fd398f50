"""Images and models as `penstroke predict` and `penstroke read` take them on the command line."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from penstroke.cli.console import exit_json, note, progress_bar
from penstroke.cli.options import argument, option
from penstroke.errors import ImageError, near_match
from penstroke.inference.bundled import DEFAULT_MODEL

if TYPE_CHECKING:
    from penstroke.inference.recognizer import Recognizer

IMAGES = argument("Image files, folders or patterns; - is stdin.", metavar="IMAGE…")


def model_option(default: str) -> Any:
    """Return the option that names a model."""
    return option(
        "Model: a bundled one (`penstroke models list`), a run's name or path, or a model.onnx.",
        default,
        metavar="MODEL",
    )


MODEL = model_option(DEFAULT_MODEL)
PRECISION = option(
    "Least share of answers that are right, as shown on held-out images; the model card lists what "
    "was shown.",
    metavar="SHARE",
    min=0,
    max=1,
)
CONFIDENCE_THRESHOLD = option(
    "Least probability of an answer; the model's own, 0.5, by default.",
    metavar="PROBABILITY",
    min=0,
    max=1,
)


def open_recognizer(
    model: str, confidence_threshold: float | None = None, precision: float | None = None
) -> Recognizer:
    """Return the recognizer of `--model`: a bundled model, an ONNX file or a run."""
    from penstroke.inference.recognizer import Recognizer
    from penstroke.runs.run import find_model

    refuse_both(confidence_threshold, precision)
    return Recognizer.load(
        find_model(model), confidence_threshold=confidence_threshold, precision=precision
    )


def refuse_both(confidence_threshold: float | None, precision: float | None) -> None:
    """Refuse a threshold that is given twice, by itself and by a precision."""
    if confidence_threshold is not None and precision is not None:
        raise typer.BadParameter(
            "sets the confidence threshold: leave out --confidence-threshold",
            param_hint="--precision",
        )


def expand(names: Sequence[str]) -> list[str]:
    """Return the image files that `names` stand for; folders are searched, patterns expanded."""
    expanded: list[str] = []
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            expanded.append(name)
        elif path.is_dir():
            from penstroke.data.sources.contents import SUFFIXES, is_image

            files = [path for path in path.rglob("*") if path.is_file()]
            inside = sorted(str(path) for path in files if is_image(path.name))
            if not inside:
                raise ImageError(f"the folder {name} holds no images ({', '.join(SUFFIXES)})")
            others = [str(p) for p in files if not is_image(p.name) and p.name[0] != "."]
            if others:
                note(f"{name}: {len(others):,} files are not images that can be read, and are "
                     f"left out, for example {min(others)}")  # fmt: skip
            expanded += inside
        else:
            # Shells that do not expand patterns (Windows) leave it to us.
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - may begin at the root
            expanded += matches or [name]
    return expanded


def _note_pages(path: Path) -> None:
    from penstroke.preprocessing.decoding import page_count

    is_tiff = path.suffix.lower() in (".tif", ".tiff", ".gif") and path.is_file()
    if is_tiff and (pages := page_count(path.read_bytes())) > 1:
        note(f"{path} has {pages} pages: the first is read; save others as files of their own")


def _similar(path: Path) -> str:
    """Return the name beside `path` that may be meant, where there is no such file."""
    is_missing = path.parent.is_dir() and not path.exists()
    return near_match(path.name, (one.name for one in path.parent.iterdir())) if is_missing else ""


def answer_each(
    names: Sequence[str],
    answer: Callable[[str, bytes | Path], dict[str, Any]],
    show: Callable[[list[dict[str, Any]]], None],
    model: str,
    keep: Callable[[list[dict[str, Any]]], None] = lambda _: None,
) -> None:
    """Answer for each image and its source; exit with 1 if an image could not be read.

    `keep` is called with all answers before they are printed, `show` prints them for people.
    """
    answers: list[dict[str, Any]] = []
    columns = "{task.completed:,.0f} of {task.total:,.0f}"
    with progress_bar("reading", columns, total=len(names)) as update:
        for name in names:
            try:
                if name != "-":
                    _note_pages(Path(name))
                answers.append(answer(name, sys.stdin.buffer.read() if name == "-" else Path(name)))
            except ImageError as error:
                text = f"{error}{_similar(Path(name))}"
                answers.append({"image": name, "status": "error", "error": text})
                note(f"error: {text}")
            update(advance=1)
    keep(answers)
    exit_code = int(any(one["status"] == "error" for one in answers))
    exit_json({"model": model, "answers": answers}, exit_code)
    show(answers)
    raise typer.Exit(exit_code)
