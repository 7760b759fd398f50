"""`penstroke predict`: one character from each image."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from penstroke.cli.console import Json, percent, print_table
from penstroke.cli.image_arguments import (
    ImageNames,
    Model,
    answer_each,
    expand,
    open_recognizer,
    source_of,
)


def command(
    images: ImageNames,
    model: Model = None,
    top: Annotated[int, typer.Option(min=1, help="Number of classes listed per image.")] = 3,
    as_json: Json = False,
) -> None:
    """Recognise one character in each image.

    Images may be dark on light or light on dark, and of any size.
    """
    recognizer = open_recognizer(model)

    def answer(name: str, _: None) -> dict[str, Any]:
        recognition = recognizer.recognize(source_of(name))
        return {
            "image": name, "status": recognition.status, "label": recognition.label,
            "probability": recognition.probability,
            "top": [{"label": label, "probability": p} for label, p in recognition.top(top)],
        }  # fmt: skip

    answer_each([(name, None) for name in expand(images)], answer, _show, model=model,
                as_json=as_json)  # fmt: skip


def _show(answers: list[dict[str, Any]]) -> None:
    rows = []
    for answer in answers:
        if answer["status"] == "empty":
            rows.append((answer["image"], "", "", "no ink found"))
        elif answer["status"] != "error":
            others = answer["top"][answer["label"] is not None :]
            alternatives = "  ".join(f"{a['label']} {percent(a['probability'], 1)}" for a in others)
            confidence = percent(answer["probability"], 1)
            rows.append((answer["image"], answer["label"] or "?", confidence, alternatives))
    if rows:
        print_table(("image", "prediction", "confidence", "alternatives"), rows, "2")
