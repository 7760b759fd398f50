"""Measure, and write docs/benchmarks.md and .json: `make bench`.

A part alone: `PYTHONPATH=scripts python scripts/bench waits`, and so on; the page keeps what was
measured before.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import busy
import form_piles
import growth
import imports
import lines
import recognition
import service
import speed
import waits
from measure import ROOT, Figure, say, table

import search
from penstroke.machine import allowed_cores, package_versions, processor_name

PARTS = (
    "waits",
    "speed",
    "busy",
    "search",
    "recognition",
    "lines",
    "forms",
    "service",
    "imports",
    "growth",
)
PAGE = ROOT / "docs" / "benchmarks.md"
KEPT = ROOT / "docs" / "benchmarks.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {PARTS}; all where none is named")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for part in asked.parts or PARTS:
        found[part] = {"machine": machine(), "sections": measure(part, asked.repeats)}
    KEPT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(found))
    say(f"wrote {PAGE}")
    print(page(found))
    return 0


def measure(part: str, repeats: int) -> dict[str, Any]:
    """Return the sections of one part: figures, and plots."""
    if part == "waits":
        sections = {"What a person waits for": waits.measure(repeats)}
    elif part == "speed":
        sections = {f"Speed: {n}": figures for n, figures in speed.measure(repeats).items()}
    elif part == "busy":
        sections = {"Speed: beside a busy core": busy.measure(min(3, repeats))}
    elif part == "search":
        sections = {"Search": search.measure(repeats)}
    elif part == "recognition":
        found = recognition.measure(repeats)
        sections = {f"Recognition: {name}": figures for name, figures in found.items()}
    elif part == "lines":
        found = lines.measure(repeats)
        sections = {f"Lines, {name}": figures for name, figures in found.items()}
    elif part == "forms":
        sections = {f"Forms: {name}": figures for name, figures in form_piles.measure().items()}
    elif part == "service":
        sections = {f"Service: {name}": figures for name, figures in service.measure().items()}
    elif part == "imports":
        sections = {"Importing images": imports.measure()}
    else:
        figures, plots = growth.measure()
        return {"How cost grows": {"figures": [f.to_dict() for f in figures], "plots": plots}}
    return {name: {"figures": [f.to_dict() for f in rows]} for name, rows in sections.items()}


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {"processor": processor_name(), "cores": allowed_cores(), **package_versions()}


def page(found: dict[str, Any]) -> str:
    """Return the page of all parts."""
    lines = [
        "# Benchmarks", "",
        "Written by `make bench`, with benchmarks.json beside it; do not edit. Whole processes are "
        "started from cold and timed from outside; contestants take turns within one run, and "
        "ratios are taken pair by pair. The machine is shared: trust ratios before seconds.", "",
    ]  # fmt: skip
    for part in PARTS:
        for title, section in found.get(part, {}).get("sections", {}).items():
            figures = [
                Figure(f["name"], f["unit"], tuple(f["values"]), f["goal"])
                for f in section["figures"]
            ]
            lines += [f"## {title}", "", *table(figures)]
            lines += [f"![{plot}]({plot})\n" for plot in section.get("plots", [])]
    made_on = next(iter(found.values()))["machine"] if found else machine()
    lines.append(
        f"Machine: {made_on['processor']}, {made_on['cores']} cores; Python {made_on['python']}, "
        f"torch {made_on['torch']}, ONNX Runtime {made_on['onnxruntime']}."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
