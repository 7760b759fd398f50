from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from auditing import audit_images, drawn_strokes
from penstroke.config.settings import DataConfig
from penstroke.data.dataset import Dataset, DataSplits, SealedTest
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError, StorageError
from penstroke.quality.audit_images import AuditImages
from penstroke.quality.data_audit import Audit, audit
from penstroke.quality.duplicates import Pair
from penstroke.quality.exclusion import read_list, write_list
from penstroke.quality.label_errors import (
    _folds,
    error_probabilities,
    out_of_fold_probabilities,
    sure_error_share,
)
from penstroke.reports.audit_report import write_audit_report

FLIPPED = 60


@pytest.fixture(scope="module")
def flipped() -> tuple[AuditImages, set[int]]:
    """The digits with 60 of 1,437 training labels changed, and the rows of those."""
    own = AuditImages.load("digits")
    random = np.random.default_rng(0)
    rows = random.choice(own.train, FLIPPED, replace=False)
    labels = own.images.labels.copy()
    labels[rows] = (labels[rows] + random.integers(1, 10, FLIPPED)) % 10
    images = own.images.images.copy()
    images[own.train[-1]] = images[own.train[0]]
    images[own.test[5]] = images[own.train[1]]
    dataset = Dataset(images, labels, own.images.classes)
    return dataclasses.replace(own, images=dataset), set(rows.tolist())


@pytest.fixture(scope="module")
def audited(flipped: tuple[AuditImages, set[int]]) -> Audit:
    return audit(flipped[0], flipped[0], folds=2)


def test_planted_label_errors_are_found(
    flipped: tuple[AuditImages, set[int]], audited: Audit
) -> None:
    own, planted = flipped
    found = {error.row for error in audited.label_errors if not own.is_test[error.row]}
    assert len(found & planted) >= 0.9 * FLIPPED
    assert audited.test_accuracy > 0.95
    precision = len(found & planted) / len(found)
    assert audited.expected_precision == pytest.approx(precision, abs=0.08)
    assert audited.to_dict()["expected_precision"] == audited.expected_precision


@pytest.mark.parametrize("per_class", [10, 30])
def test_networks_that_are_often_wrong_accuse_hardly_anybody(
    per_class: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Digits by few images and few steps: some are misread, but their labels are right.

    cleanlab's estimate accused 3 to 13 of 300, and stated nothing.
    """
    monkeypatch.setattr("penstroke.quality.label_errors._MIN_STEPS", 60)
    own = AuditImages.load("digits", limit=10 * per_class)
    found = audit(own, folds=2)
    assert found.train_accuracy < 0.97
    assert len(found.label_errors) <= per_class // 10
    assert (found.expected_precision or 0) < 0.8
    write_audit_report(dataclasses.replace(found, label_errors=[]), tmp_path / "index.html")
    assert "are expected to be wrong" not in (tmp_path / "index.html").read_text()


def test_the_worst_label_comes_first(audited: Audit) -> None:
    likelihoods = [error.error_probability for error in audited.label_errors]
    assert likelihoods == sorted(likelihoods, reverse=True)
    assert min(likelihoods) >= 0.5
    assert all(doubt.error_probability < 0.5 for doubt in audited.doubtful_labels)
    assert all(error.prediction != error.label for error in audited.label_errors)
    assert all(
        error.prediction_probability > error.label_probability for error in audited.label_errors
    )


def test_copies_within_and_across(flipped: tuple[AuditImages, set[int]], audited: Audit) -> None:
    own, _ = flipped
    within = {(p.first, p.second) for p in audited.pairs_of("train", "train") if p.is_exact}
    both = {(p.first, p.second) for p in audited.pairs_of("train", "test") if p.is_exact}
    assert within == {(own.train[0], own.train[-1])}
    assert both == {(own.train[1], own.test[5])}
    into = {(p.first, p.second) for p in audited.into_test if p.is_exact}
    assert into == both
    assert {(p.second, p.first) for p in audited.out_of_train if p.is_exact} == both


def test_what_is_left_out_is_training_images_named_once(
    flipped: tuple[AuditImages, set[int]], audited: Audit
) -> None:
    own, _ = flipped
    groups = audited.exclusions()
    named = [position for group in groups.values() for position in group]
    assert sorted(named) == audited.excluded_positions()
    assert len(set(named)) == len(named)
    assert 1 in named
    # One of the two copies goes: the later one, unless it is the first whose label is in doubt.
    assert {0, len(own.train) - 1} & set(named)
    assert 0 not in groups["later copies"]
    assert sum(count.excluded for count in audited.counts()) == len(named)


def test_the_copy_with_the_right_label_stays(audited: Audit) -> None:
    error = next(e for e in audited.label_errors if not audited.images.is_test[e.row])
    copied = dataclasses.replace(audited, pairs=[Pair(error.row, error.row + 1, 0.0)])
    assert copied.exclusions()["later copies"] == {}
    both = dataclasses.replace(copied, label_errors=[])
    assert list(both.exclusions()["later copies"]) == [error.row + 1]


def test_of_many_copies_one_stays_or_none_where_one_is_a_test_image(audited: Audit) -> None:
    error = next(e for e in audited.label_errors if not audited.images.is_test[e.row])
    doubtful, second, third = error.row, error.row + 1, error.row + 2
    test = int(audited.images.test[0])
    pairs = [Pair(doubtful, second, 0.0), Pair(doubtful, third, 0.0)]
    copied = dataclasses.replace(audited, pairs=pairs, label_errors=[error]).exclusions()
    assert list(copied["later copies"]) == [third]
    pairs.append(Pair(doubtful, test, 0.0))
    leaked = dataclasses.replace(audited, pairs=pairs, label_errors=[error])
    assert list(leaked.exclusions()["copies across splits"]) == [second, third]
    (both,) = (count for count in leaked.counts() if count.kind == "copies across splits")
    assert (both.train, both.test, both.excluded) == (3, 1, 2)


def test_images_without_a_test_split_are_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstroke.quality.label_errors._MIN_STEPS", 10)
    few = load_dataset("digits").train.subset(np.arange(200))
    nothing = few.subset(np.arange(0))
    own = AuditImages.from_splits(DataSplits("few", few, nothing, SealedTest(nothing), "f" * 64))
    assert (len(own.train), len(own.test)) == (200, 0)
    found = audit(own, folds=2)
    assert all(count.test == 0 for count in found.counts())
    write_audit_report(found, tmp_path / "index.html")
    assert "few" in (tmp_path / "index.html").read_text()


def test_the_list_goes_round(audited: Audit, tmp_path: Path) -> None:
    path = tmp_path / "exclude.txt"
    write_list(audited, path)
    assert sorted(read_list(path)) == audited.excluded_positions()
    assert "# label errors" in path.read_text()
    left = load_dataset(DataConfig(dataset="digits", exclude=tuple(read_list(path))))
    assert len(left.train) + len(left.validation) == 1437 - len(audited.excluded_positions())


def test_page_is_whole_and_small(audited: Audit, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    write_audit_report(audited, path)
    page = path.read_text()
    assert len(page) < 3_000_000
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    worst = audited.label_errors[0]
    assert f"{audited.images.split(worst.row)} {audited.images.positions[worst.row]}" in page
    assert "identical" in page
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        write_audit_report(audited, tmp_path / "file" / "index.html")


def test_page_of_nothing_found(audited: Audit, tmp_path: Path) -> None:
    nothing = dataclasses.replace(
        audited, other=None, label_errors=[], doubtful_labels=[], pairs=[], into_test=[],
        out_of_train=[], blank=[], clipped=[], outliers=[],
    )  # fmt: skip
    write_audit_report(nothing, tmp_path / "index.html")
    assert "None." in (tmp_path / "index.html").read_text()
    assert nothing.excluded_positions() == []
    write_list(nothing, tmp_path / "exclude.txt")
    assert read_list(tmp_path / "exclude.txt") == []
    doubt = next(e for e in audited.label_errors if not audited.images.is_test[e.row])
    write_list(dataclasses.replace(nothing, doubtful_labels=[doubt]), tmp_path / "exclude.txt")
    assert read_list(tmp_path / "exclude.txt") == []
    position = audited.images.positions[doubt.row]
    assert f"\n# {position}  # labelled" in (tmp_path / "exclude.txt").read_text()


def test_page_with_more_than_it_shows(audited: Audit, tmp_path: Path) -> None:
    many = dataclasses.replace(
        audited, label_errors=audited.label_errors * 3, pairs=audited.pairs * 40,
        clipped=list(range(100)), blank=list(range(100)),
    )  # fmt: skip
    write_audit_report(many, tmp_path / "index.html")
    assert "more of the train split, by position" in (tmp_path / "index.html").read_text()


def test_folds_keep_writers_together_where_every_class_allows_it() -> None:
    labels, writers = np.arange(240) % 3, np.array([f"w{k}" for k in np.arange(240) // 20])
    images = Dataset(drawn_strokes(240), labels, ("a", "b", "c"), writers)
    for fold in _folds(images, 4, seed=0):
        assert set(np.delete(np.arange(240), fold)).isdisjoint(fold)
        assert not set(writers[fold]) & set(np.delete(writers, fold))
        assert 40 <= len(fold) <= 80
    alone = dataclasses.replace(images, writers=np.array([f"w{label}" for label in labels]))
    plain = dataclasses.replace(images, writers=None)
    for of_few, by_image in zip(_folds(alone, 3, 0), _folds(plain, 3, 0), strict=True):
        assert np.array_equal(of_few, by_image), "each class is one writer's"


def test_same_seed_same_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstroke.quality.label_errors._MIN_STEPS", 10)
    own = AuditImages.load("digits", limit=90)
    first, again = (
        out_of_fold_probabilities(own, folds=2, seed=3, on_progress=lambda what, share: None)
        for _ in range(2)
    )
    assert np.array_equal(first, again)
    others = own.images.images.copy()
    others[own.test] = 0
    unseen = Dataset(others, own.images.labels, own.images.classes)
    third = out_of_fold_probabilities(
        dataclasses.replace(own, images=unseen),
        folds=2,
        seed=3,
        on_progress=lambda what, share: None,
    )
    assert np.array_equal(third[own.train], first[own.train])  # nothing was learned of the test
    assert np.allclose(first.sum(axis=1), 1)
    assert len(first) == len(own) == 90 + round(360 * 90 / 1437)


def test_limit_keeps_positions_in_the_whole() -> None:
    own, whole = AuditImages.load("digits", limit=90, seed=1), AuditImages.load("digits")
    assert np.array_equal(
        own.images.images[own.train], whole.images.images[own.positions[own.train]]
    )
    assert np.array_equal(
        own.images.images[own.test], whole.images.images[whole.test[own.positions[own.test]]]
    )
    assert len(AuditImages.load("digits", limit=99999)) == len(whole) == 1797


@pytest.mark.parametrize(("folds", "said"), [(1, "folds: 1 is too few"), (5, 'there are 4 of "b"')])
def test_folds_that_cannot_be(folds: int, said: str) -> None:
    labels = np.array([0] * 16 + [1] * 4 + [0])
    with pytest.raises(ConfigError, match=said):
        audit(audit_images(drawn_strokes(20), labels=labels), folds=folds)


def test_a_class_that_is_absent_and_one_alone() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 2], 100)
    probabilities = np.full((200, 3), 0.002)
    probabilities[np.arange(200), labels] = 0.996
    labels[[7, 150]] = [2, 0]
    wrong = error_probabilities(labels, probabilities, [np.arange(200)])
    assert set(np.flatnonzero(wrong > 0.5)) == {7, 150}
    one_class = random.dirichlet(np.ones(3), 9)
    assert not error_probabilities(np.zeros(9, np.int64), one_class, [np.arange(9)]).any()
    assert len(error_probabilities(np.zeros(0, np.int64), np.zeros((0, 3)), [])) == 0


def test_few_mistakes_of_the_networks_make_sure_ones_wrong_labels() -> None:
    """Figures of networks that were measured (lab log, 31)."""
    assert sure_error_share(460, 659, 60_000) == pytest.approx(0.90, abs=0.01)  # 0.96 were wrong
    assert sure_error_share(26, 27, 1437) == pytest.approx(0.84, abs=0.01)  # 0.92
    assert sure_error_share(12, 33, 1000) < 0.5  # none, by networks that misread 4.5 %
    assert sure_error_share(3, 3, 125) == sure_error_share(0, 0, 0) == 0


@pytest.mark.parametrize("sureness", [0.5, 1.0, 2.0], ids=["modest", "calibrated", "too sure"])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05])
def test_the_stated_precision_is_the_one_found(sureness: float, rate: float) -> None:
    """Ten classes, and networks that misread a tenth and state their confidence wrongly."""
    random = np.random.default_rng(1)
    logits = random.normal(0, 1.5, (4000, 10))
    logits[np.arange(4000), random.integers(0, 10, 4000)] += random.exponential(6, 4000) + 3
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    true = (random.random((4000, 1)) > cumulated).sum(axis=1).clip(0, 9)
    labels, is_wrong = true.copy(), random.random(4000) < rate
    labels[is_wrong] = (labels[is_wrong] + random.integers(1, 10, int(is_wrong.sum()))) % 10
    halves = np.arange(2000), np.arange(2000, 4000)
    wrong = error_probabilities(labels, softmax(sureness * logits, axis=1), halves)
    accused = wrong >= 0.5
    assert (logits.argmax(axis=1) != true).mean() == pytest.approx(0.117, abs=0.001)
    if rate == 0:
        assert accused.sum() <= 1
    else:
        assert is_wrong[accused].mean() == pytest.approx(wrong[accused].mean(), abs=0.1)
        assert is_wrong[accused].sum() >= 0.35 * is_wrong.sum()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("12\nx7\n", "line 2: 'x7' is not the position"),
        ("12\n-3\n", "line 2: '-3' is not the position"),
        ("12\n3.5\n", "line 2: '3.5' is not the position"),
        ("12 13\n", "line 1: '12 13' is not the position"),
        ("# ten\n12\n\n12 # again\n", "line 4: 12 is already on line 2"),
        ("\xff\xfe", "is not a list of positions"),
    ],
)
def test_a_bad_list_names_file_and_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "exclude.txt"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=said) as refused:
        read_list(path)
    assert str(path) in str(refused.value)
    with pytest.raises(ConfigError, match="cannot read .*nowhere"):
        read_list(tmp_path / "nowhere.txt")


@pytest.mark.mnist
def test_emnist_digits_hold_test_digits_of_mnist(shared: Path, tmp_path: Path) -> None:
    """A thousand of MNIST's test digits: about three in ten stand in the EMNIST part."""
    from penstroke.data.idx import import_idx
    from penstroke.quality.duplicates import pairs_across

    train, test = import_idx(
        "emnist-part", shared / "emnist-part" / "emnist-digits-part", tmp_path / "emnist",
        transposed=True,
    )  # fmt: skip
    emnist = np.concatenate([train.images, test.images])
    mnist = AuditImages.load("mnist")
    query, control = mnist.test[::10], mnist.train
    images = mnist.images.images
    labels = mnist.images.labels
    leaks, none = (
        pairs_across(images[query], gallery, lambda *_: None)
        for gallery in (emnist, images[control])
    )
    assert 200 < len({pair.first for pair in leaks}) < 400
    assert len(none) <= 3
    of_emnist = np.concatenate([train.labels, test.labels])
    agree = [labels[query[pair.first]] == of_emnist[pair.second] for pair in leaks]
    assert np.mean(agree) > 0.99
