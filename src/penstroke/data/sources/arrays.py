"""Arrays of images and of labels: NPZ, NPY, MAT and single IDX files."""

import contextlib
import math
import multiprocessing
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.archives import MAX_FILE_BYTES, ZipReader
from penstroke.data.idx import is_idx_name, read_idx, read_shape
from penstroke.data.sources.contents import (
    Content,
    LeftOut,
    Part,
    PixelFormat,
    Reader,
    Source,
    SourceContents,
    SourceOptions,
    Split,
    split_of,
    stamp_of,
)
from penstroke.data.sources.pixel_tables import TableFile, table_rows
from penstroke.data.sources.rows import SequentialReader, labelled_rows
from penstroke.errors import (
    ArchiveError,
    ConfigError,
    DataError,
    ImageError,
    MissingExtraError,
    WorkerError,
)
from penstroke.files import explained
from penstroke.preprocessing.ink import border
from penstroke.workers import Worker

_Array = npt.NDArray[np.generic]
_IMAGES = ("images", "image", "imgs", "x", "data", "pictures")
_LABELS = ("labels", "label", "y", "targets", "target", "classes")
_WRITERS = ("writers", "writer")
_WORD = re.compile(r"[a-z0-9]+")
_IDX_WORDS = ("idx1", "idx3", "ubyte", "gz")
_DAMAGE = (
    EOFError, OSError, ValueError, KeyError, SyntaxError, TypeError, TokenError, OverflowError,
    zlib.error,
)  # fmt: skip
"""What a damaged file, or the header of a damaged array, may raise."""
_MAX_ARRAY_BYTES = 4_000_000_000
_CHECKED_IMAGES = 1000
_NORMALIZED_SHARE = 0.9
_SCALED_SHARE = 0.9


class Array(NamedTuple):
    """The header of an array in a file."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    source: Source

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"


class _Role(NamedTuple):
    """What the name of an array says: `x_train`, `train-images-idx3-ubyte`."""

    kind: str  # images, labels, writers, or "" for none
    split_word: str
    others: tuple[str, ...]  # the rest of the name, which both arrays of a pair share


def is_array_file(name: str) -> bool:
    """Return whether the file `name` holds arrays, by its name."""
    return bool(_kind_of(Path(name)))


def array_files(path: Path) -> list[Path]:
    """Return the files of arrays that `path` stands for; none if it is another source.

    An NPY or IDX file, or an NPZ file of one array, goes with the other file of its pair, beside
    it. A folder stands for the NPY and NPZ files in it.
    """
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix.lower() in (".npy", ".npz"))
    if not path.is_file() or not _kind_of(path):
        return []
    role = _role(path.name)
    wanted = {role._replace(kind=kind) for kind in ("images", "labels", "writers")} - {role}
    partners = [
        file for file in sorted(path.parent.iterdir())
        if role.kind and _kind_of(file) == _kind_of(path) and _role(file.name) in wanted
    ]  # fmt: skip
    return [path, *partners]


def list_arrays(path: Path, options: SourceOptions) -> SourceContents:
    """Return the images in the arrays of `path`: `images` and `labels`, or `x_train`, `y_train`.

    Raises DataError if a file is damaged, lacks arrays, or holds Python objects; ConfigError if
    images of EMNIST may be transposed, and `options` do not say whether they are.
    """
    arrays: list[Array] = []
    names: dict[int, str] = {}
    try:
        for file in array_files(path):
            arrays += _HEADERS[_kind_of(file)](file)
            names |= _mat_names(file) if _kind_of(file) == "mat" else {}
        groups = _groups(arrays, path)
        pairs = [_formatted(path, split, x, y, options) for split, x, y, _ in groups]
        values = [_labels(labels, names) for _, _, labels in pairs]
        writers = [who and _labels(who, {}) for *_, who in groups]
    except _DAMAGE as error:
        raise DataError(f"{path} is not a valid file of arrays: {error}") from error
    left_out: list[LeftOut] = []
    parts = []
    for (split, images, _), labels, who in zip(pairs, values, writers, strict=True):
        if who is not None and len(who) != len(labels):
            raise DataError(f"{path} holds {len(labels):,} labels, but {len(who):,} writers")
        splits, name = [split] * len(labels), f"{images.name}[{{}}]"
        refs = labelled_rows(labels, splits, name, left_out, who)
        parts.append(Part(images.source, refs, stamp_of(images.source.path)))
    used = " and ".join(f"{images.name}, {labels.name}" for _, images, labels in pairs)
    turned = any(part.source.pixels and part.source.pixels.is_transposed for part in parts)
    kind = pairs[0][1].source.kind.upper()
    return SourceContents(
        f"{kind}, arrays {used}" + (", stored column by column" if turned else ""), tuple(parts),
        left_out=tuple(left_out), are_preprocessed=are_preprocessed(parts),
    )  # fmt: skip


def open_arrays(source: Source) -> Reader:
    """Return an array of images, or a pixel table, opened for reading."""
    assert source.pixels
    to_pixels = partial(_to_pixels, source.pixels)
    rows: Callable[[], Iterator[Any]]
    if source.kind == "csv":
        rows = partial(table_rows, TableFile(source.path, source.member), source.pixels)
        return SequentialReader(rows, (ArchiveError, *_DAMAGE), to_pixels)
    if source.kind == "npz":
        rows = partial(_npz_rows, source.path, source.member)
        return SequentialReader(rows, (ArchiveError, *_DAMAGE), to_pixels)
    array = _load(source)
    if source.pixels.samples_last:
        array = np.moveaxis(array, -1, 0)
    return partial(_row, array, to_pixels)


def with_scale(source: Source, count: int, where: str) -> Source:
    """Return `source` with the values of black and of white, which its first images show."""
    assert source.pixels
    unscaled = source.pixels._replace(low=-math.inf, high=math.inf)
    raw, ranges = open_arrays(replace(source, pixels=unscaled)), []
    for row in range(min(count, _CHECKED_IMAGES)):
        try:
            image = np.asarray(raw(row), np.float64)
        except ImageError:
            continue  # it is listed when it is read
        if np.isfinite(image).all():
            ranges.append((float(image.min()), float(image.max())))
    least, most = np.array(ranges or [(0, 0)]).T
    # A few images out of range do not change the scale: they are listed when they are read.
    bottom = float(np.quantile(least, 1 - _SCALED_SHARE, method="lower"))
    top = float(np.quantile(most, _SCALED_SHARE, method="higher"))
    low = -1 if bottom < 0 else 0
    high = next((value for value in (1, 16, 255, 65535) if top <= value), None)
    if bottom < low or high is None or (low and high > 1):
        raise DataError(
            f"{where}: values of the images run from {bottom:g} to {top:g}; save them as 0 to 255, "
            "or as 0 to 1"
        )
    return replace(source, pixels=source.pixels._replace(low=low, high=high))


def are_preprocessed(parts: list[Part]) -> bool:
    """Return whether images look like MNIST's: 28×28, bright on black, with a black margin.

    That is: of the first thousand, nine in ten have an outermost ring that is nine tenths black.
    """
    for part in parts:
        if not part.source.pixels or part.source.pixels.shape != (IMAGE_SIZE, IMAGE_SIZE):
            return False
        reader, black = open_arrays(part.source), []
        for ref in part.images[:_CHECKED_IMAGES]:
            try:
                image = np.asarray(reader(ref.place))
            except ImageError:
                continue
            black.append((border(image) == 0).mean() >= _NORMALIZED_SHARE)
        if not black or sum(black) < _NORMALIZED_SHARE * len(black):
            return False
    return bool(parts)


def refuse_unknown_orientation(path: Path, options: SourceOptions) -> None:
    """Raise ConfigError if images of EMNIST may be transposed, and no option says whether."""
    if options.transposed is None and "emnist" in path.name.lower():
        raise ConfigError(
            f"{path}: EMNIST stores images transposed: add --transposed; or --upright, if they "
            "were turned since"
        )


def _row(array: _Array, to_pixels: Callable[[Any], Content], place: int) -> Content:
    return to_pixels(array[place])


def _to_pixels(pixels: PixelFormat, row: _Array) -> Content:
    """Return one image upright, as uint8 where its scale is known."""
    shape = pixels.shape
    if pixels.is_transposed:
        image = row.reshape(shape[1], shape[0], *shape[2:]).swapaxes(0, 1)
    else:
        image = row.reshape(shape)
    low, high = pixels.low, pixels.high
    if math.isinf(high) or (image.dtype == np.uint8 and high == 255):
        return image
    values = image.astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("holds nan or infinity, or its row in a table is not one number per pixel")
    if values.min() < low or values.max() > high:
        raise ImageError(f"holds values outside {low:g} to {high:g}, where the first images lie")
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def _kind_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy", ".mat"):
        return suffix[1:]
    return "idx" if is_idx_name(path.name) else ""


def _role(name: str) -> _Role:
    stem = re.sub(r"\.(npy|npz)$", "", re.sub(r"([a-z])([A-Z])", r"\1_\2", name))
    words = [word for word in _WORD.findall(stem.lower()) if word not in _IDX_WORDS]
    labels = [word for word in words if word in _LABELS]
    images = [word for word in words if word in _IMAGES]
    writers = [word for word in words if word in _WRITERS]
    kind = "writers" if writers else "labels" if labels else "images" if images else ""
    split = next((word for word in words if split_of([word])), "")
    known = {*(writers or labels or images)[:1], split}
    return _Role(kind, split, tuple(word for word in words if word not in known))


def _groups(arrays: list[Array], path: Path) -> list[tuple[Split, Array, Array, Array | None]]:
    """Return (split, images, labels, writers if any) of each split, or of the one that there is."""
    groups: dict[tuple[tuple[str, ...], str], dict[str, Array]] = {}
    for array in arrays:
        role = _role(array.name)
        if role.kind:
            groups.setdefault((role.others, role.split_word), {}).setdefault(role.kind, array)
    found = {key: group for key, group in groups.items() if {"images", "labels"} <= group.keys()}
    sets = {others for others, _ in found}
    words = {word for _, word in found}
    if len(sets) != 1 or ("" in words and len(words) > 1):
        raise DataError(
            f"{path} should hold the arrays images and labels (or x_train, y_train, x_test, "
            "y_test), or have files of such names (images.npy and labels.npy) beside it; its "
            f"arrays are {', '.join(map(str, arrays)) or 'none'}"
        )
    sorted_groups = [
        (split_of([word]), g["images"], g["labels"], g.get("writers"))
        for (_, word), g in found.items()
    ]
    return sorted(sorted_groups, key=lambda g: ("train", "validation", "test", "").index(g[0]))


def _formatted(
    path: Path, split: Split, images: Array, labels: Array, options: SourceOptions
) -> tuple[Split, Array, Array]:
    """Return the pair, once it is known how its images are stored; DataError if they are none."""
    for array in (images, labels):
        if array.dtype.hasobject:
            raise DataError(
                f"{path}: {array.name} holds Python objects, which are never loaded, as they could "
                "run code: save it as numbers or text"
            )
    if images.dtype.kind not in "buif":
        raise DataError(f"{path}: {images.name} holds {images.dtype}, not numbers")
    count = math.prod(labels.shape)
    if len(labels.shape) != 1 and max(labels.shape, default=0) != count:
        raise DataError(
            f"{path}: {labels.name} has shape {labels.shape}, not (N,); turn one-hot rows into "
            "labels with labels.argmax(axis=1)"
        )
    shape = images.shape
    samples_last = images.source.kind == "mat" and len(shape) > 1 and shape[0] != count == shape[-1]
    if samples_last:
        shape = (shape[-1], *shape[:-1])
    if shape[:1] != (count,):
        raise DataError(
            f"{path}: {images.name} holds {shape[0] if shape else 0:,} images, but {labels.name} "
            f"{count:,} labels"
        )
    pixels = PixelFormat(_image_shape(shape, f"{path}: {images.name}"), samples_last=samples_last)
    if (size := math.prod(shape[1:]) * images.dtype.itemsize) > MAX_FILE_BYTES:
        raise DataError(f"{path}: an image of {images.name} takes {size / 1e6:,.0f} MB: too large")
    if images.source.kind != "mat":
        refuse_unknown_orientation(images.source.path, options)
    is_flat = images.source.kind == "mat" and len(shape) == 2 and not samples_last
    turned = is_flat if options.transposed is None else options.transposed
    source = replace(images.source, pixels=pixels._replace(is_transposed=turned))
    source = with_scale(source, count, f"{path}: {images.name}")
    return split, images._replace(source=source), labels


def _image_shape(shape: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Return (H, W) or (H, W, C) of the images in an array (N, …)."""
    if len(shape) == 2 and (side := math.isqrt(shape[1])) ** 2 == shape[1] and side > 1:
        return (side, side)
    if len(shape) == 4 and shape[1] == 1:
        return shape[2:]
    if len(shape) == 4 and shape[1] == 3 and shape[3] not in (1, 3, 4):
        raise DataError(f"{where} has shape {shape}: turn it with images.transpose(0, 2, 3, 1)")
    if len(shape) not in (3, 4):
        raise DataError(
            f"{where} has shape {shape}; images are (N, H, W), (N, H, W, C), or (N, pixels) of "
            "squares"
        )
    return shape[1:3] if shape[3:] == (1,) else shape[1:]


def _labels(labels: Array, names: dict[int, str]) -> list[Any]:
    values = _load(labels.source).reshape(-1).tolist()
    return [names.get(value, value) for value in values] if names else values


def _load(source: Source) -> _Array:
    """Return a whole array, which is not read yet where the file allows that."""
    if source.kind == "npz":
        with _npz_member(source.path, source.member) as (_, stream):
            values: _Array = npy.read_array(stream, allow_pickle=False)
            return values
    if source.kind == "npy":
        with explained(f"read {source.path}", DataError):
            array: _Array = np.load(source.path, mmap_mode="r", allow_pickle=False)
            return array
    if source.kind == "idx":
        return read_idx(source.path, rank=_idx_rank(source.path))
    return _mat_values(source.path, stamp_of(source.path))[source.member]


@contextlib.contextmanager
def _npz_member(path: Path, name: str) -> Iterator[tuple[ZipReader, IO[bytes]]]:
    with (
        ZipReader(path, max_file_bytes=_MAX_ARRAY_BYTES) as archive,
        archive.open(f"{name}.npy") as stream,
    ):
        yield archive, stream


def _npz_rows(path: Path, name: str) -> Iterator[_Array]:
    with _npz_member(path, name) as (archive, stream):
        array = _read_header(archive, f"{name}.npy", stream)
        size = math.prod(array.shape[1:]) * array.dtype.itemsize
        for _ in range(array.shape[0]):
            content = stream.read(size)
            if len(content) < size:
                raise EOFError(f"{name} is cut short")
            yield np.frombuffer(content, array.dtype).reshape(array.shape[1:])


def _npz_headers(path: Path) -> Iterator[Array]:
    with ZipReader(path, max_file_bytes=_MAX_ARRAY_BYTES) as archive:
        files = [name for name in archive.files if name.endswith(".npy")]
        for name in files:
            with archive.open(name) as stream:
                array = _read_header(archive, name, stream)
            yield array._replace(name=path.name) if files == ["arr_0.npy"] else array


def _read_header(archive: ZipReader, file: str, stream: IO[bytes]) -> Array:
    shape, is_fortran, dtype = _npy_header(stream)
    if math.prod(shape) * dtype.itemsize > archive.files[file].file_size:
        raise EOFError(f"{file} holds less than the {shape} it promises")
    if is_fortran and len(shape) > 1:
        raise DataError(
            f"{archive.path}: {file} is in Fortran order: save np.ascontiguousarray of it"
        )
    name = file.removesuffix(".npy")
    return Array(name, shape, dtype, Source("npz", archive.path, name))


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, whether it is in Fortran order, and the type of an array."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    return shape, is_fortran, dtype


def _npy_headers(path: Path) -> Iterator[Array]:
    source = Source("npy", path)
    with path.open("rb") as stream:
        shape, _, dtype = _npy_header(stream)
    if not dtype.hasobject:
        _load(source)  # mapped, which compares what the header promises with the length of the file
    yield Array(path.name, shape, dtype, source)


def _idx_headers(path: Path) -> Iterator[Array]:
    shape = read_shape(path, rank=_idx_rank(path))
    yield Array(path.name, shape, np.dtype(np.uint8), Source("idx", path))


def _idx_rank(path: Path) -> int:
    return 3 if "idx3" in path.name else 1


def _mat_headers(path: Path) -> Iterator[Array]:
    for name, values in _mat_values(path, stamp_of(path)).items():
        yield Array(name, values.shape, values.dtype, Source("mat", path, name))


@lru_cache(maxsize=1)
def _mat_values(path: Path, _stamp: str) -> dict[str, _Array]:
    """Return the arrays of numbers or text in a MAT file, with the fields of structs by path."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    if not multiprocessing.current_process().daemon:  # a worker may crash, and have no worker
        _refuse_crashing(path)
    try:
        content = loadmat(str(path), appendmat=False)
    except NotImplementedError:
        raise DataError(
            f"{path} is a MAT file of version 7.3: save it with -v7 in MATLAB"
        ) from None
    except Exception as error:  # SciPy's reader meets damage with errors of many kinds
        raise DataError(f"{path} is not a valid MAT file: {error}") from error
    return dict(_fields("", {k: v for k, v in content.items() if not k.startswith("__")}))


def _refuse_crashing(path: Path) -> None:
    """Raise DataError where SciPy's reader, compiled code, ends its process: some damage does."""
    worker: Worker[tuple[Path], None] = Worker(partial(map, _try_mat))
    try:
        worker.send((path,))
        worker.receive()
    except WorkerError as error:
        raise DataError(f"{path} is not a valid MAT file: {error}") from None
    finally:
        worker.end()


def _try_mat(path: Path) -> None:
    from scipy.io import loadmat

    with contextlib.suppress(Exception):  # raised again where it can be explained
        loadmat(str(path), appendmat=False)


def _fields(prefix: str, values: Any) -> Iterator[tuple[str, _Array]]:
    for name in values if isinstance(values, dict) else values.dtype.names:
        value = np.asarray(values[name])
        while value.dtype == object and value.size == 1 and isinstance(value.item(), np.ndarray):
            value = value.item()
        if value.dtype.names and value.size == 1:
            yield from _fields(f"{prefix}{name}.", value.reshape(-1)[0])
        elif not value.dtype.hasobject:
            yield f"{prefix}{name}", value


def _mat_names(path: Path) -> dict[int, str]:
    """Return the class names in the `mapping` of EMNIST's MAT files: label, then a code or two."""
    for name, values in _mat_values(path, stamp_of(path)).items():
        if name.rpartition(".")[2] == "mapping" and values.ndim == 2 and values.shape[1] >= 2:
            return {int(label): "".join(map(chr, codes)) for label, *codes in values.astype(int)}
    return {}


_HEADERS: dict[str, Callable[[Path], Iterator[Array]]] = {
    "npz": _npz_headers, "npy": _npy_headers, "idx": _idx_headers, "mat": _mat_headers,
}  # fmt: skip
