"""Builds the site of docs/ into site/, strictly, and so that it works without a network.

The exit code is 1 if a page is missing in the navigation, if a link, image or anchor does not
exist, or if a browser would load anything from elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

ROOT = Path(__file__).parents[1]
SITE = ROOT / "site"
_SETTINGS = ROOT / "zensical.toml"
_LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
_NO_LOAD = {"canonical", "prev", "next", "alternate"}


def main() -> int:
    """Build; print the problems, or where the front page is."""
    navigation = tomllib.loads(_SETTINGS.read_text())["project"]["nav"]
    problems = list(_misplaced(navigation)) or list(build()) or list(faults(SITE))
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not problems:
        print(f"{SITE}/index.html; with search: python -m http.server -b 127.0.0.1 -d {SITE}")
    return 1 if problems else 0


def build() -> Iterator[str]:
    """Build the site; yield the complaints of the generator."""
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict",
         "--config-file", str(_SETTINGS)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        yield re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


def _misplaced(navigation: list[dict[str, Any]]) -> Iterator[str]:
    placed = set(_pages(navigation))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    for page in sorted(there - placed):
        yield f"docs/{page} is missing in the navigation: zensical.toml"
    for page in sorted(placed - there):
        yield f"zensical.toml: docs/{page} does not exist"


def _pages(navigation: list[dict[str, Any]]) -> Iterator[str]:
    for entry in navigation:
        for inside in entry.values():
            yield from [inside] if isinstance(inside, str) else _pages(inside)


class Page(HTMLParser):
    """The links of a page, what a browser loads for it, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the links, loads and anchors of one element."""
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and given.get("href"):
            self.links.add(str(given["href"]))
        target = given.get(_LOADS.get(tag, ""))
        if target and given.get("rel") not in _NO_LOAD:
            self.loads.add(target)


def faults(site: Path) -> Iterator[str]:
    """Yield the broken links of a built site, and all it would load from elsewhere."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        if path.name == "404.html":  # shown at any address: its links start at the root of the site
            continue
        where = path.relative_to(site)
        yield from (f"{where} loads {one}" for one in page.loads if _is_elsewhere(one))
        for link in sorted(page.links | page.loads):
            if not _is_elsewhere(link) and not _is_there(path, link, pages):
                yield f"{where}: {link} leads nowhere"
    yield from _foreign_styles(site.rglob("*.css"))


def _is_elsewhere(link: str) -> bool:
    return re.match(r"[a-z]+:|//", link) is not None and not link.startswith("data:")


def _is_there(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    if link.startswith("data:"):
        return True
    target, anchor = urldefrag(link)
    file = (path.parent / unquote(target)).resolve() if target else path
    file = file / "index.html" if file.is_dir() else file
    if not anchor or file not in pages:
        return file.exists()
    return unquote(anchor) in pages[file].anchors


def _foreign_styles(sheets: Iterable[Path]) -> Iterator[str]:
    for sheet in sheets:
        for found in re.findall(r"url\(['\"]?((?:https?:)?//[^)]*)\)", sheet.read_text()):
            yield f"{sheet.name} loads {found}"


if __name__ == "__main__":
    sys.exit(main())
