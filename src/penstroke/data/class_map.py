"""Which classes a data set is to have, and which of them a label that somebody gave stands for."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from penstroke.config.class_names import merged
from penstroke.errors import ConfigError, DataError, near_match

GROUPS: Mapping[str, str] = {
    "digits": string.digits,
    "upper": string.ascii_uppercase,
    "lower": string.ascii_lowercase,
    "letters": string.ascii_uppercase + string.ascii_lowercase,
    "alphanumeric": string.digits + string.ascii_uppercase + string.ascii_lowercase,
}
"""Names that stand for many classes."""
_LONGEST = 32


@dataclass(frozen=True)
class ClassMap:
    """From a label to a class.

    Attributes:
        wanted: classes to keep, in their order, or names of `GROUPS`; all where None.
        renamed: labels, or names of folders, and what to read them as; "" leaves them out.
        merge_case: both cases of a letter are one class, `Aa`.
    """

    wanted: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    merge_case: bool = False

    def class_of(self, given: str, label: str) -> str | None:
        """Return the class of an image labelled `label`, in a folder `given` say; None if none.

        Whether that class is wanted is not asked here.
        """
        if given in self.renamed:
            label = self.renamed[given]
        label = self.renamed.get(label, label)
        return (merged(label) if self.merge_case else label) or None

    def wanted_classes(self) -> tuple[str, ...] | None:
        """Return the classes that are wanted, groups spelt out; None for all."""
        if self.wanted is None:
            return None
        names = [name for word in self.wanted for name in GROUPS.get(word, (word,))]
        return tuple(dict.fromkeys(merged(n) if self.merge_case else n for n in names))

    def chosen(self, present: Counter[str]) -> tuple[str, ...]:
        """Return the classes of a data set whose images show what is `present`.

        Raises:
            ConfigError: a class was asked for by its own name that nothing shows.
            DataError: fewer than two are left.
        """
        wanted = self.wanted_classes()
        if wanted is None:
            classes = sorted(present, key=_in_order)
        else:
            classes = [name for name in wanted if name in present]
            self._refuse_absent(present)
        for name in classes:
            _check_name(name)
        if len(classes) < 2:
            there = ", ".join(sorted(present, key=_in_order)) or "none"
            only = f'one class only, "{classes[0]}"' if classes else "none of those classes"
            raise DataError(
                f"there are images of {only}, and telling apart takes two; labels found: {there}"
            )
        return tuple(classes)

    def _refuse_absent(self, present: Counter[str]) -> None:
        for word in self.wanted or ():
            name = merged(word) if self.merge_case else word
            if word not in GROUPS and name not in present:
                there = ", ".join(sorted(present, key=_in_order)) or "none"
                known = [*present, *GROUPS]
                raise ConfigError(
                    f'--classes: no image shows "{name}"{near_match(name, known)}; '
                    f"there are {there}"
                )


def parse_map(changes: Iterable[str]) -> dict[str, str]:
    """Return `--map` options as a mapping: `upper_A=A`; `junk=` leaves out; `===x` renames `==`.

    Raises:
        ConfigError: one is not of that form, or contradicts another.
    """
    found: dict[str, str] = {}
    for change in changes:
        at = change.find("=", 1)
        if at < 0:
            raise ConfigError(f"--map: {change!r} is not of the form LABEL=CLASS")
        name, new = change[:at], change[at + 1 :]
        if found.setdefault(name, new) != new:
            raise ConfigError(f"--map: {name!r} is mapped to {found[name]!r} and to {new!r}")
    return found


def refuse_unused(renamed: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise ConfigError where a label is to be mapped that no image has."""
    for name in renamed:
        if name not in known:
            raise ConfigError(
                f"--map: no image is labelled {name!r}{near_match(name, known)}; labels are "
                f"{', '.join(sorted(known, key=_in_order)[:80])}"
            )


def _check_name(name: str) -> None:
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= _LONGEST:
        raise DataError(
            f"{name!r} is no name for a class: 1 to {_LONGEST} printable characters; --map "
            "renames it"
        )


def _in_order(name: str) -> tuple[bool, int, str]:
    """Numbers by their value, then everything else by its letters."""
    is_number = name.isascii() and name.isdecimal()
    return not is_number, int(name) if is_number else 0, name
