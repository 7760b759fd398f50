"""The catalogue: a manifest a data set, saying what its files are and where they come from."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Literal

from pydantic import Field

from penstroke.config import Settings
from penstroke.errors import ConfigError, near_match
from penstroke.toml import read_toml

Role = Literal["train_images", "train_labels", "test_images", "test_labels"]
ROLES: tuple[Role, ...] = ("train_images", "train_labels", "test_images", "test_labels")


class DataFile(Settings):
    """One file of a data set, known by its checksum."""

    role: Role = Field(description="which array it holds")
    name: str = Field(pattern=r"^[\w.-]+$", description="file name, under mirror and folder alike")
    size_bytes: int = Field(ge=1, description="length of the file")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the file as it is served")


class Manifest(Settings):
    """What a data set is, where its files are, and how they lie."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="its name here")
    title: str = Field(description="one line for a list")
    source: str = Field(description="who made it, and where that is written down")
    licence: str = Field(description="terms it may be used under")
    classes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        min_length=2, description="name of each class, in the order of the labels"
    )
    transposed: bool = Field(False, description="pictures are stored lying on their side")
    label_offset: int = Field(0, description="label of the first class in the files")
    mirrors: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="addresses that the file names are appended to, tried in turn"
    )
    files: Annotated[tuple[DataFile, ...], Field(strict=False)] = Field(
        (), description="none for a data set that comes with a package"
    )

    @property
    def size_bytes(self) -> int:
        """Bytes to download."""
        return sum(file.size_bytes for file in self.files)


def catalogue() -> dict[str, Manifest]:
    """Return every manifest that is shipped, by name."""
    folder = resources.files(__package__) / "manifests"
    manifests: dict[str, Manifest] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        with resources.as_file(entry) as path:
            manifest = Manifest.parse(read_toml(path), source=entry.name)
        manifests[manifest.name] = manifest
    return manifests


def manifest_of(name: str) -> Manifest:
    """Return the manifest of the catalogued data set `name`.

    Raises:
        ConfigError: there is none, with a near match.
    """
    known = catalogue()
    if name not in known:
        raise ConfigError(
            f'data set "{name}" is not in the catalogue{near_match(name, known)}: '
            f"it holds {', '.join(known)}"
        )
    return known[name]
