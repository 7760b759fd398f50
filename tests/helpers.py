"""Small things that tests share: configurations, images, waiting, runs that are trained once."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from penstroke.config.settings import (
    CNNConfig,
    Convolution,
    DataConfig,
    Dense,
    RunConfig,
    TrainConfig,
)
from penstroke.files import sha256
from penstroke.runs.run import Run

MADE_ONCE = "PENSTROKE_TESTS_MADE_ONCE"
"""The environment variable with the folder that all workers of a test session share."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    exit_code: int
    out: str
    err: str


DAMAGE = (b"", b"\0\xff\xfe damaged\n{}\n", b"[" * 50_000 + b"\n\n", b"1" * 5000 + b"\n\n", None)
"""What a text file may hold after an accident; None: a folder is in its place."""


def spoil(file: Path, damage: bytes | None) -> None:
    """Replace `file` by `damage`."""
    file.unlink()
    if damage is None:
        file.mkdir()
    else:
        file.write_bytes(damage)


def encode_idx(array: npt.NDArray[np.uint8]) -> bytes:
    """Return `array` as the bytes of a plain IDX file."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


SMALL_CNN = CNNConfig(
    convolutions=(Convolution(filters=8, padding=1, pool=2, batch_norm=True),),
    dense=(Dense(units=16, dropout=0.2),),
)


def small_config(**train: object) -> RunConfig:
    """A run on digits that takes a fraction of a second an epoch, with all that draws at random."""
    settings = {"epochs": 3, "precision": "float32", "threads": 1, "learning_rate": 3e-3, **train}
    return RunConfig(
        data=DataConfig(dataset="digits", max_train_images=400),
        model=SMALL_CNN,
        train=TrainConfig.parse(settings),
    )


PLAIN_PAPER = dict.fromkeys(
    ("neighbours", "texture", "patterned_paper", "ruled_lines", "frames", "stamps",
     "low_resolution", "blur", "noise", "compression", "blank", "joined_zeros", "stroke_width",
     "slant_degrees"), 0.0,
)  # fmt: skip


def line_config(**train: object) -> RunConfig:
    """A line reader of plain numbers that learns to read some of them in seconds."""
    return RunConfig.parse({
        "data": {"dataset": "synthetic"},
        "model": {
            "architecture": "crnn", "filters": [8, 12, 12, 12, 16, 16], "context": 3, "dropout": 0.0
        },
        "synthesis": {
            "characters": "digits", "lines_per_epoch": 256, "least_height": 0.8,
            "least_contrast": 0.9, "gap": 0.2, **PLAIN_PAPER,
        },
        "train": {
            "epochs": 16, "batch_size": 16, "learning_rate": 1e-2, "schedule": "one_cycle",
            "optimizer": "adamw", "max_gradient_norm": 0.5, "precision": "float32", "threads": 1,
            **train,
        },
    })  # fmt: skip


def scrawl(seed: int, size: int = 40) -> bytes:
    """A PNG of five strokes, dark on light: no two seeds alike."""
    from PIL import Image, ImageDraw

    points = np.random.default_rng(seed).integers(size // 10, size - size // 10, (6, 2))
    image = Image.new("L", (size, size), 240)
    ImageDraw.Draw(image).line([tuple(map(int, p)) for p in points], 20, max(2, size // 14))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def write_scrawls(folder: Path, counts: dict[str, int], first: int = 0) -> None:
    """Write so many scrawls into a folder a class, all of them different."""
    seed = first
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / label / f"{number:03d}.png").write_bytes(scrawl(seed))
            seed += 1


def random_images(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)


def write_idx_set(folder: Path, *, prefix: str = "", classes: int = 3, offset: int = 0) -> None:
    """Write the four files of a small IDX data set, plain."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 30), ("test", 12)):
        labels = (np.arange(count) % classes + offset).astype(np.uint8)
        images = random_images(count, seed=count)
        (folder / f"{prefix}{split}-images-idx3-ubyte").write_bytes(encode_idx(images))
        (folder / f"{prefix}{split}-labels-idx1-ubyte").write_bytes(encode_idx(labels))


def drawn_digit(size: int = 200, *, ink: int = 20, paper: int = 235) -> npt.NDArray[np.uint8]:
    """A 7 drawn with a pen of a twelfth of the size."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (size, size), paper)
    points = [(0.3 * size, 0.25 * size), (0.7 * size, 0.25 * size), (0.45 * size, 0.8 * size)]
    ImageDraw.Draw(image).line(points, fill=ink, width=size // 12, joint="curve")
    return np.asarray(image)


STOPPING_IMPORT = """
import signal, sys
from penstroke.cli.main import main
from penstroke.data import shards
load, wanted, loaded = shards.load_shard, int(sys.argv.pop(1)), []
def load_and_stop(job):
    shard = load(job)
    loaded.extend([job] if shard else [])
    if len(loaded) == wanted:
        print("stopped", file=sys.stderr, flush=True)
        signal.pause()
    return shard
shards.load_shard = load_and_stop
main()
"""


_STARTED: list[subprocess.Popen[Any]] = []


def start(command: Sequence[object], **options: Any) -> subprocess.Popen[Any]:
    """Start a command, which is killed at the latest when the test ends."""
    _STARTED.append(subprocess.Popen(list(map(str, command)), **options))
    return _STARTED[-1]


def kill_what_was_started() -> None:
    while _STARTED:
        process = _STARTED.pop()
        process.kill()  # nothing, where it has ended
        process.wait()
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


def start_import(*arguments: object, stops_after: int) -> subprocess.Popen[str]:
    """Return `penstroke data import`, which has stopped, and waits, with so many shards."""
    command = [sys.executable, "-c", STOPPING_IMPORT, stops_after, "data", "import", *arguments]
    process = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "stopped\n" in iter(process.stderr.readline, "")
    return process


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C on a command; it says that the same command resumes, and nothing else."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command resumes" in err
    assert "Traceback" not in err


def wait_until(condition: Callable[[], object], *, seconds: float = 300) -> None:
    """Return once `condition` is true; fail if it is not within `seconds`.

    The deadline only keeps a broken test from hanging: no test may depend on its length.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still false after {seconds:g} s"
        time.sleep(0.005)


async def until(condition: Callable[[], object], *, seconds: float = 300) -> None:
    """Return once `condition` is true, as `wait_until` does, and let other tasks run meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still false after {seconds:g} s"
        await asyncio.sleep(0.005)


def made_once(name: str, make: Callable[[], object]) -> Path:
    """Return a folder of runs that `make` fills, called by the first worker that asks for it.

    `make` sees the folder as PENSTROKE_RUNS. The folder belongs to all: copy what a test changes.
    """
    folder = Path(os.environ[MADE_ONCE]) / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    complete = folder.with_name(f"{folder.name}.complete")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PENSTROKE_RUNS", str(folder))
                make()
            complete.touch()
    return folder


def copy_made_once(name: str, make: Callable[[], object]) -> Path:
    """Copy what `make` fills a folder of runs with into this test's runs; return those."""
    source, runs = made_once(name, make), Path(os.environ["PENSTROKE_RUNS"])
    shutil.copytree(source, runs, dirs_exist_ok=True)
    for path in runs.rglob("summary.json"):  # holds absolute paths
        path.write_text(path.read_text().replace(str(source), str(runs)))
    return runs


def trained_run(
    config: RunConfig | None = None,
    *,
    stem: str = "small",
    name: str | None = None,
    report: bool = False,
) -> Run:
    """Return a finished run among this test's runs: trained once in a session, and copied."""
    config = config or small_config()

    def make() -> None:
        from penstroke.files import runs_root
        from penstroke.runs.pipeline import start_or_resume

        path = runs_root() / name if name else None
        training = start_or_resume(config, stem=stem, path=path)
        for _ in training.epochs():
            pass
        training.finish(report=report)

    key = sha256(repr((config.to_dict(), stem, name, report)).encode())[:16]
    runs = copy_made_once(f"run-{key}", make)
    (made,) = made_once(f"run-{key}", make).iterdir()
    return Run.open(runs / made.name)


def likeness(seen: npt.NDArray[np.uint8], wanted: npt.NDArray[np.uint8]) -> float:
    """Return the correlation of two images (28, 28), at the best of the shifts by a pixel.

    Two different digits have 0.4.
    """
    if not seen.any() or not wanted.any():
        return 0.0
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return float(max(
        np.corrcoef(np.roll(seen, shift, (0, 1)).ravel(), wanted.ravel())[0, 1] for shift in shifts
    ))  # fmt: skip
