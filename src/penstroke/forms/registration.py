"""A scan or photograph of a form, laid onto the page that the form describes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstroke.forms.description import Form

PIXELS_PER_MM = 8
"""Of a registered page: 203 dpi."""
Grey = npt.NDArray[np.uint8]
"""A grey image (H, W): 0 black, 255 white."""


@dataclass(frozen=True, eq=False)
class RegisteredPage:
    """A page upright and flat, `PIXELS_PER_MM`, with (0, 0) at the paper's upper left corner.

    `image` is the page as it was scanned; `error_mm` how far, typically, what is printed lies from
    where it should; `person` who it was printed for, if its QR code says so.
    """

    image: Grey
    form_page: int
    person: str | None
    error_mm: float


def register(image: Grey, form: Form) -> RegisteredPage:
    """Return a scan or photograph (H, W) of a page of `form`, registered.

    FormPageError: it is none, is cut off, blank, or cannot be registered; its `problem` says which.
    """
    raise NotImplementedError
