"""Attack Penstroke with made-up input: pictures that take long, and files that were changed.

python scripts/attack.py pictures MODEL    100 pictures of 10 kinds, at a real `penstroke serve`
python scripts/attack.py files RUN         2,000 changes to the files of a run, a model, data sets

Each picture is sent as a character and as a page, to one worker. It prints, by kind, how many were
answered with which status, the longest that the worker computed and that the caller waited, and the
memory of the service; it fails if the worker was held for more than 2 seconds, or a fault of ours
was answered.

Each change to a file is a flipped bit, a cut, a swapped or deleted part, a huge number, another
type, deep nesting or odd text. What reads the file has to raise one of our errors or to answer as
before it; where a checksum covers the content, an answer that differs counts as silently wrong.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import io
import json
import math
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import psutil
import pyarrow.parquet
import scipy.io
from PIL import Image, ImageDraw

from penstroke.data import store
from penstroke.data.dataset import Dataset
from penstroke.data.sources.contents import SourceOptions
from penstroke.data.sources.listing import list_source, open_source
from penstroke.errors import ImageError, PenstrokeError
from penstroke.evaluation.predictions import Predictions
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.ink import preprocess
from penstroke.runs.run import Run

_LONGEST_SECONDS = 2.0
Sent = tuple[str, bytes]  # content type and body
Draw = np.random.Generator


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    pictures = what.add_parser("pictures")
    pictures.add_argument("model", type=Path)
    pictures.add_argument("--each", type=int, default=10, help="pictures of each kind")
    pictures.add_argument("--seed", type=int, default=0)
    files = what.add_parser("files")
    files.add_argument("run", type=Path)
    files.add_argument("--count", type=int, default=2000, help="changes in all")
    files.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.what == "pictures":
        return attack_service(options.model, options.each, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        return report_changes(change_files(options.run, Path(folder), options.count, options.seed))


def attack_service(model: Path, each: int, seed: int) -> int:
    """Send `each` pictures of every kind; return 1 if one of them did what none may do."""
    is_bad = False
    with running(model) as (url, process):
        worker = max(process.children(recursive=True), key=lambda child: child.create_time())
        before = process.memory_info().rss
        print(f"{'kind':12}{'answers':48}{'worker s':>9}{'wait s':>8}{'MB':>6}")
        for kind, make in KINDS.items():
            answers, longest, waited = collections.Counter[str](), 0.0, 0.0
            for number in range(each):
                content_type, body = make(np.random.default_rng([seed, number]), number / each)
                for path in ("/v1/recognize", "/v1/recognize/line"):
                    begun, used = time.monotonic(), processor_seconds(worker)
                    answer = httpx2.post(
                        url + path, content=body, headers={"content-type": content_type},
                        timeout=120,
                    )  # fmt: skip
                    waited = max(waited, time.monotonic() - begun)
                    longest = max(longest, processor_seconds(worker) - used)
                    error = answer.json().get("error", {"code": "ok", "message": ""})
                    at_clock = " at the clock" * ("takes more than" in error["message"])
                    answers[f"{answer.status_code} {error['code']}{at_clock}"] += 1
                    is_bad |= answer.status_code >= 500
            is_bad |= longest > _LONGEST_SECONDS
            counts = ", ".join(f"{count}× {text}" for text, count in answers.most_common())
            memory = process.memory_info().rss / 1e6
            print(f"{kind:12}{counts:48}{longest:9.2f}{waited:8.2f}{memory:6.0f}", flush=True)
        print(f"memory of the service: {process.memory_info().rss / before:.2f} times that before")
    return int(is_bad)


def processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def running(model: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run a service of one worker; yield its address and its process."""
    command = [sys.executable, "-m", "penstroke", "serve", str(model), "--port", "0",
               "--workers", "1", "--json"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"], psutil.Process(process.pid)
        finally:
            process.terminate()


def png(pixels: np.ndarray | Image.Image, **how: object) -> Sent:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    return "image/png", encoded(image, "PNG", **how)


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def dots(draw: Draw, part: float) -> Sent:
    """Noise: every pixel, or block of them, is ink or not."""
    side, block = int(200 + 1800 * part), int(draw.integers(1, 6))
    ink = draw.random((side // block, side // block)) < draw.uniform(0.02, 0.6)
    return png(np.kron(ink, np.ones((block, block))).astype(np.uint8) * 255)


def pattern(draw: Draw, part: float) -> Sent:
    """Chequerboards, combs and nested frames: many shapes, or ones that enclose others."""
    side, step = int(300 + 1700 * part), int(draw.integers(2, 12))
    y, x = np.indices((side, side))
    ring = np.minimum(np.minimum(x, y), np.minimum(side - 1 - x, side - 1 - y))
    ink = [(x // step + y // step) % 2, x // step % 2, ring // step % 2, (x + y) // step % 2,
           (x // step % 2) | (y % (8 * step) == 0)][int(draw.integers(5))]  # fmt: skip
    return png((255 - 255 * ink).astype(np.uint8))


def scribbles(draw: Draw, part: float) -> Sent:
    """Long lines that cross: one shape that may be split everywhere."""
    side = int(400 + 1600 * part)
    image = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(10, 400))):
        points = draw.integers(0, side, (4, 2)).reshape(-1).tolist()
        pen.line(points, fill=0, width=int(draw.integers(1, 9)))
    return png(image)


def full_pages(draw: Draw, part: float) -> Sent:
    """Pages of rings, one for each character: up to more than any page has."""
    pitch = int(draw.integers(14, 40))
    image = Image.new("L", (1600, int(300 + 2100 * part)), 255)
    pen = ImageDraw.Draw(image)
    for top in range(8, image.height - pitch, pitch + 6):
        for left in range(8, image.width - pitch, pitch):
            width = pitch + int(draw.integers(-6, 2))
            pen.ellipse((left, top, left + width, top + pitch), outline=0, width=3)
    return png(image)


def extents(draw: Draw, part: float) -> Sent:
    """Very large, very long, very thin."""
    height, width = [(1, 24_000_000), (5000, 5000), (20_000, 1), (3, 60_000), (25_000, 1000),
                     (1, 1), (2, 8_000_000), (6000, 6000), (100, 200_000),
                     (60_000, 40)][int(10 * part)]  # fmt: skip
    image = np.full((height, width), 255, np.uint8)
    image[:: int(draw.integers(2, 40)), :: int(draw.integers(2, 40))] = 0
    return png(image, compress_level=1)


def modes(draw: Draw, part: float) -> Sent:
    """Rare modes: 16 bits, palettes, CMYK, transparency, one bit, interlaced."""
    grey = (draw.random((900, 900)) * 60 + 190).astype(np.uint8)
    grey[300:600, 440:460] = 10
    image = Image.fromarray(grey)
    number = int(10 * part)
    if number in (0, 1):
        return png(Image.fromarray(grey.astype(np.uint16) * (257 if number else 1)))
    if number in (2, 3):
        return "image/jpeg", encoded(image.convert("CMYK" if number == 2 else "RGB"), "JPEG")
    if number == 4:
        return png(image.convert("P"), transparency=bytes(draw.integers(0, 256, 256, np.uint8)))
    if number == 5:
        return png(image.convert("1"))
    if number == 6:
        return png(image.convert("RGB"), transparency=(200, 200, 200))
    if number == 7:
        return png(Image.merge("LA", [image, Image.fromarray(grey[::-1])]))
    rows = [b"\0" + bytes(range(256)) for _ in range(256)]
    head = struct.pack(">IIBBBBB", 256, 256, 8, 0, 0, 0, int(number == 8))  # 9: not interlaced
    return "image/png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(
        b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")  # fmt: skip


def chunk(name: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + crc


def slow_decoders(draw: Draw, part: float) -> Sent:
    """Animated and lossless WebP, progressive JPEG with many scans, formats not served at all."""
    noise = Image.fromarray(draw.integers(0, 256, (1500, 1500, 3), np.uint8))
    number = int(10 * part)
    if number < 3:
        frames = [noise.resize((800, 800)).rotate(k) for k in range(1, 4 * number + 1)]
        how = {"save_all": True, "append_images": frames} if frames else {"lossless": True}
        return "image/webp", encoded(noise.resize((800, 800)), "WEBP", **how)
    if number < 6:
        body = encoded(noise, "JPEG", progressive=True, quality=95)
        start = body.index(b"\xff\xda")
        scan = body[start : body.index(b"\xff", start + 100)]
        return "image/jpeg", body[:-2] + scan * (40 * number) + body[-2:]
    if number == 6:
        return "image/png", b"P3 1000 1000 255\n" + b"1 " * 3_000_000
    if number == 7:
        return "image/png", encoded(noise, "TIFF", compression="packbits")
    if number == 8:
        return "image/png", encoded(noise, "GIF", save_all=True, append_images=[noise] * 3)
    return "image/webp", encoded(Image.new("RGB", (4900, 4900), "white"), "WEBP", lossless=True)


def metadata(draw: Draw, part: float) -> Sent:
    """Large profiles, texts and EXIF tags beside a small picture."""
    base = png(np.full((64, 64), 255, np.uint8))[1]
    size = int(1e6 * (1 + 6 * part))
    packed = zlib.compress(bytes(size * 20))
    junk = [
        chunk(b"iCCP", b"icc\0\0" + packed), chunk(b"zTXt", b"a\0\0" + packed),
        chunk(b"eXIf", b"MM\0*\0\0\0\x08" + b"\xff" * min(size, 3_000_000)),
        chunk(b"tEXt", b"a\0" + b"b" * size), chunk(b"tEXt", b"a\0b") * (size // 15),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<a>" * (size // 3)),
    ][int(draw.integers(6))]  # fmt: skip
    return "image/png", base[:33] + junk + base[33:]


def damaged(draw: Draw, part: float) -> Sent:
    """Pictures cut short, with flipped bits, and with sizes that are not theirs."""
    content_type, body = [dots, modes, pattern][int(draw.integers(3))](draw, part / 2)
    content = bytearray(body)
    for at in draw.integers(8, len(content), int(draw.integers(1, 30))):
        content[at] ^= 1 << int(draw.integers(8))
    if draw.random() < 0.3:
        content[16:24] = struct.pack(">II", *draw.integers(1, 2**31, 2).tolist())
    return content_type, bytes(content[: int(len(content) * draw.uniform(0.3, 1.2))])


def strokes(draw: Draw, part: float) -> Sent:
    """Strokes with as many points, as broad a pen and as long a way as are allowed."""
    count = int(10_000 * (0.1 + 0.9 * part))
    across = draw.uniform(0, 4096, (count, 2)) if draw.random() < 0.7 else np.full((count, 2), 2000)
    pen = math.exp(draw.uniform(math.log(0.1), math.log(1000)))
    each = int(draw.integers(1, count))
    drawn = [across[at : at + each].round(1).tolist() for at in range(0, count, each)]
    value = {"strokes": drawn, "width": 4096, "height": 4096, "pen_width": pen}
    if draw.random() < 0.2:
        return "application/json", b'{"strokes":' + b"[" * 400_000
    return "application/json", json.dumps(value).encode()


@dataclass(frozen=True)
class Target:
    """A file that is changed, what reads it, and whether a checksum covers all of it."""

    name: str
    path: Path
    read: Callable[[], object]
    is_checked: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of one change: `typed`, `same`, `other`, or what must not be."""

    target: str
    kind: str
    detail: str = ""
    seconds: float = 0.0


def report_changes(outcomes: Sequence[Outcome]) -> int:
    """Print the outcomes by target; return 1 if one must not be."""
    names = ("typed", "same", "other", "silently wrong", "fault")
    counts = collections.Counter((one.target, one.kind) for one in outcomes)
    print(f"{'':24}" + "".join(f"{name:>16}" for name in names))
    for target in dict.fromkeys(one.target for one in outcomes):
        print(f"{target:24}" + "".join(f"{counts[target, name]:16}" for name in names))
    bad = [one for one in outcomes if one.kind in ("silently wrong", "fault")]
    for text, count in collections.Counter(f"{one.target}: {one.detail}" for one in bad).items():
        print(f"{count}× {text}")
    print(f"{len(outcomes)} changes, the slowest {max(one.seconds for one in outcomes):.1f} s")
    return int(bool(bad))


def change_files(run: Path, folder: Path, count: int, seed: int) -> list[Outcome]:
    """Change the files of a copy of `run`, and of data made in `folder`, one at a time."""
    made = targets(run, folder)
    expected = {target.name: repr(target.read()) for target in made}
    contents = {target.name: target.path.read_bytes() for target in made}
    outcomes = []
    for number in range(count):
        target, draw = made[number % len(made)], np.random.default_rng([seed, number])
        target.path.write_bytes(changed(contents[target.name], draw))
        outcomes.append(outcome_of(target, expected[target.name]))
        target.path.write_bytes(contents[target.name])
    return outcomes


def outcome_of(target: Target, expected: str) -> Outcome:
    begun = time.monotonic()
    try:
        with warnings.catch_warnings(action="ignore"):
            found = repr(target.read())
        wrong = "silently wrong" if target.is_checked else "other"
        kind, detail = ("same", "") if found == expected else (wrong, found[:100])
    except PenstrokeError as error:
        kind, detail = "typed", str(error)[:100]
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind, detail = "fault", f"{error!r:.200} at {place.filename}:{place.lineno}"
    return Outcome(target.name, kind, detail, time.monotonic() - begun)


def targets(run: Path, folder: Path) -> list[Target]:
    """Return what is attacked, in `folder`; each can be read as it is."""
    copy = folder / "run"
    shutil.copytree(run, copy)
    seven = np.zeros((28, 28), np.uint8)
    seven[6, 8:20] = seven[6:24, 14] = 255
    opened = functools.partial(Run.open, copy)
    result = [
        Target("run.toml", copy / "run.toml", lambda: opened().record),
        Target("history.jsonl", copy / "history.jsonl",
               lambda: (opened().history(), opened().best_epoch(), opened().elapsed_seconds())),
        Target("summary.json", copy / "summary.json", lambda: opened().to_dict()),
        Target("model.safetensors", copy / "model.safetensors",
               lambda: {n: a.tobytes() for n, a in opened().model().arrays.items()}, True),
        Target("model.onnx", copy / "model.onnx",
               lambda: Recognizer.load(copy).recognize(seven).to_dict(), True),
    ]  # fmt: skip
    stored = functools.partial(store.load, folder / "stored")
    result += [
        Target(f"predictions/{file.stem}", file,
               lambda file=file: Predictions.load(file).logits.tobytes(), True)  # type: ignore[misc]
        for file in sorted((copy / "predictions").glob("*.safetensors"))
    ]  # fmt: skip
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 28, 28), np.uint8)
    images[:, :4] = images[:, -4:] = 0
    dataset = Dataset(images, np.arange(20) % 4, tuple("abcd"))
    store.save(folder / "stored", "stored", dataset, dataset)
    result += [
        Target(f"stored {name}", folder / "stored" / name,
               lambda: [dataset.fingerprint for dataset in stored()], name.endswith(".npy"))
        for name in ("dataset.toml", "train-images.npy", "test-labels.npy")
    ]  # fmt: skip
    return result + sources(folder / "sources", images)


def sources(folder: Path, images: np.ndarray) -> list[Target]:
    """Return one file of each format that can be imported."""
    folder.mkdir()
    labels = np.arange(len(images)) % 4
    np.savez(folder / "arrays.npz", images=images, labels=labels)
    pictures = [encoded(Image.fromarray(255 - image), "PNG") for image in images]
    with zipfile.ZipFile(folder / "folders.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, picture in enumerate(pictures):
            archive.writestr(f"{number % 4}/{number}.png", picture)
    rows = [f"{label}," + ",".join(map(str, image.ravel()))
            for label, image in zip(labels, images, strict=True)]  # fmt: skip
    (folder / "pixels.csv").write_text("\n".join(rows) + "\n")
    (folder / "table").mkdir()
    for number, picture in enumerate(pictures):
        (folder / "table" / f"{number}.png").write_bytes(picture)
    named = [f"{number}.png,{label}" for number, label in enumerate(labels)]
    (folder / "table" / "labels.csv").write_text("\n".join(["file,label", *named]) + "\n")
    scipy.io.savemat(folder / "letters.mat", {"images": images, "labels": labels})
    for name, array, kind in (("images-idx3", images, 3), ("labels-idx1", labels, 1)):
        head = struct.pack(f">BBBB{kind}I", 0, 0, 8, kind, *array.shape)
        (folder / f"train-{name}-ubyte").write_bytes(head + array.astype(np.uint8).tobytes())
    column = pyarrow.array([{"bytes": one, "path": None} for one in pictures])
    table = pyarrow.table({"image": column, "label": labels})
    pyarrow.parquet.write_table(table, folder / "rows.parquet")

    def read(path: Path) -> object:
        content = list_source(path, SourceOptions())
        shown = []
        for part in content.parts:
            reader = open_source(part.source)
            for image in part.images:
                with contextlib.suppress(ImageError):  # listed as one that cannot be read
                    shown.append((image.label, preprocess(reader(image.place)).pixels.tobytes()))
        return shown

    files = ["arrays.npz", "folders.zip", "pixels.csv", "letters.mat", "rows.parquet",
             "train-images-idx3-ubyte"]  # fmt: skip
    made = [Target(f"import {f}", folder / f, functools.partial(read, folder / f)) for f in files]
    beside = functools.partial(read, folder / "table")
    made.append(Target("import labels.csv", folder / "table" / "labels.csv", beside))
    made.append(Target("import 7.png", folder / "table" / "7.png", beside))
    return made


def changed(content: bytes, draw: Draw) -> bytes:
    """Return `content` with one to three changes of one kind."""
    change = CHANGES[int(draw.integers(len(CHANGES)))]
    for _ in range(int(draw.integers(1, 4))):
        content = change(content, draw)
    return content


def place(content: bytes, draw: Draw) -> tuple[int, int]:
    """Return two positions, in order; near one another mostly, and often near the beginning."""
    most = max(1, len(content) if draw.random() < 0.5 else min(len(content), 2000))
    first = int(draw.integers(most))
    return first, min(len(content), first + int(draw.integers(1, 64)))


def flip(content: bytes, draw: Draw) -> bytes:
    at, _ = place(content, draw)
    return (
        content[:at] + bytes([content[at] ^ (1 << int(draw.integers(8)))]) + content[at + 1 :]
        if content
        else content
    )


def cut(content: bytes, draw: Draw) -> bytes:
    return content[: place(content, draw)[0]] if draw.random() < 0.5 else content[:-1]


def delete(content: bytes, draw: Draw) -> bytes:
    first, after = place(content, draw)
    return content[:first] + content[after:]


def swap(content: bytes, draw: Draw) -> bytes:
    first, after = place(content, draw)
    other = place(content, draw)[0]
    part = content[other : other + after - first]
    return content[:first] + part + content[after:]


def replace_value(content: bytes, draw: Draw) -> bytes:
    """Put a huge number, another type, deep nesting or odd text in place of a value or a word."""
    values = list(re.finditer(_VALUES, content[:200_000]))
    odd = ODD[int(draw.integers(len(ODD)))]
    if not values:
        first, after = place(content, draw)
        return content[:first] + odd + content[after:]
    value = values[int(draw.integers(len(values)))]
    return content[: value.start()] + odd + content[value.end() :]


def delete_line(content: bytes, draw: Draw) -> bytes:
    lines = content.splitlines(keepends=True)
    if lines:
        del lines[int(draw.integers(len(lines)))]
    return b"".join(lines)


_VALUES = rb'-?\d[\d.e+-]*|"[^"]{0,40}"|[a-z_]{3,}'
ODD = (b"1" * 400, b"-1", b"1e400", b"NaN", b"null", b"[]", b"{}", b'"x"', b"0", b"[" * 50_000,
       b"9223372036854775808", "\u202e\U0001f600".encode(), b"\0\xff", b'"\\ud800"', b"true",
       b"4294967295", b"-0.0", b"Infinity", b"../../x")  # fmt: skip
CHANGES = (flip, flip, cut, delete, swap, replace_value, replace_value, delete_line)

KINDS: dict[str, Callable[[Draw, float], Sent]] = {
    "dots": dots, "patterns": pattern, "scribbles": scribbles, "full pages": full_pages,
    "extents": extents, "modes": modes, "decoders": slow_decoders, "metadata": metadata,
    "damaged": damaged, "strokes": strokes,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
