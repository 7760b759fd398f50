from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import Outcome
from line_images import amounts_zip
from penstroke.data.lines import LineDataset
from penstroke.reports.contact_sheet import line_sheet

Cli = Callable[..., Outcome]


pytestmark = pytest.mark.usefixtures("cache")


def test_lines_from_a_zip_to_a_sheet(penstroke: Cli, tmp_path: Path, cache: Path) -> None:
    source = amounts_zip(tmp_path / "in.zip")
    done = penstroke("data", "import", "cells", source, "--lines")
    assert done.exit_code == 0, done.err
    assert "cells: 32 training and 8 test lines" in done.out
    assert "texts          the table labels.csv; images in a zip" in done.out
    assert "alphabet       11 characters: .0123456789" in done.out
    assert "train numbers --dataset cells" in done.out
    page = (cache / "imports/cells/index.html").read_text()
    assert page.count('<figure class="line">') == 24
    assert "<li><b>.</b> 32 + 8</li>" in page
    facts = json.loads(
        penstroke("data", "import", "cells", source, "--lines", "--replace", "--json").out
    )
    assert (facts["kind"], facts["alphabet"], facts["train"]) == ("lines", ".0123456789", 32)
    listed = json.loads(penstroke("data", "list", "--json").out)["datasets"]
    cells = next(one for one in listed if one["name"] == "cells")
    assert (cells["kind"], cells["lines"], cells["alphabet"]) == ("lines", 40, ".0123456789")
    assert "40 lines of .0123456789; imported from" in penstroke("data", "list").out
    shown = json.loads(penstroke("data", "show", "cells", "--json").out)
    assert shown["lines"] == {"train": 32, "test": 8}
    assert shown["character_counts"]["train"]["."] == 32
    with Image.open(shown["sheet"]) as image:
        assert image.width == 1000
    assert "32 training lines of 4 to 6 characters, 8 test lines" in penstroke(
        "data", "show", "cells"
    ).out  # fmt: skip


def test_what_is_for_characters_is_refused(penstroke: Cli, tmp_path: Path) -> None:
    source = amounts_zip(tmp_path / "in.zip")
    for option in (
        ("--classes", "digits"), ("--merge-case",), ("--labels", "folder"), ("--preprocessed",)
    ):  # fmt: skip
        done = penstroke("data", "import", "cells", source, "--lines", *option)
        assert done.exit_code == 2
        assert f"{option[0]} is for characters, not for --lines" in done.err
    assert penstroke("data", "import", "cells", source, "--lines").exit_code == 0
    for command in (("check", "--dataset"), ("data", "audit"), ("train", "--dataset")):
        done = penstroke(*command, "cells")
        assert (done.exit_code, "holds lines of text, not characters" in done.err) == (2, True)


def test_a_sheet_of_long_and_short_lines() -> None:
    strips = [np.full((32, width), 64, np.uint8) for width in (40, 3000, 40, 40)]
    with_texts = LineDataset.of(strips, ["a", "b" * 200, "c c", "d"])
    sheet = line_sheet(with_texts)
    assert sheet == line_sheet(with_texts)
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.size == (1000, 12 + 3 * 62)  # the long line has a row of its own
