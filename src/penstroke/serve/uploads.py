"""Request bodies that hold an image: PNG, JPEG and WebP files, forms with one, and strokes."""

import math
import warnings
from itertools import count
from typing import NamedTuple

from fastapi import Request
from PIL import Image
from pydantic_core import from_json
from python_multipart import create_form_parser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File

from penstroke.errors import ImageError
from penstroke.inference.check_digits import CheckDigitName
from penstroke.preprocessing import decoding
from penstroke.preprocessing.ink import InkSettings, Preprocessed, preprocess
from penstroke.serve.limits import MAX_JSON_BYTES
from penstroke.serve.responses import ApiError
from penstroke.serve.strokes import Drawing, image_of, preprocess_drawing

JSON = "application/json"
FORM = "multipart/form-data"
IMAGES = ("image/png", "image/jpeg", "image/webp")
_KEPT_PIXELS = 4_000_000
"""Larger images are scaled down to about this: a page in hand still has 50 pixels a character."""
_MAX_PARTS = 100  # of a form
_EXIF = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}


class Options(NamedTuple):
    """What to recognise: one character, with its `top` classes or all, or the lines of a `page`.

    Of a page, whether it is `one_line`, and the `format` and the `check_digit` of its lines.
    """

    top: int | None = None
    occlusion: bool = False
    page: bool = False
    one_line: bool = False
    format: str | None = None
    check_digit: CheckDigitName | None = None

    @property
    def is_long(self) -> bool:
        """Whether it takes as long as dozens of characters."""
        return self.occlusion or self.page


class Upload(NamedTuple):
    """A whole request body and its Content-Type."""

    content_type: str
    content: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()


async def read_upload(request: Request, *accepted: str) -> Upload:
    """Return the body of `request`; ApiError 415 where its type is none of the `accepted`."""
    content_type = request.headers.get("content-type", "")
    if Upload(content_type, b"").media_type not in accepted:
        raise ApiError(
            415, "wrong_type",
            f"Content-Type {content_type[:80] or '(none)'} is not supported; use one of: "
            f"{', '.join(accepted)}",
        )  # fmt: skip
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "wrong_type", "Content-Encoding is not supported: send it uncompressed")
    return Upload(content_type, await request.body())


def preprocess_upload(upload: Upload, settings: InkSettings, max_pixels: int) -> Preprocessed:
    """Return the character in an image, a form's image, or strokes.

    ApiError, ConfigError, ImageError: it is damaged, too large, or not what it claims to be.
    """
    if upload.media_type == JSON:
        return preprocess_drawing(parse_drawing(upload.content), settings)
    return preprocess(open_image(_image_file(upload), max_pixels), settings)


def upload_to_image(upload: Upload, max_pixels: int) -> Image.Image:
    """Return the image in the body, or the canvas of its strokes. Raises as `preprocess_upload`."""
    if upload.media_type == JSON:
        drawing = parse_drawing(upload.content)
        most = min(max_pixels, _KEPT_PIXELS)
        _refuse_too_large(round(drawing.width), round(drawing.height), most)
        return image_of(drawing)
    return open_image(_image_file(upload), max_pixels)


def parse_drawing(content: bytes) -> Drawing:
    """Return the drawing in JSON; ApiError 400 if it is not JSON, ConfigError names a bad field."""
    if len(content) > MAX_JSON_BYTES:
        raise ApiError(413, "too_large", f"the JSON is larger than {MAX_JSON_BYTES:,} bytes")
    try:
        values = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, "bad_json", f"the body is not JSON: {error}") from None
    return Drawing.parse(values)


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Return the PNG, JPEG or WebP, decoded, and scaled down if it has over 4 megapixels.

    ImageError if it is none of these, damaged, or has more than `max_pixels`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = decoding.open_image(content, ("PNG", "JPEG", "WEBP"))
        _refuse_too_large(image.width, image.height, max_pixels)
        try:
            image.draft(None, _kept_size(image))  # decodes a JPEG at a half, a quarter, an eighth
            image.load()
            if not _EXIF.isdisjoint(image.info):
                image.getexif()  # read again later, to turn the image upright
        except Exception as error:
            raise ImageError(f"the image is damaged: {error}") from error
    return _scaled_down(image)


def _scaled_down(image: Image.Image) -> Image.Image:
    size = _kept_size(image)
    if size == image.size:
        return image
    if image.mode.startswith("I"):  # 16 bits
        mode = "I"
    else:
        mode = "RGBA" if "A" in image.mode or "transparency" in image.info else "L"
    smaller = image.convert(mode).resize(size, Image.Resampling.BOX)
    smaller.info = {key: value for key, value in image.info.items() if key in _EXIF}
    return smaller


def _kept_size(image: Image.Image) -> tuple[int, int]:
    scale = max(1.0, math.sqrt(image.width * image.height / _KEPT_PIXELS))
    return max(1, int(image.width / scale)), max(1, int(image.height / scale))


def _refuse_too_large(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"the image is too large: {width}×{height} is {width * height / 1e6:.1f} megapixels, "
            f"{max_pixels / 1e6:.0f} are allowed"
        )


def _image_file(upload: Upload) -> bytes:
    """Return the body, or the file `image` of a form."""
    if upload.media_type != FORM:
        return upload.content
    images = form_images(upload)
    if len(images) != 1:
        raise ApiError(422, "invalid", f"image: the form has {len(images)} such files, not one")
    return images[0]


def form_images(upload: Upload) -> list[bytes]:
    """Return the files `image` of a form, in order; ApiError 400 if it cannot be read."""
    images: list[bytes] = []
    parts = count(1)

    def limit(_: object) -> None:
        if next(parts) > _MAX_PARTS:
            raise ApiError(422, "invalid", f"the form has more than {_MAX_PARTS} parts")

    def keep(file: File) -> None:
        limit(file)
        if file.field_name == b"image":
            file.file_object.seek(0)
            images.append(file.file_object.read())
        file.close()

    headers = {"Content-Type": upload.content_type.encode("latin-1")}
    in_memory = {"MAX_MEMORY_FILE_SIZE": math.inf}
    try:
        parser = create_form_parser(headers, limit, keep, in_memory)
        parser.write(upload.content)
        parser.finalize()
    except (FormParserError, ValueError, KeyError) as error:
        raise ApiError(400, "bad_form", f"the form cannot be read: {error}") from None
    return images
