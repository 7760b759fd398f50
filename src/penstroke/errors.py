"""Errors by kind: each message says what is wrong, where, and what to do."""

import difflib
from collections.abc import Iterable
from typing import Self


class PenstrokeError(Exception):
    """Base of all errors that a user can fix; the command line exits with `exit_code`.

    Examples:
        >>> import penstroke
        >>> try:
        ...     penstroke.load_recipe("fasst")
        ... except penstroke.PenstrokeError as error:
        ...     print(error)
        unknown recipe "fasst" (did you mean "fast"?): `penstroke train --list` lists them; the \
path of a .toml file works too
    """

    exit_code = 1


class ConfigError(PenstrokeError):
    """A setting is unknown, out of range or contradicts another; the message names the field."""

    exit_code = 2


class DataError(PenstrokeError):
    """A data set is missing, damaged, changed or in an unexpected format."""


class DownloadError(DataError):
    """No mirror delivered the file with the right checksum."""


class ArchiveError(DataError):
    """A zip is damaged or refused: links, bombs, encryption, paths that lead out of it."""


class SealedTestError(PenstrokeError):
    """The test split was opened where it must stay sealed."""


class ImageError(PenstrokeError):
    """A file or array is not an image that can be read."""


class ImageTooComplexError(ImageError):
    """Reading an image would take more work than any page of writing does."""


class FormPageError(ImageError):
    """A scanned page is not one of the form, or cannot be read; `problem` is a `PageProblem`."""

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class ReviewError(PenstrokeError):
    """A change is refused; `problem`: unknown, changed (by another), not_admitted or invalid."""

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class ArrayError(ImageError, ValueError):
    """An array is not images that a classifier reads; a ValueError too, as scikit-learn asks."""


class RunError(PenstrokeError):
    """A run directory is missing, damaged, in use or written by a newer version."""


class CheckpointError(RunError):
    """A checkpoint is missing, cut short or changed."""


class StudyError(PenstrokeError):
    """A study is missing, damaged, in use or of another search, or its storage cannot be used."""


class ModelFileError(PenstrokeError):
    """A model file is not one that Penstroke wrote, or is damaged."""


class ModelKindError(ModelFileError):
    """A model reads lines where one of characters is needed, or the reverse."""


class TrainingError(PenstrokeError):
    """Training cannot continue: the loss is not finite, or the device is missing."""


class MissingToolError(PenstrokeError):
    """A program that this needs is not installed, or fails."""


class WorkerError(PenstrokeError):
    """A worker process died; `position` is that of the item it was working on, where it had one."""

    position: int | None = None


class StorageError(PenstrokeError):
    """A file could not be written: disk full, read-only or no permission."""


class MissingExtraError(PenstrokeError):
    """A part of Penstroke was used whose optional packages are not installed."""

    @classmethod
    def for_extra(cls, extra: str, module: str | None) -> Self:
        """Say which extra brings the missing `module`."""
        return cls(
            f"this needs the package {module!r}, which is not installed: "
            f'pip install "penstroke[{extra}]"'
        )


def near_match(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean "x"?)' for the known word closest to `word`, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f' (did you mean "{matches[0]}"?)' if matches else ""
