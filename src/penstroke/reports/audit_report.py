"""The report of a data set audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.config.class_names import is_same_character
from penstroke.reports.html import write_page

if TYPE_CHECKING:
    from penstroke.quality.audit_images import AuditImages
    from penstroke.quality.data_audit import Audit
    from penstroke.quality.duplicates import Pair


@dataclass(frozen=True, eq=False)
class PairGroup:
    """Pairs of one kind, rows of `first` and `second`; the `conflicts` (in label) come first."""

    title: str
    first: AuditImages
    second: AuditImages
    pairs: Sequence[Pair]
    conflicts: int


def write_audit_report(audit: Audit, path: Path) -> Path:
    """Write the page about `audit` to `path`."""
    images = audit.images
    leaks = len(audit.pairs_of("train", "test")) + len(audit.into_test) + len(audit.out_of_train)

    def positions(rows: Sequence[int], split: str) -> list[int]:
        return sorted(int(images.positions[row]) for row in rows if images.split(row) == split)

    return write_page(
        path,
        "audit.html.j2",
        name=f"Audit of {images.name}",
        audit=audit,
        images=images,
        leaks=leaks,
        pair_groups=_pair_groups(audit),
        outliers={
            name: [outlier for outlier in audit.outliers if images.label(outlier[0]) == name]
            for name in images.images.classes
        },
        positions=positions,
    )


def _pair_groups(audit: Audit) -> list[PairGroup]:
    """Return the groups of pairs, the most important first."""
    images, other = audit.images, audit.other
    groups = [
        _pair_group("In both splits", images, images, audit.pairs_of("train", "test")),
        _pair_group("In the training split", images, images, audit.pairs_of("train", "train")),
        _pair_group("In the test split", images, images, audit.pairs_of("test", "test")),
    ]
    if other is None:
        return groups
    into = f"Training images in the test split of {other.name}"
    out_of = f"Test images in the training split of {other.name}"
    return [
        _pair_group(into, images, other, audit.into_test),
        _pair_group(out_of, images, other, audit.out_of_train),
        *groups,
    ]


def _pair_group(
    title: str, first: AuditImages, second: AuditImages, pairs: Sequence[Pair]
) -> PairGroup:
    agrees = {p: is_same_character(first.label(p.first), second.label(p.second)) for p in pairs}
    in_order = sorted(pairs, key=agrees.__getitem__)
    return PairGroup(title, first, second, in_order, len(pairs) - sum(agrees.values()))
