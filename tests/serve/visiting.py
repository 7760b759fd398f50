"""A server of its own, and a browser tab that notices everything that goes wrong in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from helpers import small_config, wait_until
from penstroke.config.settings import Resolved
from penstroke.runs.epochs import append_history
from penstroke.runs.record import DataFacts
from penstroke.runs.run import Run, RunRecord
from serve.strokes import Stroke, placed
from serving import service

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)  # a broken page fails late; a busy machine breaks no test
SHEET = 400
"""Units of the sheet from top to bottom; a character's is as wide."""


@contextmanager
def served(*models: Path, runs: Path, **settings: Any) -> Iterator[str]:
    """Yield the address of the page of a service, which has a collection of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTROKE_RUNS", str(runs))
        with service(*models, data=runs / ".data", **settings) as running:
            yield f"{running.url}/#token={running.token}" if running.token else f"{running.url}/"


@contextmanager
def visit(
    browser: Browser,
    url: str,
    expected: tuple[str, ...] = (),
    before: Callable[[Page], object] = lambda _: None,
    **settings: Any,
) -> Iterator[Page]:
    """Yield the page at `url`; only its own server may be asked, and nothing may fail.

    Args:
        browser: where it is opened, in a context of its own.
        url: of the page.
        expected: parts of what the console may say.
        before: what is done before the page is loaded.
        settings: of the browser's context: viewport, colour scheme, touch.
    """
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **settings})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    troubles: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    context.on("request", lambda request: asked.append(request.url))
    try:
        before(page)
        page.goto(url)
        yield page
    finally:
        context.close()
    assert [text for text in troubles if not any(part in text for part in expected)] == []
    assert [
        u for u in asked if _host(u) != _host(url) and not u.startswith(("data:", "blob:"))
    ] == []


def _host(url: str) -> str:
    return urlsplit(url).netloc


def draw(page: Page, strokes: list[Stroke], left: float = 0, top: float = 0) -> None:
    """Draw strokes (100 by 100) with the mouse, as large as the sheet is high."""
    for stroke in placed(strokes, *_to_screen(page, left, top)):
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*point)
        page.mouse.up()


def on_sheet(page: Page, strokes: list[Stroke]) -> list[Stroke]:
    """Return strokes (100 by 100) where they lie on the screen."""
    return list(placed(strokes, *_to_screen(page, 0, 0)))


def _to_screen(page: Page, left: float, top: float) -> tuple[float, float, float]:
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    side = box["height"]
    return box["x"] + left * side / 100, box["y"] + top * side / 100, side


def reads(page: Page, text: str) -> None:
    expect(page.locator("#answer")).to_have_text(text)


def clear(page: Page) -> None:
    page.keyboard.press("Delete")
    reads(page, "")


def strokes_asked(
    page: Page, act: Callable[[], object], is_last: Callable[[list[Any]], bool]
) -> list[Any]:
    """Return the strokes of the first question after `act` that `is_last` holds for."""
    with page.expect_request(
        lambda r: "/v1/re" in r.url and is_last(json.loads(r.post_data or "{}")["strokes"])
    ) as request:
        act()
    return list(body_of(request)["strokes"])


def asks_nothing(page: Page, act: Callable[[], object]) -> bool:
    """Return whether no question follows `act` within a quarter of a second."""
    questions: list[str] = []
    page.on("request", listener := lambda r: questions.append(r.url))
    act()
    page.wait_for_timeout(250)
    page.remove_listener("request", listener)
    return not any("/v1/re" in url for url in questions)


def eventually(page: Page, condition: Callable[[], object]) -> None:
    """Wait until `condition` is true; routes and listeners of `page` are served meanwhile."""
    wait_until(lambda: page.wait_for_timeout(20) or condition())  # type: ignore[func-returns-value]


def body_of(request: Any) -> dict[str, Any]:
    """Return the JSON that an expected request carries."""
    return dict(request.value.post_data_json)


def collected(page: Page) -> dict[str, int]:
    answer = page.evaluate("fetch('v1/corrections').then((response) => response.json())")
    return dict(answer["by_label"])


def write_run(
    folder: Path, name: str, losses: Sequence[float], *, day: int = 1, test: float | None = None
) -> Path:
    """Write a run on digits as training leaves it; it is finished where `test` is given."""
    record = RunRecord(
        created=f"2026-01-{day:02}T12:00:00Z", config=small_config(epochs=len(losses)),
        resolved=Resolved(device="cpu", precision="float32", threads=1), versions={}, machine={},
        data=DataFacts(fingerprint="0" * 64, classes=("0", "1"), train_images=400,
                       validation_images=40, test_images=40, mean=0.1, std=0.3),
    )  # fmt: skip
    run = Run.create(folder / name, record)
    append_history(run, [metrics_of(epoch, loss) for epoch, loss in enumerate(losses, start=1)])
    if test is not None:
        finish_run(run, losses[-1], test)
    return run.path


def metrics_of(epoch: int, loss: float) -> dict[str, Any]:
    """Return a line of history."""
    return {
        "epoch": epoch, "train_loss": loss, "train_accuracy": 1 - loss / 4,
        "val_loss": 1.1 * loss, "val_accuracy": 1 - loss / 3, "learning_rate": 1e-3,
        "best_epoch": epoch, "elapsed_seconds": 0.5 * epoch,
    }  # fmt: skip


def finish_run(run: Run, loss: float, test: float) -> None:
    figures = {"val_accuracy": 1 - loss / 3, "test_accuracy": test}
    (run.path / "summary.json").write_text(json.dumps(figures))
