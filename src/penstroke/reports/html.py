"""Pages: self-contained HTML, one look for all of them."""

from __future__ import annotations

from typing import Any

from penstroke.errors import MissingExtraError


def render(template: str, **values: Any) -> str:
    """Return `template` of reports/templates/ filled with `values`."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("penstroke.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)
