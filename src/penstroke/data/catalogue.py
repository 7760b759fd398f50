"""The catalogue: one manifest per data set, with its files and where they come from."""

import re
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from penstroke.config.settings import SYNTHETIC, ListOf, Settings
from penstroke.config.toml import read_toml
from penstroke.data import collected
from penstroke.errors import ConfigError, near_match

Role = Literal["train_images", "train_labels", "test_images", "test_labels"]
ROLES: tuple[Role, ...] = get_args(Role)

_SHA256 = "^[0-9a-f]{64}$"


class DataFile(Settings):
    """One file of a data set, known by its checksum."""

    role: Role = Field(description="the array it holds")
    name: str = Field(pattern=r"^[\w.-]+$", description="file name, under mirror and folder alike")
    size_bytes: int | None = Field(None, ge=1, description="its length, where that is published")
    sha256: str = Field(pattern=_SHA256, description="of the file as it is served")


class RemoteFile(Settings):
    """A file to download, known by its length and its checksum."""

    name: str = Field(pattern=r"^[\w.-]+$", description="file name under which it is kept")
    size_bytes: int = Field(ge=1, description="its length")
    sha256: str = Field(pattern=_SHA256, description="of the file")
    addresses: ListOf[str] = Field(min_length=1, description="addresses, tried in turn")


class Release(Settings):
    """Another release of a data set, recognised by its counts; its checksums are not known."""

    train: int = Field(ge=1, description="images to train on")
    test: int = Field(ge=1, description="images to test with")
    what: str = Field(description="what it is, in a sentence")


class Manifest(Settings):
    """What a data set is, where its files are, and how images are stored in them."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="its name")
    title: str = Field(description="one line for a list")
    source: str = Field(description="authors and publication")
    licence: str = Field(description="terms of use")
    classes: ListOf[str] = Field(min_length=2, description="class names in the order of labels")
    train: int | None = Field(None, ge=1, description="images to train on")
    test: int | None = Field(None, ge=1, description="images to test with")
    transposed: bool = Field(False, description="images are stored transposed")
    label_offset: int = Field(0, description="label of the first class in the files")
    mirrors: ListOf[str] = Field((), description="addresses to append a file name to, in turn")
    archive: RemoteFile | None = Field(None, description="zip of the files, if mirrors lack them")
    files: ListOf[DataFile] = Field((), description="none for a data set that comes with a package")
    writers: ListOf[RemoteFile] = Field(
        (), max_length=2,
        description="QMNIST's tables of who wrote the training and the test images; they lie "
        "beside the data set's folder, and nothing needs them",
    )  # fmt: skip
    other_releases: ListOf[Release] = Field((), description="other data sets of this name")

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        if self.mirrors and any(file.size_bytes is None for file in self.files):
            raise ValueError("mirrors: each file needs its size_bytes")
        if self.files and not self.mirrors and self.archive is None:
            raise ValueError("files: they need a mirror or an archive")
        return self

    @property
    def import_options(self) -> str:
        """Options of `penstroke data import` for files that lie like these."""
        offset = f" --label-offset {self.label_offset}" if self.label_offset else ""
        return (" --transposed" if self.transposed else "") + offset

    def import_command(self, folder: str) -> str:
        """Return the `penstroke data import` command for such files, unpacked, in `folder`."""
        prefix = self.files[0].name.partition("train-")[0].rstrip("-")
        source = f"{folder}/{prefix}" if prefix else folder
        return f"`penstroke data import NAME {source}{self.import_options}`"

    @property
    def size_bytes(self) -> int:
        """Bytes to download, if all goes well: of the files, or of the archive that holds them."""
        if self.archive and not self.mirrors:
            return self.archive.size_bytes
        return sum(file.size_bytes or 0 for file in self.files)


def catalogue() -> dict[str, Manifest]:
    """Return all manifests, by name."""
    folder = Path(__file__).parent / "manifests"
    manifests: dict[str, Manifest] = {}
    for path in sorted(folder.glob("*.toml")):
        values = read_toml(path)
        if "archive" in values:  # by name: several data sets come in one
            values["archive"] = read_toml(folder / "archives" / f"{values['archive']}.toml")
        manifest = Manifest.parse(values, source=path.name)
        manifests[manifest.name] = manifest
    return manifests


def manifest_of(name: str) -> Manifest:
    """Return the manifest of the catalogued data set `name`, or raise ConfigError."""
    known = catalogue()
    if name not in known:
        raise ConfigError(
            f'data set "{name}" is not in the catalogue{near_match(name, known)}, which has '
            f"{', '.join(known)}"
        )
    return known[name]


def check_new_name(name: str) -> None:
    """Raise ConfigError if an imported data set cannot be called `name`."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ConfigError(f'"{name}" cannot be the name of a data set: use a-z, 0-9 and -')
    if name == SYNTHETIC:
        raise ConfigError(f'the name "{name}" stands for composed lines: choose another')
    if name in catalogue() or name == collected.NAME:
        raise ConfigError(
            f'the name "{name}" is already taken by the catalogue: choose another, or, if yours is '
            f"a copy of that data set, `penstroke data download {name} --from PATH`"
        )
