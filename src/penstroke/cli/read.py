"""`penstroke read`: lines of characters, such as numbers and words, from images and pages."""

from functools import partial
from pathlib import Path
from typing import Any

import typer

from penstroke.cli.console import percent, print_table, say
from penstroke.cli.image_arguments import IMAGES, MODEL, answer_each, expand, open_recognizer
from penstroke.cli.options import JSON, option
from penstroke.files import write_text_atomically


def command(
    images: list[str] = IMAGES,
    model: str = MODEL,
    overlay: Path | None = option(
        "Folder, or one .svg, for the images with the recognised text on them."),
    top: int = option("Number of alternatives listed for a doubtful character.", 3, min=1),
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Read lines of characters: numbers, words, or a page of them.

    The characters must stand apart or just touch; the model reads one at a time.
    """
    recognizer = open_recognizer(model)
    names = expand(images)
    overlays = iter(_overlay_paths(names, overlay) if overlay else ())

    def answer(name: str, source: bytes | Path) -> dict[str, Any]:
        from penstroke.inference.character_lines import read_page
        from penstroke.inference.overlay import overlay_svg

        path = next(overlays, None)
        page = read_page(recognizer, source)
        result = {"image": name, "status": "ok" if page.lines else "empty", **page.to_dict()}
        if path is not None:
            write_text_atomically(path, overlay_svg(page, source, recognizer.ink))
            result["overlay"] = str(path)
        return result

    answer_each(names, answer, partial(_show, top=top), model)


def _overlay_paths(names: list[str], target: Path) -> list[Path]:
    """Return where each overlay is written: into a folder, or to the one file."""
    if target.suffix.lower() == ".svg":
        if len(names) > 1:
            raise typer.BadParameter(
                "one .svg, but several images: name a folder", param_hint="--overlay"
            )
        return [target]
    paths: list[Path] = []
    for name in names:
        stem = "stdin" if name == "-" else Path(name).name
        path, number = target / f"{stem}.svg", 2
        while path in paths:
            path, number = target / f"{stem}-{number}.svg", number + 1
        paths.append(path)
    return paths


def _show(answers: list[dict[str, Any]], top: int) -> None:
    rows: list[tuple[object, ...]] = []
    for answer in answers:
        if answer["status"] == "empty":
            rows.append((answer["image"], "", "", "no ink found"))
        for number, line in enumerate(answer.get("lines", ()), start=1):
            rows.append((answer["image"], number, line["text"], _doubts(line, top)))
    if rows:
        print_table(("image", "line", "text", "alternatives"), rows, "1")
    for answer in answers:
        if "overlay" in answer:
            say(f"overlay  {answer['overlay']}")


def _doubts(line: dict[str, Any], top: int) -> str:
    """Return the doubtful characters by their number, and what else they may be."""
    doubts = []
    for number, character in enumerate(line["characters"], start=1):
        if character["status"] == "rejected":
            likely = sorted(character["probabilities"].items(), key=lambda item: -item[1])
            others = " or ".join(f"{label} {percent(p, 1)}" for label, p in likely[:top])
            doubts.append(f"{number}: {others}")
    return "; ".join(doubts)
