"""Images with planted faults, for the audit to find."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from penstroke.data.dataset import Dataset, DataSplits, Images, Labels, SealedTest
from penstroke.quality.audit_images import AuditImages


def drawn_strokes(count: int, seed: int = 0) -> Images:
    """Distinct random strokes of a broad pen, well inside the field."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        canvas = Image.new("L", (112, 112))
        points = [(int(x), int(y)) for x, y in random.integers(20, 92, (6, 2))]
        ImageDraw.Draw(canvas).line(points, fill=255, width=10, joint="curve")
        images.append(np.asarray(canvas.resize((28, 28), Image.Resampling.BOX)))
    return np.stack(images)


def audit_images(
    train: Images, test: Images | None = None, labels: Labels | None = None, name: str = "made"
) -> AuditImages:
    """Return images of three classes; all images are of the first where no label is given.

    Without test images there is a single one, of a stroke of its own.
    """
    test = drawn_strokes(1, seed=999) if test is None else test
    both = np.zeros(len(train) + len(test), np.int64) if labels is None else labels
    classes = ("a", "b", "c")
    split = Dataset(train, both[: len(train)], classes)
    sealed = SealedTest(Dataset(test, both[len(train) :], classes))
    return AuditImages.from_splits(
        DataSplits(name, split, split.subset(np.arange(0)), sealed, "0" * 64)
    )
