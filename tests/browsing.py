"""A page, opened in a real browser: what is wrong with how it looks, on wide and narrow screens."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip


@contextmanager
def opened(browser: Browser, path: Path, width: int, scheme: str) -> Iterator[Page]:
    """Yield the page at `path`, which must be whole by itself and fit into `width`."""
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    troubles: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    assert troubles == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    yield page
    page.close()


def faults(page: Page, *schemes: str) -> list[str]:
    """Return what is wrong with the page as it is shown, in the light and in the dark."""
    return [*page.evaluate(_LAYOUT), *illegible(page, *schemes)]


def illegible(page: Page, *schemes: str) -> list[str]:
    """Return the text whose contrast is too low, in the light and in the dark."""
    found: list[str] = []
    for scheme in schemes or ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.evaluate(_AT_REST)
        found += [f"{scheme}: {text}" for text in page.evaluate(_CONTRAST)]
    return found


_AT_REST = """Promise.all(document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().endTime < Infinity)
  .map((one) => one.finished.catch(() => null)))"""

_LAYOUT = """(() => {
  const found = [];
  const width = document.documentElement.clientWidth;
  const shown = (e) =>
    e.getClientRects().length > 0 && getComputedStyle(e).visibility === "visible";
  const named = (e) => `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`;
  const scroller = (e) => {
    for (; e; e = e.parentElement)
      if (/auto|scroll/.test(getComputedStyle(e).overflowX)) return e;
    return document.documentElement;
  };
  if (document.documentElement.scrollWidth > width)
    found.push(`the page is ${document.documentElement.scrollWidth} wide, the window ${width}`);
  for (const one of document.querySelectorAll("table, svg.plot, pre, img")) {
    if (!shown(one)) continue;
    const box = scroller(one);
    const [inner, outer] = [one.getBoundingClientRect(), box.getBoundingClientRect()];
    if (outer.right > width + 1) found.push(`out of the window: ${named(one)}`);
    const end = outer.left + box.scrollWidth + box.offsetWidth - box.clientWidth;
    if (inner.right > end + 1) found.push(`cut off: ${named(one)}`);
  }
  for (const cell of document.querySelectorAll("td, th, h1, h2, h3, .card b"))
    if (shown(cell) && cell.clientWidth > 1 && cell.scrollWidth > cell.clientWidth + 1)
      found.push(`too narrow: ${named(cell)}`);
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode())
    if (words.currentNode.data.includes("`") && shown(words.currentNode.parentElement))
      found.push(`backtick: ${words.currentNode.data.trim().slice(0, 60)}`);
  for (const link of document.querySelectorAll("a[href^='#']"))
    if (!document.getElementById(decodeURIComponent(link.hash.slice(1))))
      found.push(`leads nowhere: ${link.hash}`);
  return found;
})()"""

_CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const colour = (css) => {
    if (!known.has(css)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = css;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(css, [r, g, b, a / 255]);
    }
    return known.get(css);
  };
  const over = ([r, g, b, a], below) =>
    [r, g, b].map((part, i) => part * a + below[i] * (1 - a));
  const behind = (e) => {
    if (!e) return [255, 255, 255];
    const own = colour(getComputedStyle(e).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, behind(e.parentElement));
  };
  const luminance = (parts) => {
    const [r, g, b] = parts.map((part) => part / 255).map((part) =>
      part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const e = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || /SCRIPT|STYLE|OPTION/.test(e.tagName)) continue;
    const box = e.getBoundingClientRect();
    const style = getComputedStyle(e);
    const isShown = Math.min(box.width, box.height) > 1 && style.visibility === "visible";
    if (!isShown || e.closest("#boxes")) continue;
    let opacity = 1;
    for (let up = e; up; up = up.parentElement) opacity *= getComputedStyle(up).opacity;
    if (opacity === 0) continue;
    const paper = behind(e);
    const [r, g, b, a] = colour(e.closest("svg") ? style.fill : style.color);
    const ink = over([r, g, b, a * opacity], paper);
    const [dark, light] = [luminance(ink), luminance(paper)].sort((x, y) => x - y);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (isLarge ? 3 : 4.5))
      found.push(`contrast ${ratio.toFixed(2)}: ${words.currentNode.data.trim().slice(0, 40)}`);
  }
  return [...new Set(found)];
})()"""
