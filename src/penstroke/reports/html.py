"""Reports from templates: one environment, one stylesheet, one function that writes."""

from __future__ import annotations

import base64
import functools
import io
import math
import os
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from PIL import Image

from penstroke.data.dataset import Images
from penstroke.errors import MissingExtraError
from penstroke.files import write_text_atomically
from penstroke.machine import package_version

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Write `render(template, **values)` to `path` and return it; StorageError if that fails."""
    write_text_atomically(path, render(template, **values))
    return path


def render(template: str, **values: Any) -> str:
    """Return `template` of reports/templates/ as one self-contained HTML page, or Markdown.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return _environment().get_template(template).render(**values)


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as a percentage, or a dash if there is none."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def percent_range(interval: tuple[float, float]) -> str:
    """Return an interval of shares as percentages."""
    return f"{100 * interval[0]:.2f}–{100 * interval[1]:.2f} %"


def png_uri(image: Images) -> str:
    """Return one image, (H, W) or (H, W, 3), as a data URI."""
    return data_uri(png_file(Image.fromarray(image)))


def strip_uri(images: Images, gap: int = 2) -> str:
    """Return images (N, 28, 28) side by side as a data URI."""
    padded = np.pad(images, ((0, 0), (0, 0), (0, gap)))
    return png_uri(np.concatenate(list(padded), axis=1)[:, :-gap])


def tinted_uri(image: Images, attribution: npt.NDArray[np.float32]) -> str:
    """Return one image (28, 28) as a data URI, orange where `attribution` > 0, else blue."""
    largest = max(float(np.abs(attribution).max()), 1e-9)
    weight = np.sqrt(np.abs(attribution) / largest)[..., None]  # so that small values are visible
    tint = np.where(attribution[..., None] > 0, (255.0, 150.0, 30.0), (70.0, 160.0, 255.0))
    grey = np.repeat(image[..., None] * 0.45, 3, axis=2)
    return png_uri(np.round(grey * (1 - weight) + tint * weight).astype(np.uint8))


def data_uri(png: bytes) -> str:
    """Return a PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def png_file(image: Image.Image) -> bytes:
    """Return `image` as a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def relative_link(page: Path, target: Path) -> str:
    """Return the address of the file `target` as a link on the page at `page`."""
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())


def with_code(text: str) -> Markup:
    """Return plain text as HTML, in which what stands between backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def with_anchors(page: str) -> tuple[Markup, list[tuple[str, str]]]:
    """Return HTML with an anchor at each <h2>, and the anchors with the headings' HTML."""
    from markupsafe import Markup

    headings: list[tuple[str, str]] = []

    def anchored(heading: re.Match[str]) -> str:
        anchor = re.sub(r"[^a-z0-9]+", "-", Markup(heading[1]).striptags().lower()).strip("-")
        headings.append((anchor, heading[1]))
        return f'<h2 id="{anchor}">{heading[1]}</h2>'

    return Markup(re.sub("<h2>(.*?)</h2>", anchored, page)), headings


@functools.cache
def _environment() -> jinja2.Environment:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("penstroke.reports"),
        autoescape=lambda name: not str(name).endswith(".md.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": with_code,
        "count": "{:,}".format,
        "data_uri": data_uri,
        "markdown": functools.partial(re.sub, r"([\\`*_{}\[\]<>#|~])", r"\\\1"),
        "moment": lambda created: f"{created[:10]} {created[11:16]} UTC",
        "percent": percent,
        "percent_range": percent_range,
        "png_uri": png_uri,
        "strip_uri": strip_uri,
        "with_anchors": with_anchors,
    }
    icon = (resources.files("penstroke.reports") / "templates" / "icon.svg").read_bytes()
    environment.globals |= {
        "icon": f"data:image/svg+xml;base64,{base64.b64encode(icon).decode()}",
        "version": package_version("penstroke"),
    }
    return environment
