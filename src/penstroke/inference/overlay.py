"""An image with what was read in it drawn over it, as SVG that can be opened and changed.

The image is inside, so that the file is whole by itself. Each line is a layer (as Inkscape knows
them), each character a group of a `rect`, its `text`, and a `title` that tells the alternatives.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image, ImageOps

from penstroke.config.class_names import as_text
from penstroke.inference.line_reader import CharacterReading, LineReading, PageReading
from penstroke.preprocessing.decoding import ImageLike
from penstroke.preprocessing.ink import InkSettings, read_grey

_SURE, _UNSURE = "#0b62c4", "#c8410b"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold."""


def overlay_svg(page: PageReading, image: ImageLike, ink: InkSettings) -> str:
    """Return the SVG of `image` with the boxes and labels of `page`.

    Raises:
        ImageError: it is no image, or larger than `ink` allows.
    """
    size = f'width="{page.width}" height="{page.height}"'
    layers = "".join(_layer(number, line) for number, line in enumerate(page.lines, start=1))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg"\n'
        '  xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape"\n'
        f'  {size} viewBox="0 0 {page.width} {page.height}">\n'
        f'<image {size} href="{_data_uri(image, ink)}"/>\n{layers}</svg>\n'
    )


def _layer(number: int, line: LineReading) -> str:
    name = quoteattr(f"line {number}: {_plain(line.text)}")
    height = float(np.median([c.box.height for c in line.characters]))
    characters = "".join(_group(character, height) for character in line.characters)
    return f'<g inkscape:groupmode="layer" inkscape:label={name}>\n{characters}</g>\n'


def _group(character: CharacterReading, line_height: float) -> str:
    box, stroke = character.box, max(1.0, line_height / 30)
    color, dashes = (_SURE, "") if character.status == "ok" else (_UNSURE, _dashes(stroke))
    size = max(6.0, 0.5 * line_height)
    others = ", ".join(f"{_plain(label)} {100 * p:.1f} %" for label, p in character.top(3))
    title = f"{others}{'; cut from its neighbour' if character.split else ''}"
    return (
        f"<g><title>{escape(title)}</title>"
        f'<rect x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}" '
        f'fill="none" stroke="{color}" stroke-width="{stroke:.1f}"{dashes}/>'
        f'<text x="{box.left + box.width / 2:.1f}" y="{max(size, box.top - 2 * stroke):.1f}" '
        f'font-family="sans-serif" font-size="{size:.1f}" text-anchor="middle" fill="{color}" '
        f'stroke="#fff" stroke-width="{3 * stroke:.1f}" paint-order="stroke">'
        f"{escape(_plain(as_text(character.label)))}</text></g>\n"
    )


def _dashes(stroke: float) -> str:
    return f' stroke-dasharray="{3 * stroke:.1f} {2 * stroke:.1f}"'


def _plain(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _data_uri(pixels: ImageLike, ink: InkSettings) -> str:
    """Return the image, upright, as a PNG or, where it came as one, as a JPEG."""
    kind, content = "png", b""
    if isinstance(pixels, np.ndarray):
        grey = read_grey(pixels, ink, working_side=ink.max_pixels)
        content = _encoded(Image.fromarray(np.rint(grey * 255).astype(np.uint8)), "png")
    elif isinstance(pixels, Image.Image):
        content = _encoded(pixels, "png")
    else:
        original = pixels if isinstance(pixels, bytes) else Path(pixels).read_bytes()
        with Image.open(io.BytesIO(original)) as image:
            kind = "jpeg" if image.format == "JPEG" else "png"
            content = _encoded(image, kind)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _encoded(image: Image.Image, kind: str) -> bytes:
    upright = ImageOps.exif_transpose(image)
    if kind == "jpeg" or upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        upright = upright.convert("RGB")
    stream = io.BytesIO()
    upright.save(stream, kind, quality=92)
    return stream.getvalue()
