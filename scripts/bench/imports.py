"""Importing 100,000 images: images a second, and the memory of all its processes together."""

from __future__ import annotations

import io
import os
import resource
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import PENSTROKE, Figure, peak_megabytes, say
from PIL import Image

from penstroke.preprocessing.ink import preprocess

COUNT = 100_000
ALONE = 4_000


def measure(count: int = COUNT) -> list[Figure]:
    """Return the figures; a loop over `ink` alone goes before each import."""
    with tempfile.TemporaryDirectory() as folder:
        say(f"imports: composing {count:,} images")
        packed, loose = Path(folder, "many.zip"), Path(folder, "many")
        some = _compose(count, packed, loose)
        return [
            figure
            for what, source, workers, rate, most in (
                ("a zip", packed, 2, "≥ 1,500 /s", "< 1,000 MB"),
                ("a folder", loose, 2, "≥ 1,500 /s", "< 1,000 MB"),
                ("a zip, one worker", packed, 1, "", ""),
            )
            for figure in _figures(what, source, workers, (rate, most), some, count)
        ]


def _figures(
    what: str, source: Path, workers: int, goals: tuple[str, str], some: list[bytes], count: int
) -> list[Figure]:
    say(f"imports: {what}")
    alone = _alone(some)
    seconds, processor_seconds, megabytes = _import(source, workers)
    ratio = processor_seconds / count / alone
    return [
        Figure(f"{count:,} PNG of 30×30 from {what}", "/s", (count / seconds,), goals[0]),
        Figure("… processor time an image", "µs", (1e6 * processor_seconds / count,)),
        Figure("… to that of `ink` alone, in a loop", "×", (ratio,)),
        Figure("… memory of all its processes", "MB", (megabytes,), goals[1]),
    ]


def _compose(count: int, packed: Path, loose: Path) -> list[bytes]:
    """Write `count` photographed characters, each a little lighter or darker; return some."""
    some = []
    with zipfile.ZipFile(packed, "w") as archive:
        for number, (label, content) in enumerate(_varied(count)):
            name = f"{label}/{number:06d}.png"
            archive.writestr(name, content)
            (loose / name).parent.mkdir(parents=True, exist_ok=True)
            (loose / name).write_bytes(content)
            if number % (count // ALONE or 1) == 0:
                some.append(content)
    return some


def _varied(count: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(Path(os.environ["PENSTROKE_DATA"]) / "pen-photos.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        images = [(n.split("/")[0], Image.open(io.BytesIO(archive.read(n)))) for n in names]
        arrays = [(label, np.asarray(image.convert("RGBA"))) for label, image in images]
    for number in range(count):
        label, array = arrays[number % len(arrays)]
        varied = array.astype(np.int16)
        varied[..., :3] += number // len(arrays) - 8
        stream = io.BytesIO()
        Image.fromarray(varied.clip(0, 255).astype(np.uint8)).save(stream, "PNG", compress_level=1)
        yield label, stream.getvalue()


def _alone(some: list[bytes]) -> float:
    """Return the processor seconds that `ink` takes for one."""
    start = time.process_time()
    for content in some:
        preprocess(content)
    return (time.process_time() - start) / len(some)


def _import(source: Path, workers: int) -> tuple[float, float, float]:
    """Return (seconds, processor seconds, peak megabytes) of a whole import, page included.

    Memory that processes share counts once.

    Raises:
        RuntimeError: it failed.
    """
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as cache:
        command = ("data", "import", "bench", source, "--workers", workers, "--json")
        peak = peak_megabytes(PENSTROKE, *command, PENSTROKE_CACHE=cache)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, spent, peak
