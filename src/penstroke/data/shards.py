"""Preprocesses the images of a source, shard by shard, in a folder that outlives the process.

A shard is 50 to 500 images, read by one worker into one file that is whole or absent. The name of
the folder follows from the source and from how it is read, so that the same import continues after
a kill with the shards that are done.
"""

from __future__ import annotations

import io
import json
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.archives import DAMAGE
from penstroke.data.dataset import Images
from penstroke.data.sources.contents import Content, Part, Reader, Source
from penstroke.data.sources.listing import open_source
from penstroke.errors import DataError, ImageError, PenstrokeError, StorageError, WorkerError
from penstroke.files import cache_root, write_atomically
from penstroke.preprocessing.decoding import page_count, read_grey
from penstroke.preprocessing.ink import DEFAULT_INK, inspect_ink, normalize
from penstroke.preprocessing.strips import STRIP_HEIGHT, Strip, is_blank, strip_of
from penstroke.workers import map_unordered

OK, EMPTY, UNREADABLE = range(3)
_SHARDS, _MIN_IMAGES, _MAX_IMAGES = 40, 50, 500
"""Wanted number of shards, so that some are done soon, and the images that each may have."""
_FORMAT_VERSION = 3
"""Raised whenever a shard, or one pixel of what preprocessing gives, changes."""
_INK = DEFAULT_INK.model_copy(update={"max_pixels": 16_000_000})
"""A phone's photo passes, and two workers stay within a gigabyte."""


Kind = Literal["image", "array", "line"]
"""What an image is: of a character; preprocessed already, an array that is taken as it is; or of a
line, which becomes a strip."""


class ShardJob(NamedTuple):
    """One shard to be read, of the images at `places` in the source: travels to a worker."""

    path: Path
    source: Source
    places: tuple[str | int, ...]
    kind: Kind = "image"


@dataclass(frozen=True)
class PreprocessedImages:
    """Images brought to 28×28, or to strips, and what happened to each, in the source's order."""

    images: Images  # (N, 28, 28), ink bright on dark, zero where there is none; or (N,) strips
    status: npt.NDArray[np.uint8]  # (N,): OK, EMPTY or UNREADABLE
    dropped: npt.NDArray[np.float32]  # (N,): share of the ink that was taken for dirt or edges
    sides: npt.NDArray[np.int32]  # (N,): longer side of the ink in the source, or a line's height
    pages: npt.NDArray[np.int32]  # (N,): pages or frames of the file, of which the first is read
    digests: npt.NDArray[np.uint8]  # (N, 16), of the contents: equal where they are the same bytes
    errors: dict[int, str]  # why an image is unreadable, by position

    @classmethod
    def allocate(cls, count: int, kind: Kind) -> PreprocessedImages:
        """Return room for `count` images."""
        images = np.zeros((count, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        if kind == "line":
            images = _as_rows([np.zeros((STRIP_HEIGHT, 0), np.uint8)] * count)
        return cls(
            images, np.zeros(count, np.uint8),
            np.zeros(count, np.float32), np.zeros(count, np.int32), np.ones(count, np.int32),
            np.zeros((count, 16), np.uint8), {},
        )  # fmt: skip

    def put(self, first: int, shard: PreprocessedImages) -> None:
        """Write `shard` from position `first` on."""
        rows = slice(first, first + len(shard.status))
        for name in _ARRAYS:
            getattr(self, name)[rows] = getattr(shard, name)
        self.errors.update({first + row: error for row, error in shard.errors.items()})


def _as_rows(strips: Sequence[Strip]) -> npt.NDArray[Any]:
    """Return an array (N,) of the strips, which differ in width."""
    rows = np.empty(len(strips), object)
    for row, strip in enumerate(strips):
        rows[row] = strip
    return rows


_ARRAYS = ("images", "status", "dropped", "sides", "pages", "digests")


def working_folder(name: str, parts: Sequence[Part], *, kind: Kind) -> Path:
    """Return where the shards of these images are kept until they are a data set."""
    settings = [_FORMAT_VERSION, kind, _INK.to_dict()]
    digest = sha256(json.dumps(settings).encode())
    for part in parts:
        where: list[object] = [part.source.kind, part.source.member, part.source.pixels]
        where += [part.stamp, len(part.images)]
        where += [] if part.stamp else [str(part.source.path.resolve())]
        digest.update(json.dumps(where).encode())
        for image in part.images:
            digest.update(f"{image.place!r} {image.stamp}\n".encode("utf-8", "surrogateescape"))
    return cache_root() / "importing" / f"{name}-{digest.hexdigest()[:16]}"


def shard_jobs(parts: Sequence[Part], folder: Path, *, kind: Kind) -> list[ShardJob]:
    """Return one job per shard, in the order of the images; no shard holds two sources."""
    total = sum(len(part.images) for part in parts)
    size = min(max(total // _SHARDS, _MIN_IMAGES), _MAX_IMAGES)
    jobs: list[ShardJob] = []
    for part in parts:
        for first in range(0, len(part.images), size):
            places = tuple(image.place for image in part.images[first : first + size])
            path = folder / f"shard-{len(jobs):05d}.npz"
            jobs.append(ShardJob(path, part.source, places, kind))
    return jobs


def read_shards(
    jobs: Sequence[ShardJob], workers: int
) -> Generator[tuple[int, PreprocessedImages], None, None]:
    """Yield (position, shard) of each of `jobs`: first those that are there already.

    Raises DataError if a worker died, StorageError if a shard cannot be written.
    """
    missing = []
    for position, job in enumerate(jobs):
        if (shard := load_shard(job)) is None:
            missing.append(position)
        else:
            yield position, shard
    todo = [jobs[position] for position in missing]
    try:
        with closing(map_unordered(ShardWriter(), todo, workers)) as finished:
            for number, _ in finished:
                if (shard := load_shard(todo[number])) is None:
                    raise StorageError(f"{todo[number].path} was written, but cannot be read")
                yield missing[number], shard
    except WorkerError as error:
        job = todo[error.position or 0]
        raise DataError(
            f"{job.source.path}: reading stopped between {job.places[0]} and {job.places[-1]}: "
            f"{error}; run the same command again to continue, with --workers 1 if it repeats"
        ) from None


class ShardWriter:
    """Does jobs, one after the other; a source is opened once."""

    def __init__(self) -> None:
        self._readers: dict[Source, Reader] = {}

    def __call__(self, job: ShardJob) -> None:
        """Read the images of `job`, and write their shard."""
        if job.source not in self._readers:
            self._readers = {job.source: open_source(job.source)}
        shard = PreprocessedImages.allocate(len(job.places), job.kind)
        for row, place in enumerate(job.places):
            try:
                _preprocess(shard, row, self._readers[job.source](place), job.kind)
            except ImageError as error:
                shard.errors[row] = str(error).removeprefix("image ")
            except PenstrokeError:
                raise
            except Exception as error:  # an unforeseen error in one image stops no import
                shard.errors[row] = f"cannot be read: {type(error).__name__}: {error}"
        shard.status[list(shard.errors)] = UNREADABLE
        stream = io.BytesIO()
        errors = np.frombuffer(json.dumps(shard.errors).encode(), np.uint8)
        arrays = {name: getattr(shard, name) for name in _ARRAYS}
        if job.kind == "line":
            widths = [strip.shape[1] for strip in shard.images]
            arrays |= {"images": np.concatenate(shard.images, axis=1), "widths": np.array(widths)}
        np.savez(stream, errors=errors, **arrays)
        write_atomically(job.path, stream.getvalue())


def load_shard(job: ShardJob) -> PreprocessedImages | None:
    """Return the shard of `job`; None if it is absent or damaged."""
    try:
        with job.path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            errors = {int(n): str(why) for n, why in json.loads(bytes(arrays["errors"])).items()}
            values: Any = {name: arrays[name] for name in _ARRAYS}
            if job.kind == "line":
                ends = np.cumsum(arrays["widths"])
                values["images"] = _as_rows(np.split(values["images"], ends[:-1], axis=1))
        shard = PreprocessedImages(**values, errors=errors)
    except (OSError, LookupError, TypeError, AttributeError, *DAMAGE):
        return None
    return shard if len(shard.images) == len(job.places) else None


def _preprocess(shard: PreprocessedImages, row: int, content: Content, kind: Kind) -> None:
    """Bring one image to what its kind asks for, and note in `shard` what it was."""
    if isinstance(content, bytes):
        digest = sha256(content)
        shard.pages[row] = page_count(content)
    else:
        digest = sha256(f"{content.dtype.str} {content.shape}".encode())
        digest.update(np.ascontiguousarray(content).data)
    shard.digests[row] = np.frombuffer(digest.digest()[:16], np.uint8)
    if kind == "line":
        grey = read_grey(content, _INK.max_pixels, working_side=_INK.max_pixels)
        shard.sides[row] = len(grey)
        is_empty, pixels = is_blank(grey), strip_of(grey)
    else:
        is_empty, pixels, shard.sides[row], shard.dropped[row] = _character(content, kind)
    if is_empty:
        shard.status[row] = EMPTY
    else:
        shard.images[row] = pixels


def _character(content: Content, kind: Kind) -> tuple[bool, Images, int, float]:
    """Return whether there is no ink, the 28×28, the longer side of the ink, the share dropped."""
    dropped = 0.0
    if kind == "array" and isinstance(content, np.ndarray):
        if content.shape != (IMAGE_SIZE, IMAGE_SIZE) or content.dtype != np.uint8:
            shape = "×".join(map(str, content.shape))
            raise ImageError(f"is {shape} {content.dtype}, not 28×28 uint8: it needs --preprocess")
        ink: Any = content
        pixels: Any = content
        is_empty = float(np.ptp(content)) / 255 < _INK.min_contrast
    else:
        ink, dropped, *_ = inspect_ink(read_grey(content, _INK.max_pixels), _INK)
        pixels, is_empty, *_ = normalize(ink, _INK)
    sides = [np.flatnonzero(ink.any(axis=axis)) for axis in (0, 1)]  # of the box around the ink
    side = max((int(side[-1] - side[0]) + 1 for side in sides if len(side)), default=0)
    return is_empty, pixels, side, dropped
