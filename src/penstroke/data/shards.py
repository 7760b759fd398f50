"""Preprocesses the images of a source, shard by shard, in a folder that outlives the process.

A shard is 50 to 500 images, read by one worker into one file that is whole or not there. The
folder's name is drawn from the source and from how it is read: whoever comes again, after a kill
say, finds the shards that are done, and reads on.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from penstroke.config.settings import IMAGE_SIZE, Settings
from penstroke.data.dataset import Images
from penstroke.data.sources.entries import Content, Entry, Part, Reader, Source
from penstroke.data.sources.listing import open_source
from penstroke.errors import DataError, ImageError, PenstrokeError, StorageError, WorkerError
from penstroke.files import cache_root, write_atomically
from penstroke.preprocessing.decoding import read_grey
from penstroke.preprocessing.ink import DEFAULT_INK, InkSettings, inspect_ink, normalize
from penstroke.workers import map_unordered

OK, EMPTY, UNREADABLE = range(3)
_SHARDS, _LEAST, _MOST = 40, 50, 500
"""So many shards, so that some are done soon; of at least and at most so many images."""
_FORMAT_VERSION = 1
_MOST_PIXELS = 16_000_000
"""Of one image: a phone's photo passes, and two workers stay within a gigabyte."""


class ReadingSettings(Settings):
    """How images are preprocessed."""

    as_they_are: bool = Field(
        False, description="arrays are preprocessed already, and taken as they are"
    )
    ink: InkSettings = Field(DEFAULT_INK, description="how ink is found and placed")


class Job(NamedTuple):
    """One shard to be read: travels to a worker."""

    path: Path
    source: Source
    places: tuple[str | int, ...]
    settings: ReadingSettings


@dataclass(frozen=True)
class Readings:
    """What images came to, in the order of their entries.

    Attributes:
        images: (N, 28, 28) uint8, ink bright on dark; zero where there is none.
        status: (N,) uint8: OK, EMPTY or UNREADABLE.
        dropped: (N,) float32, share of the ink that was taken for dirt or edges.
        sides: (N,) int32, longer side of the ink as it came, pixels.
        digests: (N, 16) uint8, of the contents: the same where they are the same bytes.
        errors: why what cannot be read cannot, by position.
    """

    images: Images
    status: npt.NDArray[np.uint8]
    dropped: npt.NDArray[np.float32]
    sides: npt.NDArray[np.int32]
    digests: npt.NDArray[np.uint8]
    errors: dict[int, str]

    @classmethod
    def of(cls, count: int) -> Readings:
        """Return room for `count` images."""
        return cls(
            np.zeros((count, IMAGE_SIZE, IMAGE_SIZE), np.uint8), np.zeros(count, np.uint8),
            np.zeros(count, np.float32), np.zeros(count, np.int32),
            np.zeros((count, 16), np.uint8), {},
        )  # fmt: skip

    def put(self, first: int, shard: Readings) -> None:
        """Lay `shard` in from position `first` on."""
        rows = slice(first, first + len(shard.status))
        for name in _ARRAYS:
            getattr(self, name)[rows] = getattr(shard, name)
        self.errors.update({first + row: error for row, error in shard.errors.items()})


_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError)
_ARRAYS = ("images", "status", "dropped", "sides", "digests")


def working_folder(name: str, parts: Sequence[Part], settings: ReadingSettings) -> Path:
    """Return where the shards of these images, read so, are kept until they are a data set."""
    digest = sha256(json.dumps([_FORMAT_VERSION, settings.to_dict()]).encode())
    for part in parts:
        where = [part.source.kind, part.source.member, part.stamp, len(part.entries)]
        if not part.stamp:
            where.append(str(part.source.path.resolve()))
        digest.update(json.dumps(where).encode())
        for entry in part.entries:
            digest.update(f"{entry.place!r} {entry.stamp}\n".encode("utf-8", "surrogateescape"))
    return cache_root() / "importing" / f"{name}-{digest.hexdigest()[:16]}"


def jobs_of(parts: Sequence[Part], folder: Path, settings: ReadingSettings) -> list[Job]:
    """Return one job a shard, in the order of the images; no shard holds two sources."""
    total = sum(len(part.entries) for part in parts)
    size = min(max(total // _SHARDS, _LEAST), _MOST)
    jobs: list[Job] = []
    for part in parts:
        for first in range(0, len(part.entries), size):
            entries = part.entries[first : first + size]
            path = folder / f"shard-{len(jobs):05d}.npz"
            jobs.append(Job(path, part.source, tuple(e.place for e in entries), settings))
    return jobs


def read_all(jobs: Sequence[Job], workers: int, watch: Callable[[int, Readings], None]) -> Readings:
    """Return what the images of all `jobs` came to; shards that are there are not read again.

    Args:
        jobs: the shards.
        workers: processes that read; 1 reads in this one.
        watch: told how many more images are done, and all that is known by then; may raise.
    """
    firsts = np.cumsum([0, *(len(job.places) for job in jobs)])
    found = Readings.of(int(firsts[-1]))
    todo = []
    for position, job in enumerate(jobs):
        shard = load_shard(job)
        if shard is None:
            todo.append(position)
        else:
            found.put(int(firsts[position]), shard)
            watch(len(job.places), found)
    try:
        with closing(map_unordered(ShardWriter(), [jobs[p] for p in todo], workers)) as finished:
            for done, _ in finished:
                job = jobs[todo[done]]
                shard = load_shard(job)
                if shard is None:
                    raise StorageError(f"{job.path} was written, and cannot be read")
                found.put(int(firsts[todo[done]]), shard)
                watch(len(job.places), found)
    except WorkerError as error:
        job = jobs[todo[error.position or 0]]
        raise DataError(
            f"{job.source.path}: reading stopped between {job.places[0]} and {job.places[-1]}: "
            f"{error}; run the same command again to continue, with --workers 1 if it repeats"
        ) from None
    return found


def discard(folder: Path) -> None:
    """Remove the shards."""
    shutil.rmtree(folder, ignore_errors=True)


class ShardWriter:
    """Does jobs, one after the other; a source is opened once."""

    def __init__(self) -> None:
        self._readers: dict[Source, Reader] = {}

    def __call__(self, job: Job) -> None:
        """Read the images of `job`, and write their shard.

        Raises:
            StorageError: it cannot be written.
        """
        if job.source not in self._readers:
            self._readers = {job.source: open_source(job.source)}
        shard = Readings.of(len(job.places))
        ink = job.settings.ink.model_copy(update={"max_pixels": _MOST_PIXELS})
        settings = job.settings.model_copy(update={"ink": ink})
        for row, where in enumerate(job.places):
            try:
                content = self._readers[job.source].read(where)
                _read_into(shard, row, content, settings)
            except ImageError as error:
                shard.status[row] = UNREADABLE
                shard.errors[row] = str(error).removeprefix("image ")
            except PenstrokeError:
                raise
            except Exception as error:  # one image that nobody foresaw stops no import
                shard.status[row] = UNREADABLE
                shard.errors[row] = f"cannot be read: {type(error).__name__}: {error}"
        write_atomically(job.path, _encoded(shard))


def load_shard(job: Job) -> Readings | None:
    """Return the shard of `job`; None where it is not there, or was damaged since."""
    try:
        with job.path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            errors = json.loads(bytes(arrays["errors"]))
            values: Any = {name: arrays[name] for name in _ARRAYS}
        shard = Readings(**values, errors={int(row): str(why) for row, why in errors.items()})
    except (OSError, ValueError, EOFError, LookupError, TypeError, AttributeError, *_DAMAGE):
        return None
    return shard if len(shard.images) == len(job.places) else None


def _read_into(shard: Readings, row: int, content: Content, settings: ReadingSettings) -> None:
    shard.digests[row] = _digest(content)
    if settings.as_they_are and isinstance(content, np.ndarray):
        if content.shape != (IMAGE_SIZE, IMAGE_SIZE) or content.dtype != np.uint8:
            shape = "×".join(map(str, content.shape))
            raise ImageError(
                f"is {shape} {content.dtype}, not 28×28 uint8: it is not preprocessed yet"
            )
        pixels: Any = content
        shard.sides[row] = _longer_side(content)
        is_blank = float(np.ptp(content)) / 255 < settings.ink.min_contrast
    else:
        ink, dropped = inspect_ink(read_grey(content, settings.ink.max_pixels), settings.ink)
        pixels, is_blank = normalize(ink, settings.ink)
        shard.dropped[row] = dropped
        shard.sides[row] = _longer_side(ink)
    if is_blank:
        shard.status[row] = EMPTY
    else:
        shard.images[row] = pixels


def _digest(content: Content) -> npt.NDArray[np.uint8]:
    if isinstance(content, bytes):
        digest = sha256(content)
    else:
        digest = sha256(f"{content.dtype.str} {content.shape}".encode())
        digest.update(np.ascontiguousarray(content).data)
    return np.frombuffer(digest.digest()[:16], np.uint8)


def _longer_side(ink: npt.NDArray[Any]) -> int:
    """Return the longer side of the box around what is not zero, pixels."""
    sides = [np.flatnonzero(ink.any(axis=axis)) for axis in (0, 1)]
    return max((int(side[-1] - side[0]) + 1 for side in sides if len(side)), default=0)


def _encoded(shard: Readings) -> bytes:
    stream = io.BytesIO()
    errors = np.frombuffer(json.dumps(shard.errors).encode(), np.uint8)
    np.savez(stream, errors=errors, **{name: getattr(shard, name) for name in _ARRAYS})
    return stream.getvalue()


def entries_of(parts: Sequence[Part]) -> list[Entry]:
    """Return the entries of all parts, in order."""
    return [entry for part in parts for entry in part.entries]
