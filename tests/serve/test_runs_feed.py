"""Runs as a page is told of them, live while they go on."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest

from helpers import DAMAGE, spoil, trained_run, until
from penstroke.runs.epochs import append_history
from penstroke.runs.run import Run
from penstroke.serve.responses import ApiError
from penstroke.serve.runs_feed import RunsFeed, news
from penstroke.serve.schemas import RunEvent
from serving import Running, service


@pytest.fixture
def run() -> Run:
    return trained_run()


def test_facts_about_runs(run: Run) -> None:
    feed = RunsFeed()
    (facts,) = feed.all()
    assert facts.name == run.name
    assert (facts.status, facts.dataset) == ("finished", "digits")
    assert (facts.epochs, facts.total_epochs) == (3, 3)
    assert facts.val_accuracy == run.summary().val_accuracy
    assert facts.test_accuracy == run.summary().test_accuracy
    one = feed.one(run.name)
    assert one.history == run.history()
    assert one.diagnosis == run.summary().diagnosis
    shutil.rmtree(run.path)
    assert feed.all() == []


@pytest.mark.parametrize("name", ["", "..", "../small", "nothing", "small\0", "/etc"])
def test_names_are_only_compared(run: Run, name: str) -> None:
    with pytest.raises(ApiError) as error:
        RunsFeed().one(name)
    assert error.value.status_code == 404


def test_what_is_new(run: Run) -> None:
    feed = RunsFeed()
    first = feed.refresh()
    finished = RunEvent(name=run.name, status="finished", history=run.history())
    assert list(news({}, first)) == [finished]
    assert list(news(first, feed.refresh())) == []
    append_history(run, [{"epoch": 4, "best_epoch": 3}])
    feed.all()  # another caller takes no news away
    second = feed.refresh()
    added = RunEvent(name=run.name, status="finished", history=[{"epoch": 4, "best_epoch": 3}])
    assert list(news(first, second)) == [added]
    (run.path / "history.jsonl").write_text("damaged\n{}\n")
    (damaged,) = feed.all()
    assert (damaged.status, damaged.epochs) == ("damaged", 0)
    assert "history.jsonl is damaged in line 1" in str(damaged.reason)
    assert [event.status for event in news(second, feed.refresh())] == ["damaged"]
    run.history_path.write_text("")
    third = feed.refresh()
    assert next(news(second, third)).history == []
    run.remove()
    (gone,) = news(third, feed.refresh())
    assert gone == RunEvent(name=run.name, status="gone", history=[])


@pytest.mark.parametrize("file", ["run.toml", "history.jsonl", "summary.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_one_damaged_run_is_shown_as_damaged_beside_the_others(
    run: Run, file: str, damage: bytes | None
) -> None:
    if (file, damage) == ("history.jsonl", b""):
        return  # a run before its first epoch
    shutil.copytree(run.path, run.path.with_name("broken"))
    spoil(run.path.with_name("broken") / file, damage)
    feed = RunsFeed()
    statuses = {one.name: one.status for one in feed.all()}
    assert statuses == {run.name: "finished", "broken": "damaged"}
    assert feed.one("broken").history == []


def test_a_listener_that_comes_while_it_stops_is_refused(run: Run) -> None:
    async def heard(feed: RunsFeed) -> list[str]:
        return [event async for event in feed.events()]

    feed = RunsFeed()
    feed.stop()
    with pytest.raises(ApiError) as refused:
        feed.refuse_if_full()
    assert refused.value.status_code == 503
    assert asyncio.run(asyncio.wait_for(heard(feed), 5)) == []


def test_listeners_hear_the_same_and_the_end(run: Run) -> None:
    async def listen(feed: RunsFeed, heard: list[str]) -> None:
        async for event in feed.events():
            heard.append(event)  # noqa: PERF401 - as they come, not in the end

    async def scene() -> list[list[str]]:
        feed = RunsFeed()
        heard: list[list[str]] = [[], [], []]
        listeners = [asyncio.create_task(listen(feed, h)) for h in heard]
        await until(lambda: all(heard))
        append_history(run, [{"epoch": 4, "best_epoch": 3}])
        await until(lambda: all(len(events) == 2 for events in heard))
        feed.stop()
        await asyncio.gather(*listeners)
        assert feed._listeners == 0
        return heard

    for events in asyncio.run(scene()):
        (told,) = [event for event in events if event.startswith("data: ")]
        assert json.loads(told.removeprefix("data: "))["history"] == [{"epoch": 4, "best_epoch": 3}]


def test_over_the_wire(run: Run, model: Path) -> None:
    with service(model) as running:
        names = [one["name"] for one in running.get("/v1/runs").json()["runs"]]
        assert names == [run.name]
        one = running.get(f"/v1/runs/{run.name}").json()
        assert len(one["history"]) == 3
        event = _first_event(running, run)
        assert (event["name"], event["history"]) == (run.name, [{"epoch": 4, "best_epoch": 3}])
        assert running.stop() == 0, "an endless stream keeps nobody from stopping"


def _first_event(running: Running, run: Run) -> dict[str, Any]:
    with httpx2.stream("GET", f"{running.url}/v1/runs/events", timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for number, line in enumerate(stream.iter_lines()):
            if number == 0:
                append_history(run, [{"epoch": 4, "best_epoch": 3}])
            if line.startswith("data: "):
                return dict(json.loads(line.removeprefix("data: ")))
    raise AssertionError
