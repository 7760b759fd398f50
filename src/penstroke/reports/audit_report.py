"""The page about an audit: what was found, to look through; no script, no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from penstroke.config.class_names import is_same_character
from penstroke.files import write_text_atomically
from penstroke.reports.html import render
from penstroke.reports.plots import png_uri

if TYPE_CHECKING:
    from penstroke.quality.audit_images import AuditImages
    from penstroke.quality.data_audit import Audit
    from penstroke.quality.duplicates import Pair
    from penstroke.quality.label_errors import LabelError

_ERRORS_SHOWN = 60
_PAIRS_SHOWN = 30
_FLAWED_SHOWN = 24
_OUTLIERS_SHOWN = 8
"""Of each class."""


def write_page(audit: Audit, path: Path) -> None:
    """Write the page about `audit` to `path`.

    Raises:
        StorageError: it cannot be written.
    """
    own = audit.images
    page = render(
        "audit.html.j2",
        name=f"Audit of {own.name}",
        audit=audit,
        cards=_cards(audit),
        counts=audit.counts(),
        near=audit.near_distance,
        errors=[_error(own, error) for error in audit.label_errors[:_ERRORS_SHOWN]],
        more_errors=_places(own, [error.row for error in audit.label_errors[_ERRORS_SHOWN:]]),
        pairs=_pair_groups(audit),
        blank=[_flawed(own, row) for row in audit.blank[:_FLAWED_SHOWN]],
        more_blank=_places(own, audit.blank[_FLAWED_SHOWN:]),
        clipped=[_flawed(own, row) for row in audit.clipped[:_FLAWED_SHOWN]],
        more_clipped=_places(own, audit.clipped[_FLAWED_SHOWN:]),
        outliers=_outliers(audit),
    )
    write_text_atomically(path, page)


def _cards(audit: Audit) -> list[tuple[str, str]]:
    own = audit.images
    leaks = len(audit.pairs_of("train", "test")) + len(audit.into_test) + len(audit.out_of_train)
    counts = {
        "images": len(own),
        "label errors": len(audit.label_errors),
        "copies": len(audit.pairs),
        "leaks": leaks,
        "blank": len(audit.blank),
        "clipped": len(audit.clipped),
        "outliers": len(audit.outliers),
        "to exclude": len(audit.excluded_positions()),
    }
    return [(name, f"{count:,}") for name, count in counts.items()]


def _error(own: AuditImages, error: LabelError) -> dict[str, Any]:
    names = own.images.classes
    return {
        **_flawed(own, error.row),
        "read": names[error.prediction],
        "bars": [
            (names[error.prediction], error.prediction_probability, False),
            (names[error.label], error.label_probability, True),
        ],
    }


def _flawed(own: AuditImages, row: int) -> dict[str, Any]:
    """Return an image, what it is said to show, and where it stands."""
    return {
        "uri": png_uri(own.images.images[row]),
        "label": own.label(row),
        "place": f"{own.split(row)} {own.positions[row]}",
    }


def _pair_groups(audit: Audit) -> list[dict[str, Any]]:
    """Return the groups of pairs, those that matter most first."""
    own, other = audit.images, audit.other
    groups = [
        _group("In both splits", own, own, audit.pairs_of("train", "test")),
        _group("Within the training split", own, own, audit.pairs_of("train", "train")),
        _group("Within the test split", own, own, audit.pairs_of("test", "test")),
    ]
    if other is not None:
        into = f"Training images in the test split of {other.name}"
        out_of = f"Test images in the training split of {other.name}"
        groups.insert(0, _group(into, own, other, audit.into_test))
        groups.insert(1, _group(out_of, own, other, audit.out_of_train))
    return groups


def _group(title: str, own: AuditImages, other: AuditImages, pairs: list[Pair]) -> dict[str, Any]:
    """Return a group of pairs to show, those whose labels differ first."""
    agree = {p: is_same_character(own.label(p.first), other.label(p.second)) for p in pairs}
    in_order = sorted(pairs, key=agree.__getitem__)
    shown = [
        {
            "first": _flawed(own, pair.first),
            "second": _flawed(other, pair.second),
            "distance": pair.distance,
            "is_exact": pair.is_exact,
        }
        for pair in in_order[:_PAIRS_SHOWN]
    ]
    rest = [
        f"{own.split(p.first)} {own.positions[p.first]} = "
        f"{other.split(p.second)} {other.positions[p.second]}"
        for p in in_order[_PAIRS_SHOWN:]
    ]
    conflicts = len(pairs) - sum(agree.values())
    return {"title": title, "count": len(pairs), "conflicts": conflicts, "shown": shown,
            "rest": rest}  # fmt: skip


def _outliers(audit: Audit) -> list[tuple[str, int, list[dict[str, Any]]]]:
    """Return (class, count, the farthest) for each class that has outliers."""
    own = audit.images
    labels = own.images.labels
    found = []
    for label in np.unique(labels):
        members = [(row, d) for row, d in audit.outliers if labels[row] == label]
        shown = [{**_flawed(own, row), "distance": d} for row, d in members[:_OUTLIERS_SHOWN]]
        if members:
            found.append((own.images.classes[label], len(members), shown))
    return found


def _places(own: AuditImages, rows: list[int]) -> dict[str, list[int]]:
    """Return the positions of the rows that are not shown, by split."""
    return {
        split: sorted(int(own.positions[row]) for row in rows if own.split(row) == split)
        for split in ("train", "test")
    }
