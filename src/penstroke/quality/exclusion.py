"""The list of training images to exclude: one position per line, `#` before a comment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstroke.errors import ConfigError
from penstroke.files import explained, write_text_atomically

if TYPE_CHECKING:  # reading a list needs no torch
    from penstroke.quality.data_audit import Audit


def write_list(audit: Audit, path: Path) -> None:
    """Write the exclusions of `audit`, each with its reason; StorageError if that fails."""
    images = audit.images
    lines = [
        f"# {images.name}: positions in the training split as published, from 0",
        f"# found by `penstroke data audit {images.name}`, {audit.folds} folds, "
        f"seed {audit.seed}; data {images.fingerprint[:12]}",
    ]
    for title, positions in audit.exclusions().items():
        lines += ["", f"# {title}: {len(positions)}"]
        lines += [f"{position}  # {detail}" for position, detail in positions.items()]
    doubtful = [e for e in audit.doubtful_labels if not images.is_test[e.row]]
    if doubtful:
        lines += ["", f"# doubtful labels: {len(doubtful)}, kept unless you remove the first #"]
        lines += [
            f"# {images.positions[e.row]}  # {e.text(images.images.classes)}" for e in doubtful
        ]
    write_text_atomically(path, "\n".join(lines) + "\n")


def read_list(path: Path) -> list[int]:
    """Return the positions in the list at `path`, in its order.

    Raises:
        ConfigError: it cannot be read, or a line, which is named, is no position or repeats one.
    """
    try:
        with explained(f"read {path}", ConfigError):
            lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a list of positions: {error}") from error
    first_seen: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        word = line.partition("#")[0].strip()
        where = f"{path}, line {number}"
        if word and not (word.isascii() and word.isdecimal()):
            raise ConfigError(
                f"{where}: {word!r} is not the position of a training image, such as 12"
            )
        if word and (first := first_seen.setdefault(int(word), number)) != number:
            raise ConfigError(f"{where}: {word} is already on line {first}")
    return list(first_seen)
