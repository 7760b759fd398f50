"""From paper to table: a form is described, printed, registered on scans, read and reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstroke.forms.description import read_form as read_form

if TYPE_CHECKING:
    from penstroke.forms.form_reader import FormReader as FormReader


def __getattr__(name: str) -> Any:
    """Import `FormReader` on first use: it needs the extra `penstroke[forms]`."""
    if name != "FormReader":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from penstroke.errors import MissingExtraError

    try:
        from penstroke.forms.form_reader import FormReader
    except ModuleNotFoundError as error:
        raise MissingExtraError.for_extra("forms", error.name) from None
    return FormReader
