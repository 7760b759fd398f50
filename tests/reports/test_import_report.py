from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser

from browsing import opened
from helpers import write_scrawls
from penstroke.data.image_import import ImportResult, ImportSettings, import_images
from penstroke.data.loading import imported_folder
from penstroke.reports.import_report import write_import_report


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImportResult:
    """An import with something of every kind to look at."""
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "in"
    write_scrawls(folder, {"a": 9, "b": 7, "<b>": 3})
    shutil.copy(folder / "a/000.png", folder / "b/a very long name of a copy, as cameras do.png")
    (folder / "a/<i>text.png").write_text("no image")
    Image.new("L", (30, 30), 200).save(folder / "a/blank.png")
    ruled = Image.open(io.BytesIO((folder / "a/001.png").read_bytes()))
    ImageDraw.Draw(ruled).line([(0, 39), (39, 39)], 0, 3)
    ruled.save(folder / "a/ruled.png")
    tiny = Image.new("RGBA", (30, 30), (0, 0, 0, 0))
    ImageDraw.Draw(tiny).rectangle((12, 12, 15, 17), (0, 0, 90, 255))
    tiny.save(folder / "b/tiny.png")
    settings = ImportSettings(max_unreadable=1)
    return import_images("mine", folder, imported_folder("mine"), settings)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_the_page_is_whole_and_shows_what_to_look_at(
    browser: Browser, made: ImportResult, tmp_path: Path, width: int, scheme: str
) -> None:
    path = tmp_path / "page.html"
    write_import_report(made, path)
    with opened(browser, path, width, scheme) as page:
        text = page.inner_text("body")
        for said in (
            "Without ink: 1", "Tiny: 1", "a/blank.png", "b/tiny.png", "a/ruled.png", "left out",
            "a/<i>text.png", "is not an image", "Identical files with different labels: 1",
            "a/000.png = a, b/a very long name", "test drawn: 20 % of each class",
        ):  # fmt: skip
            assert said in text, said
        shown = page.locator("h3", has_text="<b> ").first
        assert "training" in shown.inner_text()
        before, after = page.locator("img.original").count(), page.locator(".pair img").count()
        assert after == 2 * before


def test_a_source_that_is_gone_since_leaves_the_page_without_its_images(
    made: ImportResult, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "in/a")
    write_import_report(made, tmp_path / "page.html")
    assert "source is gone" in (tmp_path / "page.html").read_text()
