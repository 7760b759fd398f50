"""The pages of a service in a real browser: legible, whole, linked, and calm while one draws."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Browser, Page, expect

import serving
from browsing import faults
from helpers import small_config, trained_run
from penstroke.serve.routes import router, states
from serve.strokes import DIGITS
from serve.visiting import draw, served, visit, write_run

SEVEN = Path(__file__).parents[2] / "examples" / "seven.png"
_TIMED_OUT = 28  # curl's exit code, where an answer has no end
TOKEN = "a-token-of-more-than-enough-letters"


@pytest.fixture(scope="module")
def folder(mnist_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind: with a report, damaged, with a long name."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTROKE_RUNS", str(folder))
        trained_run(small_config(epochs=2), name="digits", report=True)
    shutil.copytree(mnist_runs / "mnist-fast", folder / "mnist-fast")
    for name in ("one", "a-name-of-as-many-letters-as-somebody-might-give-to-a-run-some-day"):
        write_run(folder, name, [0.9, 0.3, 0.1], test=0.989)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.toml").write_text("x = [")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with served(folder / "mnist-fast", runs=folder) as url:
        yield url


def _draw(page: Page) -> None:
    draw(page, DIGITS["7"])
    expect(page.locator("#answer")).to_have_text("7")


def _draw_line(page: Page) -> None:
    page.get_by_label("A line").check()
    draw(page, DIGITS["7"])
    expect(page.locator(".chip")).to_have_count(1)


def _compare(page: Page) -> None:
    page.locator("#rows tr").first.wait_for()
    page.get_by_label("digits", exact=True).check()
    page.get_by_label("one", exact=True).check()


PAGES: dict[str, tuple[str, Any]] = {
    "empty": ("", lambda page: page.locator(".bar").first.wait_for()),
    "drawn": ("", _draw),
    "line": ("", _draw_line),
    "runs": ("runs", _compare),
    "api": ("docs", lambda page: page.locator("h1").wait_for()),
}


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_legible(browser: Browser, url: str, name: str, width: int) -> None:
    path, act = PAGES[name]
    with visit(browser, urljoin(url, path), viewport={"width": width, "height": 900}) as page:
        act(page)
        assert faults(page) == []
        assert page.locator("header .logo").is_visible()
        for link in page.locator("a:not([href^='#'])").evaluate_all(
            "all => all.map((a) => a.href)"
        ):
            assert page.request.get(link).ok, link


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_field_for_the_token_is_legible(browser: Browser, folder: Path, width: int) -> None:
    with served(folder / "mnist-fast", runs=folder, token=TOKEN) as address:
        where = address.partition("#")[0]
        size = {"width": width, "height": 900}
        with visit(browser, where, expected=("401",), viewport=size) as page:
            page.locator("dialog[open]").wait_for()
            assert faults(page) == []


@pytest.mark.browser
def test_bars_stay_where_they_are_while_one_draws(browser: Browser, url: str) -> None:
    with visit(browser, url, viewport={"width": 390, "height": 900}) as page:
        page.locator(".bar").first.wait_for()
        places = (
            "all => all.map((one) => Object.values(one.getBoundingClientRect().toJSON()).join())"
        )
        parts = page.locator(".bar, .track, .corrections")
        before = parts.evaluate_all(places)
        page.evaluate(
            """() => {
              window.moved = [];
              const below = ".desk, .classes, .corrections";
              new PerformanceObserver((list) => {
                for (const { node } of list.getEntries().flatMap((one) => one.sources)) {
                  const element = node?.closest ? node : node?.parentElement;
                  if (element?.closest(below)) window.moved.push(element.outerHTML);
                }
              }).observe({ type: "layout-shift", buffered: false });
            }"""
        )
        for digit in "170":
            draw(page, DIGITS[digit])
            expect(page.locator("#answer")).not_to_have_text("")
            assert parts.evaluate_all(places) == before
            page.keyboard.press("Delete")
        assert page.evaluate("window.moved") == []


@pytest.mark.browser
def test_a_run_leads_to_its_report_and_the_report_to_the_card(browser: Browser, url: str) -> None:
    with visit(browser, urljoin(url, "runs")) as page:
        row = page.locator("#rows tr", has_text="digits").filter(
            has=page.get_by_label("digits", exact=True)
        )
        row.get_by_role("link", name="report").click()
        expect(page.locator("h1")).to_have_text("digits")
        assert faults(page) == []
        page.get_by_role("link", name="Model card").click()
        expect(page.locator(".masthead")).to_contain_text("model card")
        page.get_by_role("link", name="Run report").click()
        expect(page.locator("h2").first).to_have_text("Splits")


def test_a_report_is_had_by_its_address_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTROKE_RUNS", str(folder))
    with serving.client(folder / "mnist-fast", token=TOKEN) as client:
        runs = client.get("/v1/runs", headers={"authorization": f"Bearer {TOKEN}"}).json()["runs"]
        reports = {run["name"]: run["report"] for run in runs}
        assert [name for name, report in reports.items() if report] == ["digits"]
        report = f"/{reports['digits']}"
        answer = client.get(report)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
        assert answer.headers["x-content-type-options"] == "nosniff"
        key = report.split("/")[2]
        for wrong in (
            report.replace(key, "0" * 32), report.replace("digits", "mnist-fast"),
            report.replace("digits", ".."), report.replace("index.html", "run.toml"),
            report.replace("index.html", "%2e%2e%2frun.toml"), report.replace(key, "é"),
            report.replace("index.html", "no.html"),
        ):  # fmt: skip
            assert client.get(wrong).status_code == 404, wrong
        assert TOKEN not in report


ROUTES = [
    (f"{method} {route.path}", route)
    for route in (*router.routes, *states.routes)
    if isinstance(route, APIRoute)
    for method in route.methods or ()
]


@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_examples_of_the_api_work(folder: Path, tmp_path: Path, token: str | None) -> None:
    """Each is sent by curl, as the page shows it; the answer has the fields of the example."""
    settings = {"token": token} if token else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTROKE_RUNS", str(folder))
        patch.setenv("PENSTROKE_CACHE", str(tmp_path))
        patch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
        with serving.service(folder / "mnist-fast", **settings) as running:
            document = running.get("/openapi.json").json()
            shell = {**os.environ, "URL": running.url, "TOKEN": token or ""}
            for name, route in ROUTES:
                method, path = name.split()
                operation = document["paths"][path][method.lower()]
                (sample,) = operation["x-codeSamples"]
                assert ("$TOKEN" in sample["source"]) == bool(token and route in router.routes)
                source = sample["source"].replace("--max-time 60", "--max-time 1")
                script = re.sub(r"\bcurl ", "curl --silent --show-error --fail-with-body ", source)
                for one in script.split("# or an image"):
                    done = subprocess.run(["bash", "-c", one], env=shell, cwd=SEVEN.parent,
                                          capture_output=True, text=True)  # fmt: skip
                    assert done.returncode in (0, _TIMED_OUT), (name, done.stdout, done.stderr)
                    _compare_answer(operation, route, done.stdout)
                    if name == "POST /v1/corrections":
                        shell["ID"] = client_id(done.stdout)


def client_id(answer: str) -> str:
    found = re.search(r'"id":\s*"([^"]+)"', answer)
    assert found
    return found[1]


def _compare_answer(operation: dict[str, Any], route: APIRoute, answer: str) -> None:
    contents = [
        content for status, one in operation["responses"].items() if status.startswith("2")
        for content in one.get("content", {}).values()
    ]  # fmt: skip
    if not contents:
        assert answer == ""
        return
    example = contents[0]["example"]
    if isinstance(example, str):
        assert answer.splitlines()[0].split()[0] == example.splitlines()[0].split()[0]
        return
    route.response_model.model_validate(example)
    assert json.loads(answer).keys() == example.keys()
