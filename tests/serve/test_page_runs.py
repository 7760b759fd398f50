"""The runs page in a real browser: all runs, their curves, live while a run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from penstroke.runs.epochs import append_history
from penstroke.runs.run import Run
from serve.visiting import eventually, finish_run, metrics_of, served, visit, write_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder, "slow-1", [1.2, 0.9, 0.6, 0.5, 0.45], day=1, test=0.9)
    write_run(folder, "quick-2", [0.8, 0.3, 0.2], day=2, test=0.95)
    write_run(folder, "broken-3", [0.9, 0.7], day=3)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path, model: Path) -> Iterator[str]:
    shutil.copy(model, folder / "quick-2" / "model.onnx")
    with served(folder / "quick-2", runs=folder) as url:
        yield f"{url}runs"


def test_all_runs_are_listed_and_the_newest_is_drawn(browser: Browser, service: str) -> None:
    with visit(browser, service) as page:
        expect(page.locator("#rows tr")).to_have_count(3)
        assert names(page) == ["broken-3", "quick-2", "slow-1"]
        quick = page.get_by_role("row", name="quick-2")
        for text in ("finished", "digits", "93.33 %", "95.00 %"):
            expect(quick).to_contain_text(text)
        broken = page.locator("#rows tr", has_text="broken-3")
        for text in ("unfinished", "2 of", "–"):
            expect(broken).to_contain_text(text)
        assert compared(page) == ["broken-3"]
        assert points_drawn(page) == [2]


def test_runs_are_compared_in_one_plot(browser: Browser, service: str) -> None:
    with visit(browser, f"{service}?run=slow-1") as page:
        expect(page.locator("#figures tr")).to_have_count(1)
        page.get_by_label("quick-2").check()
        expect(page.locator("#figures tr")).to_have_count(2)
        assert points_drawn(page) == [5, 3]
        assert points_drawn(page, "accuracy", "train") == [5, 3]
        colours = page.locator("#loss path.val").evaluate_all(
            "all => all.map((one) => getComputedStyle(one).stroke)"
        )
        assert len(set(colours)) == 2
        swatches = page.locator("#figures .swatch").evaluate_all(
            "all => all.map((one) => getComputedStyle(one).backgroundColor)"
        )
        assert swatches == colours
        assert figures(page, "quick-2")[:3] == ["3 ✓", "0.2000", "0.2200"]
        page.reload()
        expect(page.locator("#figures tr")).to_have_count(2)
        page.get_by_role("button", name="compare none").click()
        expect(page.locator("#figures tr")).to_have_count(0)
        assert points_drawn(page) == []


def test_any_epoch_is_read_by_pointing_or_with_keys(browser: Browser, service: str) -> None:
    with visit(browser, f"{service}?run=slow-1&run=quick-2") as page:
        expect(page.locator("#figures tr")).to_have_count(2)
        chart = page.locator("#loss svg").bounding_box()
        assert chart is not None
        page.mouse.move(chart["x"] + 46 + (chart["width"] - 58) / 4, chart["y"] + 80)
        assert figures(page, "slow-1")[:2] == ["2", "0.9000"]
        page.mouse.move(5, 5)
        assert figures(page, "slow-1")[:2] == ["5 ✓", "0.4500"]
        page.get_by_label("Epoch", exact=True).focus()
        page.keyboard.press("ArrowLeft")
        assert figures(page, "slow-1")[:2] == ["4", "0.5000"]
        assert figures(page, "quick-2")[:2] == ["–", "–"]


def test_the_list_is_sorted_and_filtered(browser: Browser, service: str) -> None:
    with visit(browser, service) as page:
        expect(page.locator("#rows tr")).to_have_count(3)
        page.get_by_role("button", name="sort by test").click()
        assert names(page) == ["quick-2", "slow-1", "broken-3"]  # what has no figure comes last
        page.get_by_role("button", name="sort by test").click()
        assert names(page) == ["slow-1", "quick-2", "broken-3"]
        page.get_by_role("button", name="sort by run").click()
        assert names(page) == ["broken-3", "quick-2", "slow-1"]
        page.get_by_role("searchbox").fill("digits FINISHED -")
        assert names(page) == ["broken-3", "quick-2", "slow-1"]
        page.get_by_role("searchbox").fill("slow fin")
        assert names(page) == ["slow-1"]
        expect(page.locator("#shown")).to_have_text("1 of 3")
        page.get_by_role("searchbox").fill("nothing like it")
        expect(page.locator("#no-runs")).to_be_visible()


def test_a_logarithmic_scale_tells_small_errors_apart(browser: Browser, service: str) -> None:
    with visit(browser, f"{service}?run=slow-1") as page:
        expect(page.locator("#figures tr")).to_have_count(1)
        page.get_by_label("logarithmic").check()
        expect(page.locator("#accuracy-title")).to_contain_text("logarithm")
        ticks = page.locator("#loss .down").all_text_contents()
        assert ticks == ["0.2", "0.5", "1", "2"]
        heights = [float(y or 0) for y in page.locator("#loss .down").evaluate_all(
            "all => all.map((one) => one.getAttribute('y'))")]  # fmt: skip
        assert heights[1] - heights[2] == pytest.approx(heights[2] - heights[3], abs=0.1)


def test_the_two_pages_lead_to_each_other(browser: Browser, service: str) -> None:
    with visit(browser, service) as page:
        page.locator("#rows tr", has_text="quick-2").get_by_role("link", name="draw").click()
        expect(page.locator("#model")).to_have_value("quick-2")
        assert "model=quick-2" in page.url
        page.get_by_role("link", name="Runs").click()
        expect(page.locator("#rows tr")).to_have_count(3)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (360, "light"), (1400, "dark")])
def test_nothing_is_cut_off(browser: Browser, service: str, width: int, scheme: Any) -> None:
    settings = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with visit(browser, f"{service}?run=slow-1&run=quick-2", **settings) as page:
        expect(page.locator("#figures tr")).to_have_count(2)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        widths = page.locator(".chart svg").evaluate_all("all => all.map((one) => one.clientWidth)")
        assert all(250 < one <= width for one in widths)


def test_a_silent_server_is_said_and_asked_again(browser: Browser, service: str) -> None:
    def silence(page: Page) -> None:
        page.route("**/v1/runs", lambda route: route.abort())

    expected = ("Failed to load resource",)
    with visit(browser, service, expected=expected, before=silence) as page:
        expect(page.locator("#notice")).to_contain_text("The server does not answer.")
        page.unroute("**/v1/runs")
        expect(page.locator("#rows tr")).to_have_count(3)
        expect(page.locator("#notice")).to_be_empty()


def test_curves_grow_while_a_run_goes_on(browser: Browser, service: str, folder: Path) -> None:
    with visit(browser, service) as page:
        expect(page.locator("#rows tr")).to_have_count(3)
        run = Run.open(write_run(folder, "live", [0.9], day=4))
        live = page.locator("#rows tr", has_text="live")
        with run.locked():
            # The newest is drawn, as nobody chose another.
            eventually(page, lambda: compared(page) == ["live"] and points_drawn(page) == [1])
            append_history(run, [metrics_of(2, 0.6)])
            expect(live.locator(".status")).to_have_text("live")
            eventually(page, lambda: points_drawn(page) == [2])
            append_history(run, [metrics_of(3, 0.5), metrics_of(4, 0.4)])
            eventually(page, lambda: points_drawn(page) == [4])
            finish_run(run, 0.4, test=0.9)
        expect(live.locator(".status")).to_have_text("finished")
        expect(live.locator("td").last).to_contain_text("%")
        assert points_drawn(page) == [4]
    shutil.rmtree(folder / "live")


def names(page: Page) -> list[str]:
    return page.locator("#rows .run-name").all_inner_texts()


def compared(page: Page) -> list[str]:
    """Return the runs of the table below the curves."""
    return page.locator("#figures th").all_inner_texts()


def figures(page: Page, name: str) -> list[str]:
    """Return what that table says of one."""
    return page.locator("#figures tr", has_text=name).locator("td").all_inner_texts()


def points_drawn(page: Page, chart: str = "loss", split: str = "val") -> list[int]:
    """Return how many points each curve has."""
    paths = page.locator(f"#{chart} path.{split}")
    drawn = paths.evaluate_all("all => all.map((one) => one.getAttribute('d'))")
    return [path.count("M") + path.count("L") for path in drawn]
