"""Measures how often fields are right, and writes `field_kinds.json`: what `--precision` promises.

Forms are filled by program (`filled_forms.py`) with characters that no bundled model was trained
on, scanned or photographed by program, registered and read. Thresholds are chosen on one half of
the characters, by writer where the writer is known, and reported on the other.

    python scripts/form_precision.py collect choose.jsonl --half 0 --pages 60 --seed 1
    python scripts/form_precision.py choose choose.jsonl
    python scripts/form_precision.py report report.jsonl
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pypdfium2

import penstroke.forms
from filled_forms import SCALE, Glyphs, Hand, fill, photographed, scanned
from penstroke.errors import FormPageError
from penstroke.files import data_root, write_text_atomically
from penstroke.forms.boxed_text import number_of
from penstroke.forms.description import Form
from penstroke.forms.field_reading import FieldReader
from penstroke.forms.layout import lay_out
from penstroke.forms.page_images import Grey
from penstroke.forms.precision import DEFAULT_PRECISION, Promise, clopper_pearson_low, kind_of
from penstroke.forms.printing import print_form
from penstroke.forms.registration import RegisteredPage, register, whitened
from penstroke.preprocessing.ink import preprocess

KINDS = Path(penstroke.forms.__file__).with_name("field_kinds.json")
FEWEST_ERRORS = 10
"""That calibration takes: fewer say nothing of unlikely values, which only odd paper has."""
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
Halves = list[npt.NDArray[np.uint8]]
NUMBERS = [f"{1_000_003 * k % 900_000_000 + 100_000_000}" for k in range(1, 36)]
"""Thirty-five numbers of nine digits, as of a class."""
NAMES = ["ALMEIDA", "BAUER", "CHEN", "DIALLO", "ESPINOZA", "FISCHER", "GARCIA", "HASSAN", "IVANOV",
         "JENSEN", "KOWALSKI", "LEHMANN", "MUELLER", "NAKAMURA", "OKAFOR", "PATEL", "QUINN",
         "ROSSI", "SCHMIDT", "TANAKA", "UYAR", "VARGA", "WEBER", "YILMAZ", "ZHANG"]  # fmt: skip


def measured_form(*, is_dense: bool = False) -> Form:
    """Return a form of all kinds of fields; a dense one, of those of which thousands are needed."""
    fields: list[dict[str, Any]] = []
    if is_dense:
        fields += [{"type": "digits", "count": 9, "required": k % 6 > 0} for k in range(48)]
        fields += [{"type": "date"} for _ in range(24)]
        fields += [{"type": "digits", "count": 9, "values": NUMBERS} for _ in range(96)]
        fields += [{"type": "choice", "required": k % 3 > 0, "options": [*"ABCD"]}
                   for k in range(60)]  # fmt: skip
        fields += [{"type": "choices", "options": [*"ABCD"]} for _ in range(18)]
        return _laid_out(fields)
    for k, count in enumerate((9, 4, 6, 9, 3, 9, 5, 8, 7, 2, 9, 6)):
        fields.append({"type": "digits", "count": count, "required": k % 4 != 3})
    fields += [{"type": "date"} for _ in range(8)]
    fields += [{"type": "digits", "count": 9, "values": NUMBERS} for _ in range(8)]
    fields += [{"type": "letters", "count": 8, "values": NAMES} for _ in range(4)]
    fields += [{"type": "letters", "count": count} for count in (6, 10, 5, 8)]
    for k in range(10):
        fields.append({"type": "choice", "required": False, "options": [*"ABCDEF"[: 2 + k % 5]]})
    fields += [{"type": "choices", "options": [*"ABCD"]} for _ in range(4)]
    fields += [{"type": "number", "least": 0, "greatest": 999} for _ in range(6)]
    fields += [{"type": "signature"} for _ in range(2)]
    return _laid_out(fields)


def _laid_out(fields: list[dict[str, Any]]) -> Form:
    named = [{"name": f"field{k}", **field} for k, field in enumerate(fields)]
    return lay_out(Form.parse({"name": "measured", "fields": named}))


def unseen(half: int) -> dict[str, Glyphs]:
    """Return characters that no bundled model was trained on, by source; `half` is 0 or 1.

    MNIST's test digits by writer, EMNIST's test letters, and one person's photographed characters,
    which are of another country and another pen.
    """
    root = data_root()
    images, labels = (
        _idx(root / f"mnist/t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
    )
    writers = _idx(root / "mnist-writers-test-labels-idx2-int.gz")[: len(labels), 2]
    is_half = writers % 2 == half
    nist = _by_label(images[is_half], [str(label) for label in labels[is_half]])
    part = root / "emnist-part/emnist-letters-part-test"
    letters, labels = (
        _idx(Path(f"{part}-{kind}-ubyte.gz")) for kind in ("images-idx3", "labels-idx1")
    )
    letters, labels = letters[half::2].transpose(0, 2, 1), labels[half::2]
    nist |= _by_label(letters, [chr(64 + int(label)) for label in labels])
    return {"nist": nist, "pen-photos": _pen_photos(root / "pen-photos.zip", half)}


def _idx(path: Path) -> npt.NDArray[Any]:
    content = gzip.decompress(path.read_bytes())
    kind, rank = content[2], content[3]
    shape = np.frombuffer(content, ">i4", rank, 4)
    values = np.frombuffer(content, {8: ">u1", 12: ">i4"}[kind], offset=4 + 4 * rank)
    return values.reshape(shape)


def _by_label(images: npt.NDArray[Any], labels: Sequence[str]) -> dict[str, npt.NDArray[np.uint8]]:
    names = np.array(labels)
    return {str(name): images[names == name] for name in np.unique(names)}


def _pen_photos(path: Path, half: int) -> dict[str, npt.NDArray[np.uint8]]:
    found = defaultdict(list)
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        for name in sorted(name for name in names if "lower_" not in name)[half::2]:
            image = preprocess(archive.read(name))
            if not image.is_blank:
                found[Path(name).parent.name[-1]].append(image.pixels)
    return {name: np.stack(images) for name, images in found.items()}


def printed(form: Form) -> list[Grey]:
    """Return the printed pages of `form`, `SCALE` pixels a millimetre."""
    with tempfile.TemporaryDirectory() as folder:
        print_form(form, path := Path(folder) / "form.pdf")
        return [
            np.asarray(page.render(scale=SCALE * 25.4 / 72).to_pil().convert("L"))
            for page in pypdfium2.PdfDocument(path)
        ]


def read_fields(
    form: Form, glyphs: Mapping[str, Glyphs], count: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield what was read of each field of `count` pages, and whether it is right."""
    blank, reader = printed(form), FieldReader(form, Promise(0.999, {}))  # uncalibrated
    sources = [*glyphs]
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        source = sources[1 if index % 5 == 4 else 0]
        number = index % form.page_count + 1
        page, truth = fill(blank[number - 1], form, number, Hand(glyphs[source], rng), rng)
        try:
            registered = _seen(page, form, number, rng)
        except FormPageError as error:
            yield {"kind": "page", "source": source, "right": False, "detail": str(error)}
            continue
        yield {"kind": "page", "source": source, "right": True}
        for name, answer in reader.read(registered).items():
            field = next(field for field in form.fields if field.name == name)
            yield {
                "kind": kind_of(field), "type": field.type, "source": source, "truth": truth[name],
                "value": answer.value, "p": answer.probability,
                "right": _same(field.type, answer.value, truth[name]),
            }  # fmt: skip


def _seen(page: Grey, form: Form, number: int, rng: np.random.Generator) -> RegisteredPage:
    """Return a page as it is registered: of four, one is scanned, one photographed, two moved.

    Those are only blurred, and off by as much as registration is; that is twenty times as fast.
    """
    kind = rng.integers(4)
    if kind < 2:
        return register((scanned, photographed)[kind](page, rng), form)
    shift = np.array([[1, 0, rng.normal(0, 1.2)], [0, 1, rng.normal(0, 1.2)]])
    moved = cv2.warpAffine(page, shift, page.shape[::-1], borderValue=255)
    blurred = cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.6, 1.6))
    return RegisteredPage(whitened(np.asarray(blurred, np.uint8)), number, None, 0.0)


def _same(kind: str, value: str, truth: str) -> bool:
    is_number = kind == "number" and bool(value and truth)
    return value == truth or (is_number and number_of(value) == number_of(truth))


def collect(path: Path, half: int, pages: int, seed: int, *, is_dense: bool) -> None:
    """Write a line of JSON for each field that was read."""
    form = measured_form(is_dense=is_dense)
    start = time.perf_counter()
    with path.open("w") as stream:
        for answer in read_fields(form, unseen(half), pages, seed):
            stream.write(json.dumps(answer) + "\n")
            stream.flush()
    print(f"{pages} pages, {time.perf_counter() - start:.0f} s")


def answers(paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Return what was read, by kind."""
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in paths:
        for line in path.read_text().splitlines():
            by_kind[(answer := json.loads(line))["kind"]].append(answer)
    return by_kind


def choose(paths: Sequence[Path]) -> None:
    """Write the calibration and the operating points of each kind; to be read uncalibrated."""
    kinds = {}
    for kind, read in sorted(answers(paths).items()):
        if kind == "page":
            continue
        p, right = np.array([one["p"] for one in read]), np.array([one["right"] for one in read])
        is_enough = (~right).sum() >= FEWEST_ERRORS
        slope, intercept = _platt(p, right) if is_enough else (1.0, 0.0)
        odds = np.log(np.clip(p, 1e-12, 1 - 1e-12) / (1 - np.clip(p, 1e-12, 1 - 1e-12)))
        calibrated = np.where(p > 0, 1 / (1 + np.exp(-(slope * odds + intercept))), p)
        kinds[kind] = {
            "slope": round(slope, 4), "intercept": round(intercept, 4),
            "points": [*_points(calibrated, right)],
        }  # fmt: skip
    write_text_atomically(KINDS, json.dumps(kinds, indent=1) + "\n")


def _platt(p: npt.NDArray[Any], right: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the slope and intercept of log-odds, by Newton's method with Platt's targets."""
    p = np.clip(p, 1e-12, 1 - 1e-12)
    x = np.stack([np.log(p / (1 - p)), np.ones(len(p))], axis=1)
    target = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(100):
        share = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        curvature = (x * (share * (1 - share))[:, None]).T @ x + 1e-3 * np.eye(2)
        gradient = x.T @ (target - share) - 1e-3 * (weights - (1.0, 0.0))
        weights = weights + np.clip(np.linalg.solve(curvature, gradient), -0.5, 0.5)
    return float(weights[0]), float(weights[1])


def _points(p: npt.NDArray[Any], right: npt.NDArray[Any]) -> Iterator[dict[str, float]]:
    """Yield the lowest threshold that each of `TARGETS` is shown with.

    Where nothing was wrong, that would be any: a field whose own risk is ten times what is promised
    is never accepted, nor one that is more likely wrong than right.
    """
    order = np.argsort(-p, kind="stable")
    p, right = p[order], right[order]
    wrong = np.cumsum(~right)
    ends = np.flatnonzero(np.diff(p, append=-1) < 0)  # as likely ones are accepted together
    lows = [clopper_pearson_low(int(end + 1 - wrong[end]), int(end + 1)) for end in _sparse(ends)]
    shown = dict(zip(_sparse(ends), lows, strict=True))
    for target in TARGETS:
        least = max(0.5, 1 - 10 * (1 - target))
        enough = [end for end, low in shown.items() if low >= target and p[end] >= least]
        if enough:
            end = max(enough)
            yield {
                "precision": target, "threshold": math.floor(1e9 * p[end]) / 1e9,
                "accepted": int(end + 1), "errors": int(wrong[end]),
                "answered": round(float((end + 1) / len(p)), 4),
            }  # fmt: skip


def _sparse(ends: npt.NDArray[Any]) -> list[int]:
    """Return `ends` with at most 400 of them, and the last."""
    return sorted({*ends[:: max(1, len(ends) // 400)].tolist(), int(ends[-1])})


def report(paths: Sequence[Path], precision: float) -> None:
    """Print how many fields are right, and wrong among the accepted, by kind and source."""
    print(f"| field | hand | fields | right | accepted at {precision:g} | wrong among them |")
    print("|---|---|---:|---:|---:|---:|")
    promise = Promise(precision)
    for kind, read in sorted(answers(paths).items()):
        for source in sorted({one["source"] for one in read}):
            these = [one for one in read if one["source"] == source]
            right = sum(one["right"] for one in these)
            kept = [
                one
                for one in these
                if kind != "page" and promise.accepts(kind, promise.calibrated(kind, one["p"]))
            ]
            wrong = sum(not one["right"] for one in kept)
            print(f"| {kind} | {source} | {len(these)} | {100 * right / len(these):.2f} % | "
                  f"{100 * len(kept) / len(these):.1f} % | {wrong} |")  # fmt: skip


def main() -> None:
    """Run one of the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("collect", "choose", "report"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--half", type=int, default=0)
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", type=float, default=DEFAULT_PRECISION)
    parser.add_argument("--dense", action="store_true")
    arguments = parser.parse_args()
    if arguments.step == "collect":
        collect(arguments.paths[0], arguments.half, arguments.pages, arguments.seed,
                is_dense=arguments.dense)  # fmt: skip
    elif arguments.step == "choose":
        choose(arguments.paths)
    else:
        report(arguments.paths, arguments.precision)


if __name__ == "__main__":
    main()
