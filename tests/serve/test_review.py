"""The review in a real browser, and its service, which is protected as the other one is."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.testclient import TestClient

from answered_forms import answered_form, copied
from browsing import faults
from penstroke.forms.answers_folder import AnswersFolder
from penstroke.forms.review import Review
from penstroke.serve.review_service import ReviewService, create_review_app
from penstroke.serve.service_settings import ServiceSettings
from serve.visiting import visit

TOKEN = "a-token-of-the-tests"
SHOTS = os.environ.get("PENSTROKE_SCREENSHOTS")
ADA, BO = {"who": "Ada", "session": "1"}, {"who": "Bo", "session": "2"}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    return answered_form(tmp_path_factory.mktemp("exam"))


@pytest.fixture
def truth(made: tuple[Path, list[dict[str, str]]]) -> list[dict[str, str]]:
    return made[1]


@pytest.fixture
def folder(made: tuple[Path, list[dict[str, str]]], tmp_path: Path) -> Path:
    return copied(made[0], tmp_path)


@contextmanager
def client(folder: Path, **settings: Any) -> Iterator[TestClient]:
    service = ReviewService(Review(folder), ServiceSettings(**settings))
    with TestClient(create_review_app(service), base_url="http://localhost") as found:
        yield found


@contextmanager
def reviewed(folder: Path, *options: str) -> Iterator[str]:
    """Run the command, and yield the address of its page."""
    command = [sys.executable, "-m", "penstroke", "form", "review", str(folder), "--port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        yield lines[1].split()[1]
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0
        process.stdout.close()


def test_it_is_protected_as_the_other_service_is(folder: Path) -> None:
    with client(folder, token=TOKEN) as found:
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert found.get("/").status_code == 200
        assert "default-src 'none'" in found.get("/").headers["content-security-policy"]
        page = AnswersFolder(folder).pages()[0].id
        for path in ("", "/table.csv", "/table.json", f"/pages/{page}"):
            path = f"/v1/review{path}"
            assert found.get(path).status_code == 401, path
            assert found.get(path, headers=bearer).status_code == 200, path
            foreign = {**bearer, "origin": "https://example.org"}
            assert found.get(path, headers=foreign).status_code == 403, path
            assert found.get(path, headers={**bearer, "host": "evil.example"}).status_code == 421
        for path in ("next", "look", "changes", "undo", "table"):
            path = f"/v1/review/{path}"
            assert found.post(path, json=ADA).status_code == 401, path
            form = {**bearer, "content-type": "text/plain"}
            assert found.post(path, content="{}", headers=form).status_code == 415, path
        for path in ("/docs", "/openapi.json", "/v1/models", "/v1/review/pages/..%2fform.toml"):
            assert found.get(path, headers=bearer).status_code == 404, path
        assert found.get("/readyz").status_code == 200


def test_what_is_refused_says_why(folder: Path) -> None:
    with client(folder) as found:
        field = found.post("/v1/review/next", json=ADA).json()["field"]
        change = {**ADA, "page": field["page"], "field": field["field"], "revision": 0}

        def refused(**values: Any) -> tuple[int, str]:
            answer = found.post("/v1/review/changes", json={**change, "value": "1", **values})
            return answer.status_code, answer.json()["error"]["code"]

        assert refused() == (422, "not_admitted")
        assert refused(value="x" * 5000) == refused(value="x" * 1001) == (422, "invalid")
        assert refused(field="no") == refused(page="no") == (404, "unknown")
        assert refused(revision=3) == (409, "changed")
        assert refused(who=" ") == refused(who="a\nb") == (422, "invalid")
        assert found.post("/v1/review/undo", json=BO).status_code == 404
        assert not (folder / "changes.jsonl").exists()


@pytest.mark.browser
def test_doubtful_fields_are_accepted_or_corrected_with_the_keyboard(
    browser: Browser, folder: Path, truth: list[dict[str, str]]
) -> None:
    with reviewed(folder) as url, visit(browser, url, expected=("422",)) as page:
        give_name(page, "Ada")
        expect(page.locator("#source")).to_have_text("person 4 · scan4.png, page 1")
        expect(page.locator("#crop")).to_have_attribute("width", re.compile(r"^\d{3}$"))
        page.keyboard.type(truth[3]["student"])
        page.keyboard.press("Enter")
        expect(page.locator("#source")).to_contain_text("scan3.png")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#source")).to_contain_text("scan2.png")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#source")).to_contain_text("scan3.png")
        page.keyboard.press("Enter")  # what was read is not in the list
        expect(page.locator("#state")).to_contain_text("not among the 4 values")
        expect(page.locator("#state")).to_contain_text("Enter again keeps it")
        expect(page.locator("#count")).to_have_text("1 of 4 fields done")
        page.keyboard.press("Enter")
        expect(page.locator("#count")).to_have_text("2 of 4 fields done")
        page.keyboard.press("Control+z")
        expect(page.locator("#count")).to_have_text("1 of 4 fields done")
        expect(page.locator("#source")).to_contain_text("scan3.png")
        page.locator("#alternatives button").click()
        expect(page.locator("#value")).to_have_value(truth[2]["student"])
        page.get_by_role("button", name="Keep").click()
        expect(page.locator("#source")).to_contain_text("scan2.png")
        page.reload()
        expect(page.locator("#count")).to_have_text("2 of 4 fields done")
        expect(page.locator("#source")).to_contain_text("scan2.png")
        page.locator("#alternatives button").click()
        page.keyboard.press("Enter")
        expect(page.locator("#source")).to_contain_text("scan1.png")
        page.keyboard.press("Enter")
        expect(page.locator("#done-title")).to_have_text("Every field is done")
        expect(page.locator("#done-text")).to_contain_text("4 rows written to")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        assert download.value.suggested_filename == "exam.csv"
        rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
        assert [row["student"] for row in rows] == [one["student"] for one in truth]
        written = folder.with_name("answers.csv").read_text()
        assert list(csv.DictReader(written.splitlines())) == rows
        assert {change.who for change in AnswersFolder(folder).changes()} == {"Ada"}


@pytest.mark.browser
def test_two_people_are_given_different_fields_and_overwrite_nothing_unseen(
    browser: Browser, folder: Path, truth: list[dict[str, str]]
) -> None:
    with reviewed(folder) as url, visit(browser, url, expected=("409", "422")) as ada:
        give_name(ada, "Ada")
        expect(ada.locator("#source")).to_contain_text("scan4.png")
        with visit(browser, url, expected=("409", "422")) as bo:
            give_name(bo, "Bo")
            expect(bo.locator("#source")).to_contain_text("scan3.png")
            expect(bo.locator("#count")).to_have_text("0 of 4 fields done · with Ada")
            bo.keyboard.press("Enter")
            expect(bo.locator("#state")).to_contain_text("Enter again")
            bo.keyboard.press("Enter")
            expect(bo.locator("#count")).to_contain_text("1 of 4")
            expect(bo.locator("#source")).to_contain_text("scan2.png")
            ada.keyboard.press("ArrowRight")  # neither Bo's nor the one he answered
            expect(ada.locator("#source")).to_contain_text("scan1.png")
            bo.keyboard.press("ArrowRight")
            expect(bo.locator("#source")).to_contain_text("scan4.png")
            ada.keyboard.press("ArrowLeft")
            expect(ada.locator("#notice")).to_contain_text("Bo is looking at this field")
            bo.keyboard.type(truth[3]["student"])
            bo.keyboard.press("Enter")
            expect(bo.locator("#count")).to_contain_text("2 of 4")
            ada.keyboard.type(truth[0]["student"])
            ada.keyboard.press("Enter")
            expect(ada.locator("#notice")).to_contain_text(f"Bo gave '{truth[3]['student']}'")
            expect(ada.locator("#value")).to_have_value(truth[3]["student"])


def give_name(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Begin").click()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_whole_and_legible(
    browser: Browser, folder: Path, truth: list[dict[str, str]], width: int
) -> None:
    size = {"width": width, "height": 850}
    touch: dict[str, Any] = {"has_touch": True, "is_mobile": True} if width < 500 else {}
    with (
        reviewed(folder, "--token", TOKEN) as url,
        visit(browser, url, expected=("422", "404"), viewport=size, **touch) as page,
    ):
        page.locator("dialog[open]").wait_for()
        shoot(page, f"{width}-name")
        assert faults(page) == []
        give_name(page, "Ada Lovelace")
        expect(page.locator("#source")).to_contain_text("scan4.png")
        assert faults(page) == []
        shoot(page, f"{width}-field")
        page.locator("#whole summary").click()
        page.get_by_role("button", name="Accept").click()
        expect(page.get_by_role("button", name="Keep all the same")).to_be_visible()
        shoot(page, f"{width}-warned")
        assert faults(page) == []
        page.locator("#whole summary").click()
        page.get_by_label("sure ones, too").check()
        page.get_by_label("Field", exact=True).select_option("group")
        marks = page.locator("#options button")
        expect(marks).to_have_count(3)
        other = marks.filter(has_text="A" if truth[0]["group"] != "A" else "B")
        other.click()
        expect(other).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#options [aria-pressed=true]")).to_have_count(1)
        shoot(page, f"{width}-marks")
        assert faults(page) == []
        page.locator("#all").uncheck()
        expect(page.locator("#done-title")).to_have_text("Nothing more here")
        shoot(page, f"{width}-done")
        assert faults(page) == []
        (folder / "pages" / f"{AnswersFolder(folder).pages()[3].id}.webp").unlink()
        page.reload()
        expect(page.locator("#no-image")).to_be_visible()
        page.get_by_role("button", name="Keyboard shortcuts").click()
        assert faults(page) == []


def shoot(page: Page, name: str) -> None:
    """Keep what the page looks like, where somebody wants to see it."""
    if SHOTS:
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=f"{SHOTS}/{re.sub(r'[^a-z0-9]', '-', name)}-{scheme}.png")
