"""Recognition: images a second, from files and from arrays, beside the two obvious other ways."""

from __future__ import annotations

import io
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measure import PENSTROKE, ROOT, Figure, run_process, say, trained_model
from PIL import Image

from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.decoding import read_grey
from penstroke.preprocessing.ink import find_ink, normalize, preprocess

Pixels = npt.NDArray[np.uint8]
Images = Sequence[Any] | Pixels
Way = Callable[[Any], object]

COUNT, BATCH = 600, 100
PHOTO = (900, 1200)
PHOTOS = 24


def measure(repeats: int) -> dict[str, list[Figure]]:
    """Return the figures; contestants take turns within a round, ratios are of one round."""
    with tempfile.TemporaryDirectory() as folder:
        run = trained_model(folder, "recognition")
        files = _digits_of_photos()
        arrays = [np.asarray(Image.open(io.BytesIO(f)).convert("L")) for f in files]
        recognizer = Recognizer.load(run)
        ready = np.stack([preprocess(array).pixels for array in arrays])
        eager = _eager(run)
        return {
            "one at a time": _in_turn(
                repeats, "one at a time", files, arrays, ready, recognizer, eager, batch=1
            ),
            f"{BATCH} at a time": _in_turn(
                repeats, f"{BATCH} at a time", files, arrays, ready, recognizer, eager, batch=BATCH
            ),
            "where the time goes": _shares(repeats, files, recognizer),
            "ink alone": _ink(repeats, ready),
            "cold start": _cold(repeats, run),
        }


def _digits_of_photos() -> list[bytes]:
    """Return PNG files of photographed digits, about 30×30."""
    with zipfile.ZipFile(Path(os.environ["PENSTROKE_DATA"]) / "pen-photos.zip") as archive:
        names = sorted(n for n in archive.namelist() if "digit_" in n and n.endswith(".png"))
        return [archive.read(name) for name in names[:COUNT]]


def _eager(run: Path) -> Callable[[Pixels], object]:
    """Return the same network as PyTorch runs it eagerly: images (B, 28, 28) to probabilities."""
    import torch

    from penstroke.runs.run import Run
    from penstroke.runs.trained import load_network

    network = load_network(Run.open(run)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def probabilities(pixels: Pixels) -> object:
        images = torch.from_numpy(pixels).unsqueeze(1).float() / 255
        return torch.softmax(network(images), 1).numpy()

    return probabilities


def _in_turn(
    repeats: int, how: str, files: list[bytes], arrays: list[Pixels], ready: Pixels,
    recognizer: Recognizer, eager: Callable[[Pixels], object], batch: int,
) -> list[Figure]:  # fmt: skip
    def with_torch(images: Sequence[Any]) -> object:
        return eager(np.stack([preprocess(image).pixels for image in images]))

    ways: dict[str, tuple[Way, Images]] = {
        "Recognizer, PNG files": (lambda p: recognizer.recognize(list(p)), files),
        "Recognizer, arrays": (lambda p: recognizer.recognize(list(p)), arrays),
        "eager PyTorch after `ink`, arrays": (with_torch, arrays),
        "plain ONNX Runtime, preprocessed images": (
            lambda p: recognizer.probabilities(np.asarray(p)),
            ready,
        ),
        "eager PyTorch, preprocessed images": (lambda p: eager(np.asarray(p)), ready),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        say(f"recognition: {how}, round {repeat} of {repeats}")
        for name, (way, images) in ways.items():
            rates[name].append(_rate(way, images, batch))
    # The first round found cold caches.
    figures = [Figure(f"{n}, {how}", "/s", tuple(r[1:])) for n, r in rates.items()]
    pairs = (
        ("Recognizer, arrays", "eager PyTorch after `ink`, arrays"),
        ("plain ONNX Runtime, preprocessed images", "eager PyTorch, preprocessed images"),
    )
    for ours, other in pairs:
        ratios = tuple(a / b for a, b in zip(rates[ours][1:], rates[other][1:], strict=True))
        figures.append(Figure(f"{ours}, to {other}, {how}", "×", ratios))
    return figures


def _rate(way: Way, images: Images, batch: int) -> float:
    start = time.perf_counter()
    for first in range(0, len(images), batch):
        way(images[first : first + batch])
    return len(images) / (time.perf_counter() - start)


def _shares(repeats: int, files: list[bytes], recognizer: Recognizer) -> list[Figure]:
    """Return what share of an image's time decoding, ink and network take, one at a time."""
    shares: dict[str, list[float]] = {"decoding": [], "ink": [], "network": []}
    for _ in range(repeats):
        spent = dict.fromkeys(shares, 0.0)
        for file in files:
            times = [time.perf_counter()]
            grey = read_grey(file)
            times.append(time.perf_counter())
            preprocessed = normalize(find_ink(grey))
            times.append(time.perf_counter())
            recognizer.probabilities(preprocessed.pixels[None])
            times.append(time.perf_counter())
            for name, taken in zip(spent, np.diff(times).tolist(), strict=True):
                spent[name] += taken
        for name, taken in spent.items():
            shares[name].append(100 * taken / sum(spent.values()))
    return [Figure(f"{name} of a PNG of 30×30", "%", tuple(s)) for name, s in shares.items()]


def _ink(repeats: int, digits: Pixels) -> list[Figure]:
    photos = [_photographed(digit, seed) for seed, digit in enumerate(digits[:PHOTOS])]
    colour = [np.repeat(photo[..., None], 3, axis=2) for photo in photos]
    kinds: dict[str, tuple[Sequence[Pixels], str]] = {
        "28×28": (list(digits), "≥ 5,000 /s"),
        "1,200×900, grey": (photos, "≥ 150 /s"),
        "1,200×900, colour": (colour, "≥ 150 /s"),
    }
    figures = []
    for name, (images, goal) in kinds.items():
        rates = [_rate(lambda p: preprocess(p[0]), images, 1) for _ in range(repeats + 1)]
        figures.append(Figure(f"`ink` on {name}, one core", "/s", tuple(rates[1:]), goal))
    return figures


def _photographed(digit: Pixels, seed: int) -> Pixels:
    """Return a character as a large photo: dark on paper under light from one side, with noise."""
    random = np.random.default_rng(seed)
    side = min(PHOTO)
    enlarged = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.zeros(PHOTO, np.float32)
    ink[:, :side] = np.asarray(enlarged, np.float32) / 255
    light = np.linspace(random.uniform(0.5, 0.9), 1, PHOTO[1], dtype=np.float32)
    photo = 0.9 * light * (1 - 0.7 * ink) + random.normal(0, 0.015, PHOTO)
    return np.asarray(photo.clip(0, 1) * 255, np.uint8)


def _cold(repeats: int, run: Path) -> list[Figure]:
    say("recognition: cold starts")
    command = (PENSTROKE, "predict", ROOT / "examples" / "seven.png", "--model", run)
    seconds = [run_process(*command).seconds for _ in range(repeats + 1)]
    return [Figure("`penstroke predict` of one image, whole process", "s", tuple(seconds[1:]))]
