"""An image with what was read in it drawn over it, as SVG that can be opened and edited.

The image is embedded, so the file is complete by itself. Each line is a layer (as Inkscape knows
them), each character a group of a `rect`, its `text`, and a `title` with the alternatives.
"""

import base64
import io
import re
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image, ImageOps

from penstroke.config.class_names import as_text
from penstroke.inference.readings import CharacterReading, PageReading
from penstroke.preprocessing.decoding import ImageLike, open_image, read_grey
from penstroke.preprocessing.ink import InkSettings

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that an XML 1.0 document may not hold."""


def overlay_svg(page: PageReading, image: ImageLike, ink: InkSettings) -> str:
    """Return the SVG of `image` with the boxes and labels of `page`; ImageError as `read_page`."""
    size = f'width="{page.width}" height="{page.height}"'
    layers = ""
    for number, line in enumerate(page.lines, start=1):
        name = quoteattr(f"line {number}: {_valid(line.text)}")
        heights = [c.box.height for c in line.characters] or [line.box.height]
        height = float(np.median(heights))
        groups = "".join(_group(character, height) for character in line.characters)
        layers += f'<g inkscape:groupmode="layer" inkscape:label={name}>\n{groups}</g>\n'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg"\n'
        '  xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape"\n'
        f'  {size} viewBox="0 0 {page.width} {page.height}">\n'
        f'<image {size} href="{_data_uri(image, ink.max_pixels)}"/>\n{layers}</svg>\n'
    )


def _group(character: CharacterReading, line_height: float) -> str:
    box, stroke, size = character.box, max(1.0, line_height / 30), max(6.0, 0.5 * line_height)
    color, dashes = "#0b62c4", ""
    if character.status == "rejected":
        color, dashes = "#c8410b", f' stroke-dasharray="{3 * stroke:.1f} {2 * stroke:.1f}"'
    alternatives = ", ".join(f"{_valid(label)} {100 * p:.1f} %" for label, p in character.top(3))
    title = f"{alternatives}{'; split from its neighbour' if character.split else ''}"
    return (
        f"<g><title>{escape(title)}</title>"
        f'<rect x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}" '
        f'fill="none" stroke="{color}" stroke-width="{stroke:.1f}"{dashes}/>'
        f'<text x="{box.left + box.width / 2:.1f}" y="{max(size, box.top - 2 * stroke):.1f}" '
        f'font-family="sans-serif" font-size="{size:.1f}" text-anchor="middle" fill="{color}" '
        f'stroke="#fff" stroke-width="{3 * stroke:.1f}" paint-order="stroke">'
        f"{escape(_valid(as_text(character.label)))}</text></g>\n"
    )


def _valid(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _data_uri(source: ImageLike, max_pixels: int) -> str:
    """Return the image, upright, as a PNG or, where it came as one, as a JPEG."""
    if isinstance(source, np.ndarray):
        grey = read_grey(source, max_pixels, working_side=max_pixels)
        image = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    else:
        image = source if isinstance(source, Image.Image) else open_image(source)
    came_as_jpeg = image.format == "JPEG" and not isinstance(source, Image.Image)
    upright = ImageOps.exif_transpose(image)
    if came_as_jpeg or upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        upright = upright.convert("RGB")
    kind = "jpeg" if came_as_jpeg else "png"
    stream = io.BytesIO()
    upright.save(stream, kind, quality=92)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
