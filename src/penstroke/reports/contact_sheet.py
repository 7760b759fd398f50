"""A contact sheet: one row a class, or lines with their texts, as one image to look at."""

import numpy as np
from PIL import Image, ImageDraw

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.dataset import Dataset
from penstroke.data.lines import LineDataset
from penstroke.preprocessing.strips import STRIP_HEIGHT
from penstroke.reports.html import png_file

_GAP = 4
_NAME_WIDTH = 40
_TEXT_HEIGHT, _LINE_GAP, _SHEET_WIDTH = 18, 12, 1000


def contact_sheet(dataset: Dataset, columns: int = 20, seed: int = 0) -> bytes:
    """Return a PNG with `columns` images of each class, drawn by `seed`, dark ink on white."""
    cell = IMAGE_SIZE + _GAP
    size = (_NAME_WIDTH + columns * cell, len(dataset.classes) * cell + _GAP)
    sheet = Image.new("L", size, color=255)
    draw = ImageDraw.Draw(sheet)
    random = np.random.default_rng(seed)
    for row, name in enumerate(dataset.classes):
        top = _GAP + row * cell
        draw.text((_GAP, top + IMAGE_SIZE // 2), name, fill=0, anchor="lm", font_size=16)
        members = random.permutation(np.flatnonzero(dataset.labels == row))[:columns]
        for column, index in enumerate(members):
            image = Image.fromarray(255 - dataset.images[index])
            sheet.paste(image, (_NAME_WIDTH + column * cell, top))
    return png_file(sheet)


def line_sheet(lines: LineDataset, count: int = 100, seed: int = 0) -> bytes:
    """Return a PNG with `count` lines, drawn by `seed`, each above its text, dark ink on grey.

    They stand side by side where there is room; a line that is wider than the sheet is scaled down.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(lines))[:count])
    images = [Image.fromarray(255 - lines.strip(int(row))) for row in rows]
    texts = [lines.texts[row] for row in rows]
    widest, cell_height = _SHEET_WIDTH - 2 * _LINE_GAP, STRIP_HEIGHT + _TEXT_HEIGHT + _LINE_GAP
    places, x, y = [], _LINE_GAP, _LINE_GAP
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    for image, text in zip(images, texts, strict=True):
        image.thumbnail((widest, STRIP_HEIGHT))
        length = draw.textlength(text, font_size=14)
        if length > widest:
            text = text[: int(len(text) * widest / length) - 1] + "…"
        width = max(image.width, round(min(length, widest)))
        if x > _LINE_GAP and x + width > _LINE_GAP + widest:
            x, y = _LINE_GAP, y + cell_height
        places.append((x, y, text))
        x += width + _LINE_GAP
    sheet = Image.new("L", (_SHEET_WIDTH, y + cell_height), color=255)
    draw = ImageDraw.Draw(sheet)
    for image, (x, y, text) in zip(images, places, strict=True):
        sheet.paste(image, (x, y))
        draw.text((x, y + STRIP_HEIGHT + 1), text, fill=0, font_size=14)
    return png_file(sheet)
