"""Any image as grey levels: files, bytes, Pillow images, arrays; damaged and huge ones refused."""

import io
import warnings
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from penstroke.config.settings import IMAGE_SIZE
from penstroke.errors import ImageError, ImageTooComplexError
from penstroke.files import explained
from penstroke.preprocessing.transparency import LUMA, flatten


class SupportsArray(Protocol):
    """What NumPy makes an array of, as a tensor of torch."""

    def __array__(self) -> npt.NDArray[Any]:
        """Return it as an array."""


ImageLike = str | Path | bytes | IO[bytes] | Image.Image | npt.NDArray[np.generic] | SupportsArray

Intensities = npt.NDArray[np.float32]

MAX_PIXELS = 50_000_000
"""Larger images are refused unless a model or a caller says otherwise."""
_CHANNELS = (1, 3, 4)
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "PCX",
           "DIB", "ICO")  # fmt: skip
"""What Pillow may decode. Its other formats are rare, slow, or call programs (EPS: Ghostscript)."""
_OTHERS = {b"ftypheic": "HEIC", b"ftypheix": "HEIC", b"ftypmif1": "HEIC", b"%PDF-": "PDF"}
"""What other files that people have photos in begin with."""
_MAX_SLOW_PIXELS = 1_000_000
"""Of formats that Pillow decodes in Python, such as plain-text PPM: a million takes a second."""
_MAX_SCANS = 100
"""Of a progressive JPEG, which has ten: each is a pass over the whole image."""
WORKING_SIDE = 400
"""Larger images of a character are averaged down to about this: 20 pixels are kept in the end."""


def read_grey(
    source: ImageLike, max_pixels: int = MAX_PIXELS, working_side: int = WORKING_SIDE
) -> Intensities:
    """Return the image as float32 grey levels (H, W) in 0..1, turned upright by its EXIF tag.

    A file may be open. An array, or a tensor of torch, is (H, W) grey or boolean, or
    (H, W, 1 | 3 | 4); uint8, uint16, or float in 0..1 or 0..255. Images of more than `max_pixels`
    are refused before they are decoded. A side of twice `working_side` pixels, or more, is averaged
    down by a whole factor. ImageError names the file.
    """
    if not isinstance(source, Image.Image) and hasattr(source, "__array__"):
        return _grey_of_array(array_of(source), max_pixels, working_side)
    name = str(source) if isinstance(source, str | Path) else "image"
    image = source if isinstance(source, Image.Image) else open_image(source)
    _refuse_huge(image.width, image.height, max_pixels, name)
    try:
        with warnings.catch_warnings(action="ignore"):  # odd metadata are no reason to refuse it
            return _levels(ImageOps.exif_transpose(image), working_side, name)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} is damaged: {error}") from error


def array_of(source: Any) -> npt.NDArray[Any]:
    """Return an array, or what can become one, as an array; ImageError where it cannot."""
    try:
        return np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    except Exception as error:  # each library has its own
        raise ImageError(f"{type(source).__name__} cannot become an array: {error}") from error


def as_batch(source: Any) -> list[Any] | None:
    """Return the images in a list, tuple, array or tensor of several; None if it is one image.

    ImageError: it may be either.
    """
    if isinstance(source, list | tuple):
        return list(source)
    if isinstance(source, Image.Image) or not hasattr(source, "__array__"):
        return None
    array = array_of(source)
    count, *sides = array.shape or (0,)
    if array.ndim == 4 and (sides[0] in _CHANNELS) != (sides[2] in _CHANNELS):
        return list(array if sides[2] in _CHANNELS else np.moveaxis(array, 1, -1))
    if array.ndim == 3 and sides[1] > max(_CHANNELS) and count not in _CHANNELS:
        return list(array)
    if array.ndim == 4 or (array.ndim == 3 and sides[1] > max(_CHANNELS)):
        kinds = f"{count} images, or have its channels in another place"
    elif array.ndim == 2 and sides == [IMAGE_SIZE**2]:
        kinds = f"{count} images in rows, for list(array.reshape(-1, 28, 28)), or one"
    else:
        return None
    raise ImageError(f"array of shape {array.shape} may be {kinds}: pass a list of images")


def open_image(source: Any, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Return the image in a file, open or not, or its bytes, not decoded yet.

    ImageError names the file.

    It is of one of `formats`, whatever its name says; others are refused.
    """
    name = str(source) if isinstance(source, str | Path) else "image"
    with explained(f"read {name}", ImageError):
        content: Any = Path(source).read_bytes() if isinstance(source, str | Path) else source
        content = content.read() if hasattr(content, "read") else content
    if not isinstance(content, bytes | bytearray | memoryview):
        raise ImageError(
            f"{type(source).__name__} is not an image: give a path, bytes, a file opened with "
            '"rb", a Pillow image or an array'
        )
    content = bytes(content)
    if not content:
        raise ImageError(f"{name} is empty: zero bytes")
    try:
        # Pillow warns of a decompression bomb; we refuse it by its size before decoding.
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(io.BytesIO(content), formats=formats)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error}") from None
    except Exception as error:  # Pillow's plug-ins raise any kind on damaged files
        known = ", ".join(formats[:2]) + ", …" * (len(formats) > 2)
        kind = next((kind for mark, kind in _OTHERS.items() if mark in content[:12]), None)
        advice = f": it is {kind}; save it as PNG or JPEG" if kind else ""
        raise ImageError(f"{name} is not an image that can be read ({known}){advice}") from error
    if image.format in ("JPEG", "MPO") and content.count(b"\xff\xda") > _MAX_SCANS:
        raise ImageTooComplexError(f"{name} has more than {_MAX_SCANS} scans: save it anew")
    if any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ())):
        _refuse_huge(image.width, image.height, _MAX_SLOW_PIXELS, f"{name} ({image.format})")
    return image


def page_count(content: bytes) -> int:
    """Return the pages of a TIFF file, or the frames of a GIF; 1 for all others, and if damaged."""
    if not content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8")):
        return 1
    try:
        return int(getattr(open_image(content), "n_frames", 1))
    except Exception:  # Pillow's plug-ins raise any kind on damaged files; reading it says which
        return 1


def _grey_of_array(
    array: npt.NDArray[np.generic], max_pixels: int, working_side: int
) -> Intensities:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(f"array of shape {array.shape}: an image must be (H, W) or (H, W, C)")
    if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, 2)  # as torch has them
    channels = array.shape[2] if array.ndim == 3 else 1
    if channels not in _CHANNELS:
        raise ImageError(f"array has {channels} channels: an image must have 1, 3 or 4")
    _refuse_huge(array.shape[1], array.shape[0], max_pixels, "array")
    if array.ndim == 3 and channels == 1:
        array = array[..., 0]
    if array.dtype == np.uint8:  # takes the way of a decoded file, for the same bits
        return _levels(Image.fromarray(np.ascontiguousarray(array)), working_side, "array")
    levels = _scaled_to_one(array, "array")
    if channels == 3:
        levels = levels @ LUMA
    elif channels == 4:
        premultiplied = [levels[..., :3] * levels[..., 3:], levels[..., 3:]]
        levels = flatten(np.concatenate(premultiplied, 2))
    return averaged(levels, working_side)


def _levels(image: Image.Image, working_side: int, name: str) -> Intensities:
    """Return grey levels in 0..1, whatever the mode; transparent parts are filled in."""
    if image.mode.startswith("I") or image.mode == "F":
        levels = _scaled_to_one(np.asarray(image), name)
        if isinstance(key := image.info.get("transparency"), int):  # the one clear level
            alpha = (np.asarray(image) != key).astype(np.float32)
            levels = flatten(np.stack([*[levels * alpha] * 3, alpha], axis=2))
        return averaged(levels, working_side)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        # Only colours weighted by their alpha may be averaged.
        weighted = _reduced(image.convert("RGBA").convert("RGBa"), working_side)
        return flatten(np.asarray(weighted, np.float32) / np.float32(255))
    return np.asarray(_reduced(image.convert("L"), working_side), np.float32) / np.float32(255)


def _scaled_to_one(array: npt.NDArray[np.generic], name: str) -> Intensities:
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype.kind not in "uif":
        raise ImageError(f"{name} is {array.dtype}: an image must be uint8, uint16, bool or float")
    levels = array.astype(np.float32)
    if not np.isfinite(levels).all():
        raise ImageError(f"{name} holds values that are not finite (nan or infinity)")
    low, high = float(levels.min()), float(levels.max())
    if low < 0:
        raise ImageError(f"{name} holds negative values (the least is {low:g})")
    if array.dtype.kind == "f":
        full = 1.0 if high <= 1 else 255.0 if high <= 255 else high
    else:
        full = 255.0 if high <= 255 else max(high, 65535.0)
    return np.asarray(levels / full, np.float32)


def median(values: npt.NDArray[np.float32]) -> Any:
    """Return the median along the last axis, without `numpy.median`'s slow import of `numpy.ma`."""
    lower, upper = (values.shape[-1] - 1) // 2, values.shape[-1] // 2
    return np.partition(values, (lower, upper))[..., [lower, upper]].mean(axis=-1)


def averaged(grey: Intensities, working_side: int) -> Intensities:
    """Return `grey` (H, W) averaged down to `working_side` pixels, or less than twice as many."""
    image = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    return np.asarray(_reduced(image, working_side), np.float32)


def _reduced(image: Image.Image, working_side: int) -> Image.Image:
    factor = max(image.size) // working_side
    if factor < 2:
        return image
    # A factor may not exceed a side: 1×20000 stays one pixel wide.
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def _refuse_huge(width: int, height: int, max_pixels: int, name: str) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is too large: {width}×{height} is {width * height / 1e6:.0f} megapixels, "
            f"{max_pixels / 1e6:.0f} are allowed"
        )
