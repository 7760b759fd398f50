"""The list of training images to leave out: one position a line, `#` before a comment."""

from __future__ import annotations

from pathlib import Path

from penstroke.errors import ConfigError
from penstroke.files import reason, write_text_atomically
from penstroke.quality.audit_findings import Audit


def write_list(audit: Audit, path: Path) -> None:
    """Write the list of `audit`, with the reason of each.

    Raises:
        StorageError: it cannot be written.
    """
    collection = audit.collection
    lines = [
        f"# {collection.name}: positions in the training split as it comes, from 0",
        f"# found by `penstroke data audit {collection.name}`, {audit.folds} folds, "
        f"seed {audit.seed}; data {collection.fingerprint[:12]}",
    ]
    for why, positions in audit.left_out().items():
        lines += ["", f"# {why}: {len(positions)}"]
        lines += [f"{position}  # {said}" for position, said in positions.items()]
    write_text_atomically(path, "\n".join(lines) + "\n")


def read_list(path: Path) -> list[int]:
    """Return the positions in the list at `path`, in its order.

    Raises:
        ConfigError: it cannot be read, or a line is no position or one seen before; names file
            and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no list of positions: {error}") from error
    first_seen: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        if word := line.partition("#")[0].strip():
            position = _position(word, f"{path}, line {number}")
            if position in first_seen:
                raise ConfigError(
                    f"{path}, line {number}: {position} stands on line {first_seen[position]} too"
                )
            first_seen[position] = number
    return list(first_seen)


def _position(word: str, where: str) -> int:
    if not (word.isascii() and word.isdecimal()):
        raise ConfigError(f"{where}: {word!r} is no position of a training image, as 12 would be")
    return int(word)
