"""Forms: pages filled by program with unseen handwriting, as scans and photographs, read."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure import PENSTROKE, Figure, peak_megabytes, say

from filled_forms import Hand, fill, photographed, scanned
from form_precision import NUMBERS, printed, unseen
from penstroke.forms.description import Form
from penstroke.forms.layout import lay_out

PAGES = 100
"""Of each kind: scans at 200 dpi, and photographs of 4.3 megapixels."""
PRECISION = 0.999


def exam() -> Form:
    """Return an exam's sheet, with a number of nine digits twice: free, and of a list of 35."""
    fields = [
        {"name": "free", "type": "digits", "count": 9},
        {"name": "listed", "type": "digits", "count": 9, "values": NUMBERS},
        {"name": "day", "type": "date"},
        {"name": "group", "type": "choice", "options": ["A", "B", "C", "D"]},
        {"name": "parts", "type": "choices", "options": ["one", "two", "three"]},
        {"name": "code", "type": "digits", "count": 5, "required": False},
        {"name": "signature", "type": "signature"},
    ]
    return lay_out(Form.parse({"name": "bench", "fields": fields}))


def measure() -> dict[str, list[Figure]]:
    """Return the figures of scans and of photographs."""
    return {
        name: _measured(name, PAGES)
        for name in ("scans", "photographs")
    }  # fmt: skip


def _measured(name: str, count: int) -> list[Figure]:
    form, glyphs = exam(), unseen(1)["nist"]
    (blank,) = printed(form)
    truths: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "exam.toml").write_text(form.to_toml())
        (here / "pages").mkdir()
        say(f"forms: filling {count} {name}")
        for index in range(count):
            rng = np.random.default_rng((7, index))
            page, truth = fill(blank, form, 1, Hand(glyphs, rng), rng)
            seen = (scanned if name == "scans" else photographed)(page, rng)
            path = here / f"pages/{index}.jpg"
            cv2.imwrite(str(path), seen)
            truths[str(path)] = truth
        command = (PENSTROKE, "form", "read", here / "exam.toml", here / "pages", "-o",
                   here / "a.csv", "--precision", PRECISION, "--workers", 2, "--json")  # fmt: skip
        start = time.perf_counter()
        megabytes = peak_megabytes(*command)
        seconds = time.perf_counter() - start
        pages = json.loads((here / "a.json").read_text())["pages"]
    return [*_figures(pages, truths), Figure("pages read by two processes", "/s",
            (count / seconds,), "≥ 3"), Figure("… memory of all of them", "MB", (megabytes,),
            "≤ 500")]  # fmt: skip


def _figures(pages: list[dict[str, Any]], truths: dict[str, dict[str, str]]) -> list[Figure]:
    read = [page for page in pages if page["fields"]]
    answers = [
        (name, one, truths[page["source"]][name])
        for page in read for name, one in page["fields"].items()
    ]  # fmt: skip
    kept = [(one, truth) for _, one, truth in answers if one["status"] in ("accepted", "empty")]

    def right(only: str = "") -> float:
        some = [one["value"] == truth for name, one, truth in answers if only in ("", name)]
        return 100 * some.count(True) / max(len(some), 1)

    wrong = sum(one["value"] != truth for one, truth in kept)
    return [
        Figure(f"of {len(truths)} pages, registered", "%", (100 * len(read) / len(truths),), "100"),
        Figure(f"of {len(answers)} fields, right", "%", (right(),), "≥ 99"),
        Figure("numbers of nine digits, right", "%", (right("free"),), "≥ 91"),
        Figure("… of a list of 35", "%", (right("listed"),), "100"),
        Figure(f"accepted at {PRECISION}", "%", (100 * len(kept) / max(len(answers), 1),)),
        Figure("… and wrong", "fields", (float(wrong),), "0"),
    ]
