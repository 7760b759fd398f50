"""Names of classes: a character, or both cases of a letter as one (`Aa`, as in EMNIST Letters)."""

from collections.abc import Iterable

MAX_CLASS_NAME = 32


def is_merged(name: str) -> bool:
    """Return whether the class `name` stands for both cases of a letter."""
    return len(name) == 2 and name[0].isupper() and name[1] == name[0].lower() != name[0]


def merged(name: str) -> str:
    """Return the class of both cases: `Aa` for `A` and for `a`; what has no cases stays itself."""
    upper, lower = name.upper(), name.lower()
    return upper + lower if len(name) == len(upper) == len(lower) == 1 and upper != lower else name


def accepts(name: str, label: str) -> bool:
    """Return whether an image of `label` belongs to the class `name`: `a` belongs to `Aa`."""
    return name == label or (is_merged(name) and len(label) == 1 and label in name)


def is_same_character(one: str, other: str) -> bool:
    """Return whether either class takes in the other: `Aa` and `a` are, `A` and `a` are not."""
    return accepts(one, other) or accepts(other, one)


def class_of(label: str, classes: Iterable[str]) -> str | None:
    """Return the class among `classes` that an image of `label` belongs to; None if none does."""
    return next((name for name in classes if accepts(name, label)), None)


def as_text(name: str) -> str:
    """Return how the class reads in a word: `A` for `Aa`, whose case is not known."""
    return name[0] if is_merged(name) else name


def check_class_name(name: str) -> str:
    """Return `name`; ValueError unless it is 1 to 32 printable characters, no blanks around."""
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= MAX_CLASS_NAME:
        raise ValueError(
            f"{name!r} cannot be the name of a class: use 1 to {MAX_CLASS_NAME} printable "
            "characters, without blanks around them"
        )
    return name


def class_order(name: str) -> tuple[bool, int, str]:
    """Return a key to sort names by: numbers by their value, then the others by their letters."""
    is_number = name.isascii() and name.isdecimal()
    return not is_number, int(name) if is_number else 0, name
