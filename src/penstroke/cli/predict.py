"""`penstroke predict`: what images show."""

from __future__ import annotations

import glob
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.console import Json, percent, print_json, print_table, say

if TYPE_CHECKING:
    from penstroke.inference.line_reader import PageReading
    from penstroke.inference.recognizer import Recognition, Recognizer

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


def command(
    model: Annotated[str, typer.Argument(help="A model.onnx, or the name or path of a run.")],
    images: Annotated[list[str], typer.Argument(help="Files, folders, globs; - is stdin.")],
    line: Annotated[
        bool, typer.Option("--line", help="Read whole lines: numbers, words, a page of them.")
    ] = False,
    overlay: Annotated[
        Path | None,
        typer.Option(help="With --line: a folder, or an .svg, for images with what was read."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many answers an image.")] = 3,
    as_json: Json = False,
) -> None:
    """Read one character from each image, or lines: dark on light or light on dark, any size."""
    from penstroke.errors import ImageError
    from penstroke.inference.recognizer import Recognizer

    if overlay and not line:
        raise typer.BadParameter("goes with --line", param_hint="--overlay")
    recognizer = Recognizer.load(_model_path(model))
    names = _expand(images)
    overlays = _overlay_paths(names, overlay) if overlay else [None] * len(names)
    answers: list[dict[str, Any]] = []
    failed = 0
    for name, path in zip(names, overlays, strict=True):
        try:
            answers.append(
                _lines(recognizer, name, path) if line else _answer(recognizer, name, top)
            )
        except ImageError as error:
            failed += 1
            answers.append({"image": name, "status": "error", "error": str(error)})
            typer.echo(f"error: {error}", err=True)
    if as_json:
        print_json({"model": model, "answers": answers})
    elif line:
        _print_lines(answers, top)
    else:
        _print(answers)
    if failed:
        raise typer.Exit(1)


def _source(name: str) -> bytes | Path:
    return sys.stdin.buffer.read() if name == "-" else Path(name)


def _answer(recognizer: Recognizer, name: str, top: int) -> dict[str, Any]:
    found: Recognition = recognizer.recognize(_source(name))
    return {
        "image": name,
        "status": found.status,
        "label": found.label,
        "probability": found.probability,
        "top": [{"label": label, "probability": p} for label, p in found.top(top)],
    }


def _print(answers: list[dict[str, Any]]) -> None:
    rows = []
    for answer in answers:
        if answer["status"] == "empty":
            rows.append((answer["image"], "", "", "no ink found"))
        elif answer["status"] != "error":
            label = answer["label"] or "?"
            others = "  ".join(
                f"{a['label']} {percent(a['probability'], 1)}"
                for a in answer["top"][answer["label"] is not None :]
            )
            rows.append((answer["image"], label, percent(answer["probability"], 1), others))
    if rows:
        print_table(("image", "reads", "sure", "or else"), rows, "2")


def _lines(recognizer: Recognizer, name: str, overlay: Path | None) -> dict[str, Any]:
    from penstroke.files import write_text_atomically
    from penstroke.inference.line_reader import read_page
    from penstroke.inference.overlay import overlay_svg

    source = _source(name)
    page: PageReading = read_page(recognizer, source)
    answer = {"image": name, "status": "ok" if page.lines else "empty", **page.to_dict()}
    if overlay:
        write_text_atomically(overlay, overlay_svg(page, source, recognizer.ink))
        answer["overlay"] = str(overlay)
    return answer


def _overlay_paths(names: list[str], target: Path) -> list[Path]:
    """Return where each overlay goes: into a folder, or into the one file."""
    if target.suffix.lower() == ".svg":
        if len(names) > 1:
            raise typer.BadParameter("one .svg, but several images: name a folder",
                                     param_hint="--overlay")  # fmt: skip
        return [target]
    paths: list[Path] = []
    for name in names:
        stem = "stdin" if name == "-" else Path(name).name
        number = 2
        path = target / f"{stem}.svg"
        while path in paths:
            path, number = target / f"{stem}-{number}.svg", number + 1
        paths.append(path)
    return paths


def _print_lines(answers: list[dict[str, Any]], top: int) -> None:
    rows: list[tuple[object, ...]] = []
    for answer in answers:
        if answer["status"] == "empty":
            rows.append((answer["image"], "", "", "no ink found"))
        for number, line in enumerate(answer.get("lines", ()), start=1):
            rows.append((answer["image"], number, line["text"], _doubts(line, top)))
    if rows:
        print_table(("image", "line", "reads", "in doubt"), rows, "1")
    for answer in answers:
        if "overlay" in answer:
            say(f"overlay  {answer['overlay']}")


def _doubts(line: dict[str, Any], top: int) -> str:
    """Return which characters are in doubt, by their number, and what else they may be."""
    doubts = []
    for number, character in enumerate(line["characters"], start=1):
        if character["status"] == "rejected":
            likely = sorted(character["probabilities"].items(), key=lambda item: -item[1])
            others = " or ".join(f"{label} {percent(p, 1)}" for label, p in likely[:top])
            doubts.append(f"{number}: {others}")
    return "; ".join(doubts)


def _model_path(model: str) -> Path:
    path = Path(model)
    if path.exists():
        return path
    if path.suffix == ".onnx":
        return path  # the recogniser says that it is not there
    from penstroke.runs.run import find_run

    return find_run(model).model_path


def _expand(names: list[str]) -> list[str]:
    from penstroke.errors import ImageError

    found: list[str] = []
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            found.append(name)
        elif path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES)
            if not inside:
                raise ImageError(f"the folder {name} holds no images ({', '.join(_SUFFIXES)})")
            found += inside
        else:
            # Shells that do not expand patterns (Windows) leave it to us.
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - may begin at the root
            found += matches or [name]
    return found
