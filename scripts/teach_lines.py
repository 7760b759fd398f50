"""Teaches the judge of pieces, and weighs its evidence: writes character_scorer.onnx.

python scripts/teach_lines.py MODEL --judge mnist emnist-letters-part --weigh emnist-digits-part

Lines are composed of the data sets' training images, their strokes made thinner, thicker and
softer, with a quarter of the gaps touching; all that `lines.pieces` may take for a character is
shown to a network with whether it is one. Then the weights of `lines.lattice` are those that make
the right way through lines of another data set the likeliest, as MODEL reads them (maximum
likelihood of a semi-Markov random field): they are printed, to be written there by hand.
Pen-photos, by which lines.py measures, have no part in any of it. Ten minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.optimize import minimize
from torch import nn

from composing import Composed, Hand, Ink, Pool, compose_line, cropped, drawn_pool, overlap
from penstroke import load_dataset
from penstroke.inference.character_scorer import views
from penstroke.inference.line_reader import View, ask, look
from penstroke.inference.recognizer import Recognizer
from penstroke.inference.segments import TextLine, around
from penstroke.inference.viterbi import WEIGHTS, Step, evidence, posteriors, steps_through
from penstroke.preprocessing.ink import read_grey

_HARD = Hand(touching=0.25, narrow=0.3)
_ORDINARY = Hand(touching=0.1)
_BATCH = 256

Floats = npt.NDArray[np.float64]

_SCORER = Path("src/penstroke/inference/character_scorer.onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="model.onnx, or a run directory")
    parser.add_argument("--judge", nargs="+", default=[], metavar="DATA_SET")
    parser.add_argument("--weigh", metavar="DATA_SET")
    parser.add_argument("--lines", type=int, default=3000, help="composed of each data set")
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    recognizer = Recognizer.load(asked.model)
    if asked.judge:
        shown = [show(recognizer, name, asked.lines, k) for k, name in enumerate(asked.judge)]
        seen, whole = (np.concatenate(parts) for parts in zip(*shown, strict=True))
        write(teach(seen, whole, asked.epochs), _SCORER)
    if asked.weigh:
        for name, weight in weigh(list(ways(recognizer, asked.weigh, 500))).items():
            print(f'    "{name}": {weight:.2f},')


class Judge(nn.Module):
    """Three convolutions and a dense layer: (B, 2, 24, 32) uint8 to log odds (B,)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((2, width), (width, 2 * width), (2 * width, 3 * width)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(3 * width * 12, 32), nn.ReLU(), nn.Dropout(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(32, 1))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the log odds that what is seen is one whole character."""
        odds: torch.Tensor = self.layers(seen.float() / 255)[:, 0]
        return odds


def show(
    recognizer: Recognizer, name: str, count: int, seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return what the judge sees of composed lines (B, 2, 24, 32), and whether it is whole (B,)."""
    pool = bent(pool_of(name, 4000), np.random.default_rng(seed))
    seen, whole = [], []
    for number in range(count):
        composed = compose_line(pool, 10_000 * (seed + 1) + number, _HARD)
        found = sole_line(recognizer, composed)
        if found is None:
            continue
        line, view = found
        steps = [step for step in steps_through(line) if not step.is_dirt]
        shares = np.array([max(row) for row in overlaps(steps, view, composed)])
        clear = (shares < 0.7) | (shares > 0.85)
        seen.append(views(line, [step.pieces for step in steps])[clear])
        whole.append(shares[clear] > 0.85)
    return np.concatenate(seen), np.concatenate(whole)


def teach(seen: npt.NDArray[np.uint8], whole: npt.NDArray[np.bool_], epochs: int) -> Judge:
    """Return a judge taught on what was seen, by AdamW under one cycle of rates."""
    torch.manual_seed(0)
    judge = Judge()
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=0.01)
    steps = epochs * -(-len(seen) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    images, targets = torch.from_numpy(seen), torch.from_numpy(whole).float()
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.split(torch.randperm(len(images)), _BATCH):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                odds = judge(images[batch])
            loss = nn.functional.binary_cross_entropy_with_logits(odds.float(), targets[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        print(f"epoch {epoch + 1}/{epochs}  loss {total / len(images):.4f}", flush=True)
    judge.eval()
    return judge


def write(judge: Judge, path: Path) -> None:
    example = torch.zeros((2, 2, 24, 32), dtype=torch.uint8)
    torch.onnx.export(
        judge, (example,), str(path), input_names=["views"], output_names=["log_odds"],
        dynamic_axes={"views": {0: "batch"}, "log_odds": {0: "batch"}}, dynamo=False,
    )  # fmt: skip


class Way(NamedTuple):
    """A line's steps, the evidence for each (N, E), and the numbers of those that are right."""

    steps: Sequence[Step]
    evidence: Floats
    right: Sequence[int]


def ways(recognizer: Recognizer, name: str, count: int) -> Iterator[Way]:
    """Yield the right ways through composed lines, where `segments` left one open."""
    pool = pool_of(name, 20_000)
    for seed in range(50_000, 50_000 + count):
        composed = compose_line(pool, seed, _ORDINARY)
        found = sole_line(recognizer, composed)
        if found is None:
            continue
        line, view = found
        steps = steps_through(line)
        right = right_way(steps, overlaps(steps, view, composed), line)
        if right:
            yield Way(steps, evidence(steps, *ask(recognizer, [(line, steps)])[0]), right)


def right_way(
    steps: Sequence[Step], shares: Sequence[Sequence[float]], line: TextLine
) -> list[int]:
    """Return the way that makes each character in turn of what overlaps it most; [] if none."""
    count, characters = len(line.pieces), len(shares[0])
    best = {(0, 0): (0.0, [])}  # type: dict[tuple[int, int], tuple[float, list[int]]]
    for number in sorted(range(len(steps)), key=lambda k: steps[k].after):
        step = steps[number]
        for done in range(characters + 1):
            if (step.first, done) not in best:
                continue
            value, way = best[step.first, done]
            if step.is_dirt:
                box = step.pieces[0].box
                step_value, after = -0.01, done
                allowed = max(box.width, box.height) < 0.5 * line.height
            else:
                step_value = shares[number][done] if done < characters else 0.0
                after, allowed = done + 1, step_value > 0.6
            there = best.get((step.after, after), (-np.inf, []))
            if allowed and value + step_value > there[0]:
                best[step.after, after] = (value + step_value, [*way, number])
    return best.get((count, characters), (0.0, []))[1]


def weigh(known: Sequence[Way]) -> dict[str, float]:
    """Return the weights under which the right ways are the likeliest, with a little decay."""

    def cost(weights: Floats) -> tuple[float, Floats]:
        total, slope = 1e-3 * float(weights @ weights), 2e-3 * weights
        for steps, found, right in known:
            values = found @ weights
            probable, log_sum = posteriors(steps, values)
            total += (log_sum - float(values[right].sum())) / len(known)
            slope = slope + (probable @ found - found[right].sum(axis=0)) / len(known)
        return total, slope

    best = minimize(cost, np.array(list(WEIGHTS.values())), jac=True, method="L-BFGS-B")
    print(f"{len(known)} lines, cost {best.fun:.4f}")
    return dict(zip(WEIGHTS, map(float, best.x), strict=True))


def sole_line(recognizer: Recognizer, composed: Composed) -> tuple[TextLine, View] | None:
    lines, view = look(read_grey(composed.image), recognizer)
    return (lines[0], view) if len(lines) == 1 else None


def overlaps(steps: Sequence[Step], view: View, composed: Composed) -> list[list[float]]:
    """Return how far each step covers each character of the line: (N, C)."""
    boxes = [view.original(around([piece.box for piece in step.pieces])) for step in steps]
    return [[overlap(box, right) for right in composed.boxes[0]] for box in boxes]


def pool_of(name: str, count: int) -> Pool:
    train = load_dataset(name).train
    labels = [train.classes[label] for label in train.labels[:count]]
    return drawn_pool(np.asarray(train.images[:count]), labels)


def bent(pool: Pool, random: np.random.Generator) -> Pool:
    """Return characters of other pens: a third thinner, a third thicker, all softer."""
    return {label: [_bent(ink, random) for ink in inks] for label, inks in pool.items()}


def _bent(ink: Ink, random: np.random.Generator) -> Ink:
    large = ndimage.zoom(np.pad(ink, 4), 2, order=1)
    size = int(random.integers(1, 4))
    change = (ndimage.grey_erosion, ndimage.grey_dilation, None)[random.integers(3)]
    pen = large if change is None else change(large, (size, size))
    soft = ndimage.gaussian_filter(pen, random.uniform(0, 1.5))
    if soft.max() < 0.5:  # a thin stroke was rubbed out
        soft = large
    return cropped((soft / soft.max()).clip(0, 1).astype(np.float32))


if __name__ == "__main__":
    main()
