"""Images with transparent parts, of many kinds, that show one digit."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[Any]
SIDE = 224


def with_alpha(grey: Array, alpha: Array) -> Image.Image:
    levels = [np.rint(np.clip(part, 0, 1) * 255).astype(np.uint8) for part in (grey, alpha)]
    return Image.fromarray(np.dstack([levels[0]] * 3 + [levels[1]]))


def ink_of(digit: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return a digit (28, 28), bright on dark, as ink in 0..1 on a larger sheet."""
    enlarged = Image.fromarray(digit).resize((SIDE - 56,) * 2, Image.Resampling.BICUBIC)
    return np.pad(np.asarray(enlarged, np.float32) / np.float32(255), 28)


def opaque(ink: Array, *, dark: bool) -> npt.NDArray[np.float32]:
    return np.asarray(0.92 - 0.85 * ink if dark else 0.08 + 0.85 * ink, np.float32)


def sheets(ink: Array, *, dark: bool) -> dict[str, Image.Image]:
    """Paper that is opaque in part, or partly opaque."""
    rng = np.random.default_rng(0)
    grey, down, across = opaque(ink, dark=dark), *np.mgrid[0:SIDE, 0:SIDE]
    middle = np.hypot(down - SIDE / 2, across - SIDE / 2)
    inside = (down + across > 50) & (down + across < 2 * SIDE - 50) & (abs(down - across) < 174)
    round_sheet = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(round_sheet).rounded_rectangle((0, 0, SIDE - 1, SIDE - 1), 30, fill=255)
    shadow, edge = Image.new("L", (SIDE + 80, SIDE + 80)), np.s_[40 : 40 + SIDE, 40 : 40 + SIDE]
    shadow.paste(140, (40, 48, 40 + SIDE, 48 + SIDE))
    alpha = np.asarray(shadow.filter(ImageFilter.GaussianBlur(14)), np.float32) / 255
    window, framed, whole = np.zeros_like(alpha), np.zeros_like(alpha), alpha.copy()
    window[edge], whole[edge], framed[edge] = grey, 1, np.pad(grey[1:-1, 1:-1], 1,
                                                              constant_values=0.4)  # fmt: skip
    clouds = Image.fromarray(rng.integers(175, 256, (6, 6), np.uint8)).resize((SIDE, SIDE))
    punched = rng.random((SIDE, SIDE)) > 0.02
    return {
        "corners": with_alpha(grey, inside),
        "corners over black": with_alpha(np.where(inside, grey, 0), inside),
        "circle": with_alpha(grey, middle < SIDE / 2),
        "circle, smooth": with_alpha(grey, SIDE / 2 - middle),
        "rounded": with_alpha(grey, np.asarray(round_sheet) / 255),
        "window with a shadow": with_alpha(window, whole),
        "window with a frame": with_alpha(framed, whole > 0.99),
        "tilted": with_alpha(grey, np.ones_like(grey)).rotate(2, Image.Resampling.BICUBIC, True),
        "partly opaque, noise": with_alpha(grey, rng.integers(175, 256, grey.shape) / 255),
        "partly opaque, clouds": with_alpha(grey, np.asarray(clouds) / 255),
        "faded": with_alpha(grey, np.full_like(grey, 0.4)),
        "one side clear": with_alpha(grey, across > 20),
        "punched": with_alpha(grey, punched),
        "grey and alpha": with_alpha(grey, middle < SIDE / 2).convert("LA"),
        "palette": with_alpha(grey, middle < SIDE / 2).quantize(200),
    }


def drawings(ink: Array, *, dark: bool) -> dict[str, Image.Image]:
    """Strokes on nothing, and what is cut out along them."""
    level, even = 0.0 if dark else 1.0, np.ones_like(ink)
    rng = np.random.default_rng(0)
    mask = Image.fromarray(np.rint(np.clip(ink, 0, 1) * 255).astype(np.uint8))
    grown = np.asarray(mask.filter(ImageFilter.MaxFilter(13)), np.float32) > 128
    drawing = with_alpha(level * even, ink)
    return {
        "ink": drawing,
        "ink, tight": drawing.crop(mask.point(lambda value: 255 * (value > 10)).getbbox()),
        "ink, hard edges": with_alpha(level * even, ink > 0.5),
        "ink on a large canvas": _pasted(drawing),
        "pale ink": with_alpha((0.35 if dark else 0.7) * even, ink),
        "grainy ink": with_alpha(0.75 * level + rng.normal(0.12, 0.08, ink.shape), ink),
        "ink of two colours": with_alpha(0.6 * level + 0.4 * np.linspace(0, 1, SIDE) * even, ink),
        "sticker": with_alpha(opaque(ink, dark=dark), grown),
        "stencil": with_alpha(level * even, 1 - ink),
        "ink, grey and alpha": drawing.convert("LA"),
    }


def keyed(ink: Array, kind: type[np.unsignedinteger]) -> Image.Image:
    """A PNG of grey levels, of which the paper's is declared transparent."""
    stream = io.BytesIO()
    most = np.iinfo(kind).max
    image = Image.fromarray(np.rint(np.clip(1 - ink, 0, 1) * most).astype(kind))
    image.save(stream, "PNG", transparency=int(most))
    return Image.open(io.BytesIO(stream.getvalue()))


def _pasted(drawing: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", (900, 700))
    canvas.paste(drawing, (500, 300))
    return canvas
