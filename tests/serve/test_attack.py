"""One picture of each kind that `scripts/attack.py` makes a hundred of."""

from __future__ import annotations

import numpy as np
import pytest

from attack import KINDS
from serving import Running


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_that_take_long(running: Running, kind: str) -> None:
    content_type, body = KINDS[kind](np.random.default_rng(1), 0.5)
    for path in ("/v1/recognize", "/v1/recognize/line"):
        found = running.post(path, content=body, headers={"content-type": content_type})
        assert found.status_code in (200, 400, 413, 422), found.text
