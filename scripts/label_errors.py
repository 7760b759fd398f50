"""A dozen images of a data set whose labels are most in doubt, as one PNG for the docs.

python scripts/label_errors.py [DATA_SET] [PNG]
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from penstroke.quality import data_audit
from penstroke.quality.audit_images import AuditImages
from penstroke.quality.data_audit import Audit

_COLUMNS, _COUNT = 6, 12
_SIDE, _WIDTH, _HEIGHT = 84, 116, 124


def main(name: str = "mnist", path: str = "docs/images/mnist-disputed.png") -> None:
    sheet = draw(data_audit.audit(AuditImages.load(name)))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "PNG", optimize=True)


def draw(audit: Audit) -> Image.Image:
    """Return the images enlarged, the worst first, with label, answer and position."""
    images = audit.images
    worst = audit.label_errors[:_COUNT]
    rows = -(-len(worst) // _COLUMNS)
    sheet = Image.new("L", (_COLUMNS * _WIDTH, rows * _HEIGHT), color=255)
    pen = ImageDraw.Draw(sheet)
    for number, error in enumerate(worst):
        left, top = number % _COLUMNS * _WIDTH, number // _COLUMNS * _HEIGHT
        image = Image.fromarray(255 - images.images.images[error.row])
        middle = left + _WIDTH // 2
        sheet.paste(image.resize((_SIDE, _SIDE), Image.Resampling.NEAREST),
                    (middle - _SIDE // 2, top))  # fmt: skip
        names = images.images.classes
        caption = f"{names[error.label]}, read as {names[error.prediction]}"
        pen.text((middle, top + _SIDE + 12), caption, fill=0, anchor="mm", font_size=14)
        position = f"{images.split(error.row)} {images.positions[error.row]}"
        pen.text((middle, top + _SIDE + 28), position, fill=110, anchor="mm", font_size=11)
    return sheet


if __name__ == "__main__":
    main(*sys.argv[1:])
