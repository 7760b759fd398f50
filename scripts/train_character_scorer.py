r"""Trains the character scorer (character_scorer.onnx) and fits the weights of the line reader.

    python scripts/train_character_scorer.py MODEL --scorer mnist emnist-letters-part \
        --weights emnist-digits-part

Lines are composed of the data sets' training images, their strokes made thinner, thicker and
softer, with a quarter of the gaps touching; whatever `inference.segments` may take for a character
is shown to a network with whether it is one. Then the weights of `inference.viterbi` are those that
make the right path through lines of another data set the likeliest, as MODEL reads them (maximum
likelihood of a semi-Markov random field): they are printed, to be copied there by style. The
pen-photos that evaluate_lines.py uses have no part in any of it. Ten minutes on two cores.
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

from composing import Composed, Ink, LineStyle, Pool, compose_line, cropped, drawn_pool, overlap
from penstroke import load_dataset
from penstroke.inference.character_lines import run_networks, scorer_inputs
from penstroke.inference.page_lines import Scale, find_page_lines
from penstroke.inference.recognizer import Recognizer
from penstroke.inference.segments import TextLine, around, split_lines, united
from penstroke.inference.viterbi import WEIGHTS, Step, all_features, possible_steps, posteriors
from penstroke.preprocessing.decoding import read_grey

_HARD = LineStyle(touching=0.25, narrow=0.3)
_ORDINARY = LineStyle(touching=0.1)
_BATCH = 256

Floats = npt.NDArray[np.float64]

_SCORER = Path("src/penstroke/inference/character_scorer.onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="model.onnx, or a run directory")
    parser.add_argument("--scorer", nargs="+", default=[], metavar="DATA_SET")
    parser.add_argument("--weights", metavar="DATA_SET")
    parser.add_argument("--lines", type=int, default=3000, help="composed of each data set")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    recognizer = Recognizer.load(options.model)
    if options.scorer:
        parts = [
            examples(recognizer, name, options.lines, k) for k, name in enumerate(options.scorer)
        ]
        inputs, is_whole = (np.concatenate(part) for part in zip(*parts, strict=True))
        write(train(inputs, is_whole, options.epochs), _SCORER)
    if options.weights:
        for name, weight in fit_weights(
            list(known_paths(recognizer, options.weights, 500))
        ).items():
            print(f'    "{name}": {weight:.2f},')


class CharacterScorer(nn.Module):
    """Three convolutions and a dense layer: (B, 2, 24, 32) uint8 to log odds (B,)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((2, width), (width, 2 * width), (2 * width, 3 * width)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(3 * width * 12, 32), nn.ReLU(), nn.Dropout(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(32, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the log odds (B,) that each of `inputs` shows one whole character."""
        odds: torch.Tensor = self.layers(inputs.float() / 255)[:, 0]
        return odds


def examples(
    recognizer: Recognizer, name: str, count: int, seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return scorer inputs of composed lines (B, 2, 24, 32), and whether each is whole (B,)."""
    pool = with_other_pens(pool_of(name, 4000), np.random.default_rng(seed))
    inputs, is_whole = [], []
    for number in range(count):
        composed = compose_line(pool, 10_000 * (seed + 1) + number, _HARD)
        page = sole_line(recognizer, composed)
        if page is None:
            continue
        line, scale = page
        steps = [step for step in possible_steps(line) if not step.is_dirt]
        shares = np.array([max(row) for row in overlaps(steps, scale, composed)])
        clear = (shares < 0.7) | (shares > 0.85)
        inputs.append(scorer_inputs(line, [united(step.segments) for step in steps])[clear])
        is_whole.append(shares[clear] > 0.85)
    return np.concatenate(inputs), np.concatenate(is_whole)


def train(
    inputs: npt.NDArray[np.uint8], is_whole: npt.NDArray[np.bool_], epochs: int
) -> CharacterScorer:
    """Return a scorer trained by AdamW under one cycle of learning rates."""
    torch.manual_seed(0)
    scorer = CharacterScorer()
    optimizer = torch.optim.AdamW(scorer.parameters(), weight_decay=0.01)
    steps = epochs * -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    images, targets = torch.from_numpy(inputs), torch.from_numpy(is_whole).float()
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.split(torch.randperm(len(images)), _BATCH):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                odds = scorer(images[batch])
            loss = nn.functional.binary_cross_entropy_with_logits(odds.float(), targets[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        print(f"epoch {epoch + 1}/{epochs}  loss {total / len(images):.4f}", flush=True)
    scorer.eval()
    return scorer


def write(scorer: CharacterScorer, path: Path) -> None:
    example = torch.zeros((2, 2, 24, 32), dtype=torch.uint8)
    torch.onnx.export(
        scorer, (example,), str(path), input_names=["views"], output_names=["log_odds"],
        dynamic_axes={"views": {0: "batch"}, "log_odds": {0: "batch"}}, dynamo=False,
    )  # fmt: skip


class KnownPath(NamedTuple):
    """A line's steps, the features of each (N, F), and the numbers of those that are right."""

    steps: Sequence[Step]
    features: Floats
    right: Sequence[int]


def known_paths(recognizer: Recognizer, name: str, count: int) -> Iterator[KnownPath]:
    """Yield the right paths through composed lines, where `segments` left one open."""
    pool = pool_of(name, 20_000)
    for seed in range(50_000, 50_000 + count):
        composed = compose_line(pool, seed, _ORDINARY)
        page = sole_line(recognizer, composed)
        if page is None:
            continue
        line, scale = page
        steps = possible_steps(line)
        right = right_path(steps, overlaps(steps, scale, composed), line)
        if right:
            (outputs,) = run_networks(recognizer, [(line, steps)])
            yield KnownPath(steps, all_features(steps, *outputs), right)


def right_path(
    steps: Sequence[Step], shares: Sequence[Sequence[float]], line: TextLine
) -> list[int]:
    """Return the path that makes each character in turn of what overlaps it most; [] if none."""
    count, characters = len(line.segments), len(shares[0])
    best = {(0, 0): (0.0, [])}  # type: dict[tuple[int, int], tuple[float, list[int]]]
    for number in sorted(range(len(steps)), key=lambda k: steps[k].after):
        step = steps[number]
        for done in range(characters + 1):
            if (step.first, done) not in best:
                continue
            value, path = best[step.first, done]
            if step.is_dirt:
                box = step.segments[0].box
                step_value, after = -0.01, done
                allowed = max(box.width, box.height) < 0.5 * line.height
            else:
                step_value = shares[number][done] if done < characters else 0.0
                after, allowed = done + 1, step_value > 0.6
            other = best.get((step.after, after), (-np.inf, []))
            if allowed and value + step_value > other[0]:
                best[step.after, after] = (value + step_value, [*path, number])
    return best.get((count, characters), (0.0, []))[1]


def fit_weights(known: Sequence[KnownPath]) -> dict[str, float]:
    """Return the weights under which the right paths are the likeliest, with a little decay."""

    def cost(weights: Floats) -> tuple[float, Floats]:
        total, slope = 1e-3 * float(weights @ weights), 2e-3 * weights
        for steps, features, right in known:
            scores = features @ weights
            probable, log_sum = posteriors(steps, scores)
            total += (log_sum - float(scores[right].sum())) / len(known)
            slope = slope + (probable @ features - features[right].sum(axis=0)) / len(known)
        return total, slope

    best = minimize(cost, np.array(list(WEIGHTS.values())), jac=True, method="L-BFGS-B")
    print(f"{len(known)} lines, cost {best.fun:.4f}")
    return dict(zip(WEIGHTS, map(float, best.x), strict=True))


def sole_line(recognizer: Recognizer, composed: Composed) -> tuple[TextLine, Scale] | None:
    lines, scale = find_page_lines(read_grey(composed.image), recognizer.ink)
    return (split_lines(lines)[0], scale) if len(lines) == 1 else None


def overlaps(steps: Sequence[Step], scale: Scale, composed: Composed) -> list[list[float]]:
    """Return how far each step covers each character of the line: (N, C)."""
    boxes = [scale.original(around(s.box for s in step.segments)) for step in steps]
    return [[overlap(box, right) for right in composed.boxes[0]] for box in boxes]


def pool_of(name: str, count: int) -> Pool:
    train = load_dataset(name).train
    labels = [train.classes[label] for label in train.labels[:count]]
    return drawn_pool(np.asarray(train.images[:count]), labels)


def with_other_pens(pool: Pool, random: np.random.Generator) -> Pool:
    """Return characters of other pens: a third thinner, a third thicker, all softer."""
    return {label: [_with_other_pen(ink, random) for ink in inks] for label, inks in pool.items()}


def _with_other_pen(ink: Ink, random: np.random.Generator) -> Ink:
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
