"""`penstroke predict`: what pictures show."""

from __future__ import annotations

import glob
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.console import Json, percent, print_json, print_table

if TYPE_CHECKING:
    from penstroke.recognizer import Recognition, Recognizer

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


def command(
    model: Annotated[str, typer.Argument(help="A model.onnx, or the name or path of a run.")],
    pictures: Annotated[list[str], typer.Argument(help="Files, folders, globs; - is stdin.")],
    top: Annotated[int, typer.Option(min=1, help="How many answers a picture.")] = 3,
    as_json: Json = False,
) -> None:
    """Read one character from each picture: dark on light or light on dark, any size."""
    from penstroke.errors import PictureError
    from penstroke.recognizer import Recognizer

    recognizer = Recognizer.load(_model_path(model))
    answers: list[dict[str, Any]] = []
    failed = 0
    for name in _expand(pictures):
        try:
            answers.append(_answer(recognizer, name, top))
        except PictureError as error:
            failed += 1
            answers.append({"picture": name, "status": "error", "error": str(error)})
            typer.echo(f"error: {error}", err=True)
    if as_json:
        print_json({"model": model, "answers": answers})
    else:
        _print(answers)
    if failed:
        raise typer.Exit(1)


def _answer(recognizer: Recognizer, name: str, top: int) -> dict[str, Any]:
    found: Recognition = recognizer.recognize(
        sys.stdin.buffer.read() if name == "-" else Path(name)
    )
    return {
        "picture": name,
        "status": found.status,
        "label": found.label,
        "probability": found.probability,
        "top": [{"label": label, "probability": p} for label, p in found.top(top)],
    }


def _print(answers: list[dict[str, Any]]) -> None:
    rows = []
    for answer in answers:
        if answer["status"] == "empty":
            rows.append((answer["picture"], "", "", "no ink found"))
        elif answer["status"] != "error":
            others = "  ".join(
                f"{a['label']} {percent(a['probability'], 1)}" for a in answer["top"][1:]
            )
            rows.append(
                (answer["picture"], answer["label"], percent(answer["probability"], 1), others)
            )
    if rows:
        print_table(("picture", "reads", "sure", "or else"), rows, "2")


def _model_path(model: str) -> Path:
    path = Path(model)
    if path.exists():
        return path
    if path.suffix == ".onnx":
        return path  # the recogniser says that it is not there
    from penstroke.runs import find_run

    return find_run(model).model_path


def _expand(names: list[str]) -> list[str]:
    from penstroke.errors import PictureError

    found: list[str] = []
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            found.append(name)
        elif path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES)
            if not inside:
                raise PictureError(f"the folder {name} holds no pictures ({', '.join(_SUFFIXES)})")
            found += inside
        else:
            # Shells that do not expand patterns (Windows) leave it to us.
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - may begin at the root
            found += matches or [name]
    return found
