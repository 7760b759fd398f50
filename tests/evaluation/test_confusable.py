"""Characters that look alike, merged into one class."""

from __future__ import annotations

import string

import numpy as np

from penstroke.config.class_names import merged
from penstroke.evaluation.metrics import confusable_classes

MERGED = tuple(dict.fromkeys(map(merged, string.digits + string.ascii_letters)))


def test_digits_alone_have_none() -> None:
    assert confusable_classes(np.eye(10, dtype=int).tolist(), string.digits) is None


def test_digits_and_letters_share_four_shapes() -> None:
    counts = 100 * np.eye(36, dtype=int)
    shown = {name: k for k, name in enumerate(MERGED)}
    counts[shown["0"], shown["Oo"]] = 7
    counts[shown["Ii"], shown["1"]] = 5
    counts[shown["Ii"], shown["Ll"]] = 3
    counts[shown["Gg"], shown["Qq"]] = 10
    found = confusable_classes(counts.tolist(), MERGED)
    assert found is not None
    assert [(g.classes, g.images, g.confused) for g in found.groups] == [
        (("0", "Oo"), 207, 7),
        (("1", "Ii", "Ll"), 308, 8),
        (("2", "Zz"), 200, 0),
        (("5", "Ss"), 200, 0),
    ]
    assert found.accuracy == (3600 + 15) / 3625


def test_cases_that_look_alike_are_one_too() -> None:
    classes = tuple(string.digits + string.ascii_letters)
    found = confusable_classes(np.eye(62, dtype=int).tolist(), classes)
    assert found is not None
    groups = [set(group.classes) for group in found.groups]
    assert {"0", "O", "o"} in groups
    assert {"X", "x"} in groups
    assert all("A" not in group for group in groups)
    assert len(set().union(*groups)) == sum(map(len, groups))  # nobody in two
