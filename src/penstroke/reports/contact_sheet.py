"""A contact sheet: one row a class, as one image to look at."""

import numpy as np
from PIL import Image, ImageDraw

from penstroke.config.settings import IMAGE_SIZE
from penstroke.data.dataset import Dataset
from penstroke.reports.html import png_file

_GAP = 4
_NAME_WIDTH = 40


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
