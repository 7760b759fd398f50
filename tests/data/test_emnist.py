"""The EMNIST sets of the catalogue, and real EMNIST images: upright, and called what they are."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import penstroke.data.loading
from emnist import ROLES
from penstroke.config.class_names import is_merged
from penstroke.config.settings import DataConfig
from penstroke.data.catalogue import DataFile, Manifest, catalogue
from penstroke.data.dataset import Dataset
from penstroke.data.loading import load_dataset
from penstroke.data.sources.listing import read_labelled_images
from penstroke.preprocessing.ink import preprocess

SETS = {name: m for name, m in catalogue().items() if name.startswith("emnist-")}
TURNS = [(mirrored, quarter) for mirrored in (False, True) for quarter in range(4)]


@pytest.mark.parametrize(
    ("name", "classes", "train", "test"),
    [  # nist.gov/itl/products-and-services/emnist-dataset
        ("emnist-byclass", 62, 697_932, 116_323),
        ("emnist-bymerge", 47, 697_932, 116_323),
        ("emnist-balanced", 47, 112_800, 18_800),
        ("emnist-letters", 26, 124_800, 20_800),
        ("emnist-digits", 10, 240_000, 40_000),
        ("emnist-mnist", 10, 60_000, 10_000),
    ],
)
def test_the_published_counts(name: str, classes: int, train: int, test: int) -> None:
    manifest = SETS[name]
    assert (len(set(manifest.classes)), manifest.train, manifest.test) == (classes, train, test)
    assert manifest.transposed
    assert manifest.label_offset == (name == "emnist-letters")
    assert {f.role: f.name for f in manifest.files} == {r: f"{name}-{n}" for r, n in ROLES.items()}


def test_all_come_in_one_archive_and_every_file_is_known_by_its_own_checksum() -> None:
    assert len(SETS) == 6
    archives = {manifest.archive for manifest in SETS.values()}
    (archive,) = archives
    assert archive is not None
    assert archive.size_bytes == 561_753_746
    checksums = [file.sha256 for manifest in SETS.values() for file in manifest.files]
    assert len(set(checksums)) == 24


def test_classes_of_both_cases() -> None:
    assert all(map(is_merged, SETS["emnist-letters"].classes))
    assert SETS["emnist-letters"].classes[0] == "Aa"
    for name in ("emnist-balanced", "emnist-bymerge"):
        classes = SETS[name].classes
        merged = "".join(c[0] for c in classes if is_merged(c))
        assert merged == "CIJKLMOPSUVWXYZ"
        assert "".join(c for c in classes if not is_merged(c)) == "0123456789ABDEFGHNQRTabdefghnqrt"
        assert [c[0] for c in classes[10:36]] == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@pytest.mark.mnist
def test_checksums_are_those_that_came_with_the_data(shared: Path) -> None:
    row = re.compile(r"^\| (emnist-\S+\.gz) \| ([0-9a-f]{64}) \| (\d+) \|$", re.M)
    published = {m[1]: (m[2], int(m[3])) for m in row.finditer((shared / "README.md").read_text())}
    assert len(published) == 16
    ours = {f.name: (f.sha256, f.size_bytes) for m in SETS.values() for f in m.files}
    assert {name: ours[name] for name in published} == published


@pytest.fixture
def real(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Manifest]:
    """The parts of EMNIST that are here, in the catalogue: named and laid out as the whole ones."""
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    manifests = {}
    for name in ("emnist-letters", "emnist-digits"):
        (tmp_path / "data" / name).mkdir(parents=True)
        files = []
        for role, end in ROLES.items():
            part = shared / "emnist-part" / f"{name}-part-{end}"
            (tmp_path / "data" / name / f"{name}-{end}").symlink_to(part)
            digest = hashlib.sha256(part.read_bytes()).hexdigest()
            files.append(DataFile(role=role, name=f"{name}-{end}", sha256=digest))
        manifests[name] = SETS[name].model_copy(update={"files": tuple(files)})
    monkeypatch.setattr(penstroke.data.loading, "catalogue", lambda: manifests | mnist())
    return manifests


def mnist() -> dict[str, Manifest]:
    return {"mnist": catalogue()["mnist"]}


def unit(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    flat: npt.NDArray[np.float64] = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return flat


def read_in_every_turn(
    dataset: Dataset, each: int, means: npt.NDArray[np.uint8], labels: list[int]
) -> list[float]:
    """Return how many are read right in each of the eight ways that an image can lie."""
    chosen = np.concatenate(
        [np.flatnonzero(dataset.labels == k)[:each] for k in range(len(dataset.classes))]
    )
    shares = []
    for mirrored, quarter in TURNS:
        turned = [np.rot90(i.T if mirrored else i, quarter) for i in dataset.images[chosen]]
        pixels = np.stack([preprocess(np.ascontiguousarray(i)).pixels for i in turned])
        read = np.array(labels)[(unit(pixels) @ unit(means).T).argmax(1)]
        shares.append(float((read == dataset.labels[chosen]).mean()))
    return shares


@pytest.mark.mnist
def test_who_knows_only_mnist_reads_its_digits_as_they_lie(
    real: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    train = load_dataset("emnist-digits").train
    monkeypatch.setenv("PENSTROKE_DATA", str(shared))
    known = load_dataset(DataConfig(dataset="mnist", validation_fraction=0)).train
    means = np.stack([known.images[known.labels == k].mean(0).astype(np.uint8) for k in range(10)])
    upright, *others = read_in_every_turn(train, 30, means, list(range(10)))
    assert upright > 0.7
    assert max(others) < 0.55


@pytest.mark.mnist
def test_who_knows_only_photographed_letters_reads_its_letters_as_they_lie(
    real: dict[str, Manifest], shared: Path
) -> None:
    seen: dict[str, list[npt.NDArray[np.uint8]]] = {}
    for sample in read_labelled_images(shared / "pen-photos.zip"):
        if sample.label.isalpha() and len(seen.setdefault(sample.label, [])) < 40:
            seen[sample.label].append(preprocess(sample.content).pixels)
    means = np.stack([np.mean(pixels, 0).astype(np.uint8) for pixels in seen.values()])
    train = load_dataset("emnist-letters").train
    labels = [train.classes.index(label.upper() + label.lower()) for label in seen]
    upright, *others = read_in_every_turn(train, 15, means, labels)
    assert upright > 0.3
    assert max(others) < 0.26
