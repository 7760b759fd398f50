"""The report of a robustness evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from penstroke.data.dataset import Dataset, Images
from penstroke.evaluation.corruptions import CORRUPTIONS, corrupt
from penstroke.evaluation.robustness import Robustness
from penstroke.reports.html import write_page

if TYPE_CHECKING:
    from penstroke.runs.run import Run

_EXAMPLES = 8


def write_robustness_report(
    run: Run, robustness: Robustness, test: Dataset, ood_images: Mapping[str, Images]
) -> Path:
    """Write report/robustness.html of `run`, with examples of the images, and return its path."""
    # The first image of up to eight classes, spread evenly over those present.
    _, firsts = np.unique(test.labels, return_index=True)
    chosen = np.linspace(0, len(firsts) - 1, min(_EXAMPLES, len(firsts))).round().astype(int)
    clean = test.images[firsts[chosen]]
    corrupted = {name: corrupt(clean, name, robustness.seed) for name in CORRUPTIONS}
    return write_page(
        run.path / "report" / "robustness.html",
        "robustness.html.j2",
        name=run.name,
        links=[("Run report", "index.html")],
        config=run.record.config,
        classes=test.classes,
        robustness=robustness,
        clean_and_corrupted={"clean": clean, **corrupted},
        # The first line of a docstring: what the corruption is, and its severity.
        descriptions={k: str(one.__doc__).partition("\n")[0] for k, one in CORRUPTIONS.items()},
        ood_examples={kind: images[:_EXAMPLES] for kind, images in ood_images.items()},
    )
