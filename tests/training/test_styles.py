from __future__ import annotations

import pytest
import torch

from penstroke.data.loading import load_dataset
from penstroke.training.regional_forms import add_regional_forms

DIGITS = tuple("0123456789")


def stem(count: int) -> torch.Tensor:
    """A plain 1: a bar of three pixels from row 4 to row 23."""
    images = torch.zeros(count, 1, 28, 28)
    images[:, :, 4:24, 13:16] = 1
    return images


def seven(count: int) -> torch.Tensor:
    images = stem(count)
    images[:, :, 4:7, 5:16] = 1
    return images


def test_ones_get_a_flag_and_half_of_them_a_foot() -> None:
    torch.manual_seed(0)
    changed = add_regional_forms(stem(200), torch.ones(200, dtype=torch.int64), DIGITS, 1.0)
    added = changed - stem(200)
    assert (added >= 0).all()
    flag = added[:, 0, 4:17, :12].amax(dim=(1, 2))
    assert (flag > 0.5).float().mean() > 0.9
    foot = added[:, 0, 21:26, 17:].amax(dim=(1, 2)) > 0.5
    assert 0.35 < foot.float().mean() < 0.65
    assert not added[:, 0, :15, 18:].any()  # no flag to the right


def test_sevens_get_a_bar_across_the_stem() -> None:
    torch.manual_seed(0)
    changed = add_regional_forms(seven(100), torch.full((100,), 7), DIGITS, 1.0)
    added = changed - seven(100)
    rows = added[:, 0, :, 17:].amax(dim=2) > 0.3
    highest = rows.int().argmax(dim=1)
    assert ((highest >= 9) & (highest <= 18)).all()
    assert (added[:, 0, 9:19, :12].amax(dim=(1, 2)) > 0.3).all()


def test_a_share_of_those_two_classes_and_nothing_else() -> None:
    torch.manual_seed(0)
    images, labels = seven(5000), torch.arange(5000) % 10
    before = images.clone()
    changed = (add_regional_forms(images, labels, DIGITS, 0.2) != images).flatten(1).any(dim=1)
    assert torch.equal(images, before)
    assert set(labels[changed].tolist()) == {1, 7}
    assert changed[labels == 7].float().mean() == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize(("classes", "share"), [(DIGITS, 0.0), (("a", "b"), 1.0)])
def test_where_there_is_nothing_to_do(classes: tuple[str, ...], share: float) -> None:
    images = seven(10)
    labels = torch.arange(10) % len(classes)
    assert add_regional_forms(images, labels, classes, share) is images


def test_the_seed_decides_and_blank_images_do_no_harm() -> None:
    labels = torch.ones(8, dtype=torch.int64)
    torch.manual_seed(3)
    first = add_regional_forms(stem(8), labels, DIGITS, 0.5)
    torch.manual_seed(3)
    assert torch.equal(add_regional_forms(stem(8), labels, DIGITS, 0.5), first)
    assert torch.isfinite(add_regional_forms(torch.zeros(8, 1, 28, 28), labels, DIGITS, 1.0)).all()


def test_real_digits_stay_inside_their_range() -> None:
    data = load_dataset("digits").train
    images = torch.from_numpy(data.images).unsqueeze(1).float() / 255
    changed = add_regional_forms(images, torch.from_numpy(data.labels), data.classes, 1.0)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed >= images).all()
