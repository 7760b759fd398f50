"""The classes that an import keeps, and the class that a given label stands for."""

import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from penstroke.config.class_names import check_class_name, class_order, merged
from penstroke.errors import ConfigError, DataError, near_match

GROUPS: Mapping[str, str] = {
    "digits": string.digits,
    "upper": string.ascii_uppercase,
    "lower": string.ascii_lowercase,
    "letters": string.ascii_uppercase + string.ascii_lowercase,
    "alphanumeric": string.digits + string.ascii_uppercase + string.ascii_lowercase,
}
"""Names that stand for many classes."""
_MAX_LABELS_SHOWN = 80


@dataclass(frozen=True)
class ClassMap:
    """From a label to a class.

    Classes are kept in the order of `wanted`, which may name `GROUPS` of them; None keeps all.
    Labels, or names of folders, are `renamed` to their classes; "" leaves them out.
    With `merge_case`, both cases of a letter are one class, `Aa`.
    """

    wanted: tuple[str, ...] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    merge_case: bool = False

    def class_of(self, given: str, label: str) -> str | None:
        """Return the class of an image labelled `label` in a folder `given`, wanted or not.

        It is None if the image is left out.
        """
        label = self.renamed.get(given, label)
        label = self.renamed.get(label, label)
        return self._merged(label) or None

    def chosen(self, present: Counter[str]) -> tuple[str, ...]:
        """Return the classes of a data set that has images of the classes `present`.

        Raises ConfigError if a wanted class has no image, DataError if fewer than two are left or a
        name is not allowed.
        """
        classes = sorted(present, key=class_order)
        listed = ", ".join(classes) or "none"
        if self.wanted is not None:
            spelled = [self._merged(n) for word in self.wanted for n in GROUPS.get(word, (word,))]
            classes = [name for name in dict.fromkeys(spelled) if name in present]
            for word in self.wanted:
                if word not in GROUPS and (name := self._merged(word)) not in present:
                    hint = near_match(name, [*present, *GROUPS])
                    raise ConfigError(
                        f'--classes: no image shows "{name}"{hint}; the classes are {listed}'
                    )
        for name in classes:
            try:
                check_class_name(name)
            except ValueError as error:
                raise DataError(f"{error}; rename it with --map") from None
        if len(classes) < 2:
            problem = f'only one class, "{classes[0]}"' if classes else "none of these classes"
            raise DataError(f"there are images of {problem}, but two are needed; labels: {listed}")
        return tuple(classes)

    def _merged(self, label: str) -> str:
        return merged(label) if self.merge_case else label


def parse_map(changes: Iterable[str]) -> dict[str, str]:
    """Return `--map` options as a mapping: `upper_A=A`; `junk=` leaves out; `===x` renames `==`.

    Raises ConfigError if one is not of that form, or contradicts another.
    """
    renamed: dict[str, str] = {}
    for change in changes:
        at = change.find("=", 1)
        if at < 0:
            raise ConfigError(f"--map: {change!r} is not of the form LABEL=CLASS")
        name, new = change[:at], change[at + 1 :]
        if renamed.setdefault(name, new) != new:
            raise ConfigError(f"--map: {name!r} is mapped to {renamed[name]!r} and to {new!r}")
    return renamed


def check_renamed(renamed: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise ConfigError if no image has a label that is to be renamed."""
    for name in renamed:
        if name not in known:
            labels = sorted(known, key=class_order)[:_MAX_LABELS_SHOWN]
            raise ConfigError(
                f"--map: no image is labelled {name!r}{near_match(name, known)}; the labels are "
                f"{', '.join(labels)}"
            )
