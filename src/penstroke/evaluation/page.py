"""Pages: self-contained HTML, one look for all of them."""

from __future__ import annotations

from typing import Any

from penstroke.errors import MissingExtraError


def render(package: str, template: str, **values: Any) -> str:
    """Return `template` of `package` filled with `values`; it may extend page.html.j2."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError.for_extra("train", error.name) from None
    loaders = [jinja2.PackageLoader(name, "") for name in (package, "penstroke.evaluation")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template).render(**values)
