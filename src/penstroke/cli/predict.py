"""`penstroke predict`: one character from each image."""

from pathlib import Path
from typing import Any

from penstroke.cli.console import percent, print_table
from penstroke.cli.image_arguments import (
    CONFIDENCE_THRESHOLD,
    IMAGES,
    MODEL,
    PRECISION,
    answer_each,
    expand,
    open_recognizer,
)
from penstroke.cli.options import JSON, option


def command(
    images: list[str] = IMAGES,
    model: str = MODEL,
    top: int = option("Number of classes listed per image.", 3, min=1),
    precision: float | None = PRECISION,
    confidence_threshold: float | None = CONFIDENCE_THRESHOLD,
    as_json: bool = JSON,
) -> None:
    """Recognise one character in each image.

    Images may be dark on light or light on dark, and of any size.
    """
    recognizer = open_recognizer(model, confidence_threshold, precision)

    def answer(name: str, source: bytes | Path) -> dict[str, Any]:
        recognition = recognizer.recognize(source)
        return {
            "image": name, "status": recognition.status, "label": recognition.label,
            "rejection_reason": recognition.rejection_reason,
            "probability": recognition.probability,
            "top": [{"label": label, "probability": p} for label, p in recognition.top(top)],
        }  # fmt: skip

    answer_each(expand(images), answer, _show, model)


def _show(answers: list[dict[str, Any]]) -> None:
    rows = []
    for answer in answers:
        if answer["status"] == "error":
            continue
        others = [(one["label"], percent(one["probability"], 1)) for one in answer["top"]]
        match answer["rejection_reason"]:
            case _ if answer["status"] == "empty":
                note = "no ink found"
            case "several_characters":
                note = "several characters: use penstroke read"
            case "too_faint":
                note = "too faint to be read"
            case "ambiguous":
                note = "ambiguous: " + " or ".join(f"{label} {p}" for label, p in others[:2])
            case "not_a_known_character":
                note = "not a known character"
            case _:
                note = "  ".join(f"{label} {p}" for label, p in others[1:])
        is_read = answer["probability"] > 0
        confidence = percent(answer["probability"], 1) if is_read else ""
        rows.append((answer["image"], answer["label"] or "?" * is_read, confidence, note))
    if rows:
        print_table(("image", "prediction", "confidence", "alternatives"), rows, "2")
