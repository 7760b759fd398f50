"""`penstroke predict`: one character from each image."""

from pathlib import Path
from typing import Any

from penstroke.cli.console import percent, print_table
from penstroke.cli.image_arguments import IMAGES, MODEL, answer_each, expand, open_recognizer
from penstroke.cli.options import JSON, option


def command(
    images: list[str] = IMAGES,
    model: str = MODEL,
    top: int = option("Number of classes listed per image.", 3, min=1),
    as_json: bool = JSON,
) -> None:
    """Recognise one character in each image.

    Images may be dark on light or light on dark, and of any size.
    """
    recognizer = open_recognizer(model)

    def answer(name: str, source: bytes | Path) -> dict[str, Any]:
        recognition = recognizer.recognize(source)
        return {
            "image": name, "status": recognition.status, "label": recognition.label,
            "probability": recognition.probability,
            "top": [{"label": label, "probability": p} for label, p in recognition.top(top)],
        }  # fmt: skip

    answer_each(expand(images), answer, _show, model)


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
