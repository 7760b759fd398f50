"""Takes docs/images/drawing-page.png: `penstroke serve` with a digit drawn by the mouse."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

import penstroke

ROOT = Path(__file__).parents[1]
IMAGE = ROOT / "docs/images/drawing-page.png"
WIDTH, HEIGHT = 1000, 640
SHOWN_HEIGHT = 606
"""Pixels: what follows is cut by the edge of the window."""
CHROMIUM = Path("/usr/bin/chromium")
"""Debian's browser; elsewhere playwright's own."""


def main() -> None:
    """Train a network, serve it, draw a 3, and write the image."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"PENSTROKE_RUNS": folder, "PENSTROKE_CACHE": f"{folder}/.cache"}
        run = penstroke.train(penstroke.load_recipe("balanced").run_config(), name="digits")
        command = [sys.executable, "-m", "penstroke", "serve", str(run.path), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                lines = iter(server.stdout.readline, "")
                urls = (re.search(r"http://[\d.:]+/", line) for line in lines)
                take(next(url[0] for url in urls if url))
            finally:
                server.send_signal(signal.SIGTERM)
    print(IMAGE.relative_to(ROOT))


def take(url: str) -> None:
    """Draw a 3 on the page at `url`, and write the image."""
    with sync_playwright() as playwright:
        path = CHROMIUM if CHROMIUM.exists() else None
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        page.locator("#model option").first.wait_for(state="attached")
        box = page.locator("#canvas").bounding_box()
        assert box is not None
        side = min(box["width"], box["height"])
        points = three() * side * 0.62 + [
            box["x"] + box["width"] / 2, box["y"] + box["height"] / 2,
        ]  # fmt: skip
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()
        page.wait_for_function("document.querySelector('#answer').textContent === '3'")
        page.wait_for_timeout(500)  # the bars grow to their length
        page.screenshot(path=IMAGE, clip={"x": 0, "y": 0, "width": WIDTH, "height": SHOWN_HEIGHT})
        browser.close()


def three() -> np.ndarray:
    """Return the points (N, 2) of a 3, one unit high around the origin."""
    upper, lower = (np.linspace(start, end, 24) for start, end in ((-2.6, 1.5), (-1.5, 2.6)))
    return np.concatenate(
        [
            np.stack([0.24 * np.cos(upper), 0.23 * np.sin(upper) - 0.25], axis=1),
            np.stack([0.28 * np.cos(lower), 0.26 * np.sin(lower) + 0.24], axis=1),
        ]
    )


if __name__ == "__main__":
    main()
