"""Why a field of a form does not admit a value that a person typed."""

from __future__ import annotations

from datetime import date

from penstroke.forms.answers import MARK_SEPARATOR, SIGNED
from penstroke.forms.boxed_text import in_range
from penstroke.forms.description import COMBS, MARKS, FormField


def refusal(field: FormField, value: str) -> str | None:
    """Return what of `field` the `value` does not keep to, in words; None if it is admitted."""
    if not value:
        return "it is empty, but the form asks for it" if field.required else None
    if field.type == "signature":
        return None if value == SIGNED else f"write {SIGNED}, or nothing"
    if field.type in MARKS:
        return _refusal_of_marks(field, value)
    if field.type == "date":
        try:
            is_day = date.fromisoformat(value).isoformat() == value
        except ValueError:
            is_day = False
        return None if is_day else "there is no such day: write YYYY-MM-DD"
    return _refusal_of_text(field, value)


def _refusal_of_marks(field: FormField, value: str) -> str | None:
    marked = value.split(MARK_SEPARATOR)
    if unknown := [one for one in marked if one not in field.options]:
        return f"{unknown[0]!r} cannot be marked; the options are {', '.join(field.options)}"
    if field.type == "choice" and len(marked) > 1:
        return "only one option may be marked"
    return None


def _refusal_of_text(field: FormField, value: str) -> str | None:
    is_free = field.constraint is None
    if field.type == "digits" and is_free and not (value.isascii() and value.isdigit()):
        return "it is not made of digits"
    if field.type in COMBS and len(value.replace(" ", "")) > field.box_count:
        return f"it has {len(value)} characters, but there are {field.box_count} boxes"
    if field.values and value not in field.values:
        return f"it is not among the {len(field.values)} values that are allowed"
    if field.constraint is not None and not field.constraint.admits(value):
        if field.check_digit and field.format is None and not field.values:
            return "its check digit is wrong"
        return f"it does not keep to {field.constraint.describe()}"
    if not in_range(field, value):
        least, greatest = field.least, field.greatest
        if greatest is None:
            return f"it is not {least:g} or more"
        return (
            f"it is not {greatest:g} or less"
            if least is None
            else (f"it is not between {least:g} and {greatest:g}")
        )
    return None
