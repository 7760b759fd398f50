"""Lines found on pages of any shape and light."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from penstroke.inference.page_lines import find_page_lines
from penstroke.preprocessing.decoding import Intensities
from penstroke.preprocessing.ink import DEFAULT_INK

_LIGHTS: dict[str, Callable[[Intensities], Any]] = {
    "dark to one side": lambda across: 0.9 - 0.6 * np.exp(-6 * across),
    "dark to both sides": lambda across: 0.9 - 0.5 * (2 * across - 1) ** 2,
    "dark from two thirds on": lambda across: 0.9 - 1.6 * np.maximum(0, across - 0.7),
    "dark in the middle": lambda across: 0.5 + 0.4 * (2 * across - 1) ** 2,
}


@pytest.mark.parametrize("shape", [(2245, 346), (346, 2245), (1400, 1000)])
@pytest.mark.parametrize("name", _LIGHTS)
def test_lines_on_a_narrow_page_in_uneven_light(name: str, shape: tuple[int, int]) -> None:
    """Across the page, light changes as much as on a wider one, over fewer pixels."""
    height, width = shape
    image = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(image)
    tops = range(20, height - 60, 80)
    for number, top in enumerate(tops):
        draw.text((40, top), str(1_234_567 + 7_919 * number), fill=64, font_size=36)
    ink = np.asarray(image, np.float32) / 255
    light = _LIGHTS[name](np.linspace(0, 1, min(shape), dtype=np.float32))
    lit = light[:, None] if height < width else light
    found, _ = find_page_lines(np.asarray(lit * ink, np.float32), DEFAULT_INK, least_height=12)
    assert len(found) == len(tops)
    assert all(len(line.parts) == 7 for line in found)
