"""Importing 100,000 pictures: pictures a second, and the memory of all its processes together."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from measure import Figure, say
from PIL import Image

from penstroke.ink import read_glyph

COUNT = 100_000
ALONE = 4_000
_WATCH_SECONDS = 0.1


def measure(count: int = COUNT) -> list[Figure]:
    """Return the figures; a loop over `read_glyph` stands beside each import, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        say(f"imports: composing {count:,} pictures")
        packed, loose = Path(folder, "many.zip"), Path(folder, "many")
        some = _compose(count, packed, loose)
        figures = []
        for what, source, workers in (
            ("a zip", packed, 2), ("a folder", loose, 2), ("a zip, one worker", packed, 1),
        ):  # fmt: skip
            alone = _alone(some)
            say(f"imports: {what}")
            seconds, megabytes = _import(source, Path(folder, "cache"), workers)
            goals = ("≥ 1,500 /s", "< 1,000 MB") if workers == 2 else ("", "")
            figures += [
                Figure(f"{count:,} PNG of 30×30 from {what}", "/s", (count / seconds,), goals[0]),
                Figure(f"… to a bare loop over `ink`, one process: {alone:,.0f} /s", "×",
                       (count / seconds / alone,)),
                Figure("… memory of all its processes", "MB", (megabytes,), goals[1]),
            ]  # fmt: skip
        return figures


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
        pictures = [(n.split("/")[0], Image.open(io.BytesIO(archive.read(n)))) for n in names]
        arrays = [(label, np.asarray(image.convert("RGBA"))) for label, image in pictures]
    for number in range(count):
        label, array = arrays[number % len(arrays)]
        varied = array.astype(np.int16)
        varied[..., :3] += number // len(arrays) - 8
        stream = io.BytesIO()
        Image.fromarray(varied.clip(0, 255).astype(np.uint8)).save(stream, "PNG", compress_level=1)
        yield label, stream.getvalue()


def _alone(some: list[bytes]) -> float:
    start = time.perf_counter()
    for content in some:
        read_glyph(content)
    return len(some) / (time.perf_counter() - start)


def _import(source: Path, cache: Path, workers: int) -> tuple[float, float]:
    """Return (seconds, peak megabytes) of a whole import; memory shared by processes counts once.

    Raises:
        RuntimeError: it failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "penstroke", "data", "import", "bench", source, "--replace",
         "--workers", str(workers), "--json"],
        env=os.environ | {"PENSTROKE_CACHE": str(cache)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    root, peak = psutil.Process(process.pid), 0.0
    while process.poll() is None:
        peak = max(peak, _megabytes(root))
        time.sleep(_WATCH_SECONDS)
    if process.returncode:
        raise RuntimeError(f"the import of {source} failed")
    return time.perf_counter() - start, peak


def _megabytes(root: psutil.Process) -> float:
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss if sys.platform == "linux" else 0
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0.0
    return total / 1e6
