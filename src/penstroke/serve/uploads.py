"""What comes in a request's body: images, forms with an image, and strokes."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

from PIL import Image
from pydantic_core import from_json
from python_multipart import parse_form
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File

from penstroke.errors import ImageError
from penstroke.preprocessing.ink import InkSettings, Preprocessed, preprocess
from penstroke.serve.responses import ApiError
from penstroke.serve.strokes import Drawing, image_of, read_drawing

JSON = "application/json"
FORM = "multipart/form-data"
IMAGES = ("image/png", "image/jpeg")
_EXIF = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
RECOGNIZABLE = (*IMAGES, FORM, JSON)


@dataclass(frozen=True)
class Body:
    """A whole body, as it came: `content` is of the kind that `content_type` says."""

    content_type: str
    content: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return media_type_of(self.content_type)


def media_type_of(content_type: str) -> str:
    """Return the content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def preprocess_body(body: Body, settings: InkSettings, max_pixels: int) -> Preprocessed:
    """Return the character in an image, a form's image, or strokes.

    Raises:
        ApiError, ImageError, ConfigError: it is damaged, too large, or not what it claims.
    """
    if body.media_type == JSON:
        return read_drawing(parse_drawing(body.content), settings)
    return preprocess(open_image(_image_in(body), max_pixels), settings)


def read_body_as_image(body: Body, max_pixels: int) -> Image.Image:
    """Return the image in the body; of strokes, the canvas. Raises as `preprocess_body`."""
    if body.media_type == JSON:
        drawing = parse_drawing(body.content)
        _refuse_too_large(round(drawing.width), round(drawing.height), max_pixels)
        return image_of(drawing)
    return open_image(_image_in(body), max_pixels)


def parse_drawing(content: bytes) -> Drawing:
    """Return the drawing in JSON; ApiError 400 where it is no JSON, ConfigError names the field."""
    return Drawing.parse(parse_json(content))


def parse_json(content: bytes) -> dict[str, Any]:
    """Return the object that `content` holds.

    Raises:
        ApiError: 400, it is no JSON; 422, it is no object.
    """
    try:
        value = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, "bad_json", f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ApiError(422, "invalid", f"the body is a JSON {type(value).__name__}, not an object")
    return value


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Return the PNG or JPEG, decoded; its size is looked at before that.

    Raises:
        ImageError: it is neither, is damaged, or has more than `max_pixels`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    except Exception as error:  # Pillow's decoders raise of every kind on damaged files
        raise ImageError("the image is neither a PNG nor a JPEG that can be read") from error
    _refuse_too_large(image.width, image.height, max_pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            if not _EXIF.isdisjoint(image.info):
                image.getexif()  # will be read again, to turn the image upright
    except Exception as error:
        raise ImageError(f"the image is damaged: {error}") from error
    return image


def _refuse_too_large(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            f"the image is too large: {width}×{height} is {width * height / 1e6:.1f} megapixels, "
            f"{max_pixels / 1e6:.0f} are allowed"
        )


def _image_in(body: Body) -> bytes:
    return body.content if body.media_type != FORM else _image_of_form(body)


def _image_of_form(body: Body) -> bytes:
    images: list[bytes] = []

    def keep(file: File) -> None:
        if file.field_name == b"image":
            file.file_object.seek(0)
            images.append(file.file_object.read())
        file.close()

    def ignore(_: Field) -> None:
        """Nothing but the image is read."""

    headers = {"Content-Type": body.content_type.encode("latin-1")}
    try:
        parse_form(headers, io.BytesIO(body.content), ignore, keep)
    except (FormParserError, ValueError, KeyError) as error:
        raise ApiError(400, "bad_form", f"the form cannot be read: {error}") from None
    if len(images) != 1:
        raise ApiError(
            422,
            "invalid",
            f"image: {len(images)} files of that name in the form, one is needed",
        )
    return images[0]
