"""How well lines are read: 200 composed lines and pages of ten, from photographed characters.

python scripts/evaluate_lines.py MODEL [--characters upper_] [--count 200] [--json FILE]

MODEL reads lines, or single characters. The digits, or capitals, are those of pen-photos.zip under
PENSTROKE_DATA, of which no network has seen any. What a line is made of: 3 to 12 characters, each
within 15 % of one height (26 to 44 pixels), leaning by one slant of -15 to +25 degrees on top of
its own, on a baseline that slopes by up to 1.5 degrees. Of the gaps 5 in 100 let neighbours overlap
by 1 to 3 pixels, 20 are 0.06 to 0.15 heights, 10 are spaces of 0.9 to 1.6 heights, and 65 are 0.15
to 0.45 heights. Light falls by up to 30 % across the paper; there is sensor noise, up to 8 specks,
and up to 0.6 pixels of blur. The page adds a shadow, a turn of up to 2 degrees and perspective. All
of it is drawn from seeds: the same each time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image

from composing import Box, Composed, Pool, compose_line, compose_page, overlap, photo_pool
from penstroke.config.class_names import accepts
from penstroke.inference.character_lines import read_page
from penstroke.inference.line_reader import LineReader, load_model
from penstroke.inference.overlay import overlay_svg
from penstroke.inference.readings import PageReading
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.ink import DEFAULT_INK, normalize
from penstroke.runs.run import find_model

Model = Recognizer | LineReader

_SAME = 0.7
"""Two boxes that share so much of what both cover mark the same character."""


@dataclass
class Score:
    """Sums over lines."""

    lines: int = 0
    characters: int = 0
    errors: int = 0
    lines_right: int = 0
    count_right: int = 0
    spaces_right: int = 0
    boxes_right: int = 0
    touching: int = 0
    touching_separated: int = 0
    alone_right: int = 0
    wrong: int = 0
    wrong_flagged: int = 0
    right_flagged: int = 0

    def __iadd__(self, other: Score) -> Score:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self

    def shares(self) -> dict[str, float]:
        """Return what people want to know, as shares."""
        return {
            "characters right": 1 - self.errors / self.characters,
            "lines with the right number of characters": self.count_right / self.lines,
            "lines with every character right": self.lines_right / self.lines,
            "lines with the right number of spaces": self.spaces_right / self.lines,
            "boxes right": self.boxes_right / self.characters,
            "touching neighbours separated": self.touching_separated / max(self.touching, 1),
            "wrong characters that were flagged": self.wrong_flagged / max(self.wrong, 1),
            "right characters that were flagged": self.right_flagged / self.characters,
            "the same characters read alone": self.alone_right / self.characters,
        }


def main() -> None:
    options = _arguments()
    model = load_model(find_model(options.model))
    archive = Path(os.environ["PENSTROKE_DATA"]) / "pen-photos.zip"
    pool = photo_pool(archive, options.characters)
    lines, milliseconds = Score(), []
    for seed in range(options.first, options.first + options.count):
        composed = compose_line(pool, seed)
        begun = time.perf_counter()
        page = read(model, composed)
        milliseconds.append(1000 * (time.perf_counter() - begun))
        score = compare(page, composed)
        score.alone_right = read_alone(model, composed)
        lines += score
        if options.keep and not score.lines_right:
            keep(options.keep, f"line-{seed:03d}", composed, page)
    pages = read_pages(model, pool, options.pages, options.keep)
    figures = {
        "lines": lines.shares(),
        "touching neighbours": lines.touching,
        "pages of ten lines": pages.shares(),
        "median milliseconds a line": float(np.median(milliseconds)),
    }
    show(options, lines, pages)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def show(options: argparse.Namespace, lines: Score, pages: Score) -> None:
    """Print both scores side by side, in per cent."""
    print(f"{'':42}{options.count:>6} lines{options.pages:>6} pages of ten")
    page_shares = pages.shares()
    for name, share in lines.shares().items():
        print(f"{name:42}{100 * share:10.1f} %{100 * page_shares[name]:15.1f} %")


def read(model: Model, composed: Composed) -> PageReading:
    if isinstance(model, LineReader):
        return model.read_page(composed.image)
    return read_page(model, composed.image)


def read_pages(model: Model, pool: Pool, count: int, folder: Path | None) -> Score:
    score = Score()
    for seed in range(count):
        composed = compose_page(pool, seed)
        page = read(model, composed)
        score += compare(page, composed)
        score.alone_right += read_alone(model, composed)
        if folder:
            keep(folder, f"page-{seed}", composed, page)
    return score


def read_alone(model: Model, composed: Composed) -> int:
    """Return how many of the characters are read rightly where each is cut out perfectly.

    None, by a model that reads lines.
    """
    if isinstance(model, LineReader):
        return 0
    inks = [ink for inks in composed.inks for ink in inks]
    text = "".join(composed.text).replace(" ", "")
    rows = model.probabilities(np.stack([normalize(ink, model.ink).pixels for ink in inks]))
    labels = [model.classes[best] for best in rows.argmax(axis=1)]
    return sum(accepts(label, right) for label, right in zip(labels, text, strict=True))


def compare(page: PageReading, composed: Composed) -> Score:
    """Return how what was read of an image compares with what it was composed of."""
    score = _flags(page, composed)
    read = [line.text for line in page.lines]
    for number, text in enumerate(composed.text):
        answer = read[number] if number < len(read) else ""
        errors = distance(answer.replace(" ", ""), text.replace(" ", ""))
        is_found = [_is_found(box, page) for box in composed.boxes[number]]
        touching = composed.touching[number]
        separated = (here and is_found[k] and is_found[k - 1] for k, here in enumerate(touching))
        score += Score(
            lines=1,
            characters=len(is_found),
            errors=errors,
            lines_right=errors == 0,
            count_right=len(answer.replace(" ", "")) == len(is_found),
            spaces_right=answer.count(" ") == text.count(" "),
            boxes_right=sum(is_found),
            touching=sum(touching),
            touching_separated=sum(separated),
        )
    score.errors += sum(len(text.replace(" ", "")) for text in read[len(composed.text) :])
    return score


def _is_found(box: Box, page: PageReading) -> bool:
    return any(overlap(box, c.box) > _SAME for line in page.lines for c in line.characters)


def _flags(page: PageReading, composed: Composed) -> Score:
    """Return how many characters were read wrongly, and how many were marked as rejected."""
    labels = "".join(composed.text).replace(" ", "")
    boxes = [box for line in composed.boxes for box in line]
    score = Score()
    for character in (c for line in page.lines for c in line.characters):
        is_right = any(
            overlap(box, character.box) > 0.5 and accepts(character.label, label)
            for box, label in zip(boxes, labels, strict=True)
        )
        rejected = character.status == "rejected"
        score += Score(wrong=not is_right, wrong_flagged=rejected and not is_right,
                       right_flagged=rejected and is_right)  # fmt: skip
    return score


def distance(read: str, right: str) -> int:
    """Return the least number of characters to insert, delete or change (Levenshtein 1966)."""
    row = list(range(len(right) + 1))
    for number, character in enumerate(read, start=1):
        above, row = row, [number]
        for k, wanted in enumerate(right):
            row.append(min(above[k + 1] + 1, row[k] + 1, above[k] + (character != wanted)))
    return row[-1]


def keep(folder: Path, name: str, composed: Composed, page: PageReading) -> None:
    """Write the image, its overlay, and what it should be and was read as."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(composed.image).save(folder / f"{name}.png")
    svg = overlay_svg(page, composed.image, DEFAULT_INK)
    (folder / f"{name}.svg").write_text(svg, "utf-8")
    (folder / f"{name}.txt").write_text("\n".join([*composed.text, "", page.text, ""]), "utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="name, model.onnx, or a run directory")
    parser.add_argument("--characters", default="digit_", help="folders of the archive: upper_")
    parser.add_argument("--count", type=int, default=200, help="lines")
    parser.add_argument("--pages", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="what was read wrongly")
    return parser.parse_args()


if __name__ == "__main__":
    main()
