"""Digits set in freely licensed fonts, which come inside packages of the Python index.

    python scripts/printed_digits.py FOLDER

writes FOLDER/printed-digits.npz, 20,000 digits in fonts of the packages below, varied in weight,
width, slant, size and focus, for `penstroke data import printed-digits FOLDER/printed-digits.npz
--preprocessed --test-fraction 0`, and FOLDER/printed, 2,000 in other fonts (matplotlib's: DejaVu,
STIX, Computer Modern), for `penstroke evaluate RUN --external FOLDER/printed`.
"""

from __future__ import annotations

import io
import string
import sys
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from external_digits import packed, write
from penstroke.preprocessing.ink import normalize

Pixels = npt.NDArray[np.uint8]

PACKAGES = (
    "font-caladea==0.0.2", "font-fjallaone==0.1.7", "font-fredoka-one==0.0.4",
    "font-hanken-grotesk==0.0.2", "font-lato==0.1.0", "font-manrope==0.0.2", "font-rhd==0.1.3",
    "font-source-sans-pro==0.0.1", "font-source-serif-pro==0.0.1", "fontpkg-inter==4.1.post1",
    "fontpkg-noto-sans==2.15", "fontpkg-noto-serif==2.15", "fontpkg-open-sans==3.3",
)  # fmt: skip
"""Under the SIL Open Font License, and Caladea and Open Sans partly under the Apache License."""
_HELD_OUT = ("DejaVuS*.ttf", "STIXGeneral*.ttf", "cmr10.ttf", "cmss10.ttf", "cmb10.ttf",
             "cmtt10.ttf")  # fmt: skip
_SIZE = 96
_SPECIAL = ("DejaVuSansDisplay.ttf", "DejaVuSerifDisplay.ttf")
"""Fonts of a few symbols."""


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    images, names = printed(20_000)
    np.savez(target / "printed-digits.npz", x_train=images, y_train=names)
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    fonts = [[path.read_bytes()] for pattern in _HELD_OUT for path in sorted(folder.glob(pattern))
             if path.name not in _SPECIAL]  # fmt: skip
    random = np.random.default_rng(1)
    others = [(255 - draw(str(k % 10), fonts, random), k % 10) for k in range(2000)]
    write(target / "printed", iter(others))
    return 0


def printed(count: int) -> tuple[Pixels, npt.NDArray[np.str_]]:
    """Return `count` digits (N, 28, 28), normalised, each class equally often, and their names."""
    random = np.random.default_rng(0)
    names = [string.digits[number % 10] for number in range(count)]
    inks = [draw(name, families(), random) / np.float32(255) for name in names]
    images = [normalize(np.asarray(ink, np.float32)) for ink in inks]
    return np.stack([image.pixels for image in images]), np.array(names)


@cache
def families() -> list[list[bytes]]:
    """Return the font files of each family."""
    return [[*packed(package, ".ttf", ".otf").values()] for package in PACKAGES]


def draw(digit: str, fonts: list[list[bytes]], random: np.random.Generator) -> Pixels:
    """Return a digit as a camera would see it, bright on dark, (H, W) of 14 to 60 pixels."""
    family = fonts[random.integers(len(fonts))]
    font = ImageFont.truetype(io.BytesIO(family[random.integers(len(family))]), _SIZE)
    _vary(font, random)
    image = Image.new("L", (2 * _SIZE, 2 * _SIZE))
    ImageDraw.Draw(image).text((_SIZE, _SIZE), digit, 255, font, anchor="mm")
    slant, width, turn = random.normal(0, 0.05), np.exp(random.normal(0, 0.15)), random.normal(0, 3)
    image = image.transform(
        image.size, Image.Transform.AFFINE,
        (1 / width, slant / width, _SIZE * (1 - 1 / width - slant / width), 0, 1, 0),
        Image.Resampling.BILINEAR,
    ).rotate(turn, Image.Resampling.BILINEAR)  # fmt: skip
    image = image.crop(image.getbbox())
    # Seen from afar, or out of focus, and thicker or thinner as a threshold makes it.
    side = np.exp(random.uniform(np.log(10), np.log(48)))
    scale = side / max(image.size)
    size = [max(2, round(length * scale)) for length in image.size]
    grey = np.asarray(image.resize((size[0], size[1]), Image.Resampling.BOX), np.float32)
    return _blurred(np.pad(grey, round(side / 5) + 2), random)


def _vary(font: ImageFont.FreeTypeFont, random: np.random.Generator) -> None:
    """Choose weight and width, where the font has them as axes."""
    try:
        axes = font.get_variation_axes()
    except OSError:
        return
    font.set_variation_by_axes(
        [float(random.uniform(axis["minimum"] or 0, axis["maximum"] or 0)) for axis in axes]
    )


def _blurred(grey: npt.NDArray[np.float32], random: np.random.Generator) -> Pixels:
    """Return `grey` (H, W) out of focus, and with a threshold of any height."""
    sigma = random.uniform(0, 0.06) * max(grey.shape)
    offsets = np.arange(-int(3 * sigma) - 1, int(3 * sigma) + 2)
    kernel = np.exp(-0.5 * (offsets / max(sigma, 0.3)) ** 2)
    kernel /= kernel.sum()

    def smooth(line: Any) -> Any:
        return np.convolve(line, kernel, "same")

    grey = np.apply_along_axis(smooth, 0, np.apply_along_axis(smooth, 1, grey))
    low = random.uniform(0.05, 0.35)
    grey = np.clip((grey / grey.max() - low) / (random.uniform(0.5, 0.95) - low), 0, 1)
    return np.rint(grey * 255).astype(np.uint8)


if __name__ == "__main__":
    raise SystemExit(main())
