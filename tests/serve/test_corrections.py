"""Corrections, from the page to a trained network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from helpers import Outcome, drawn_digit
from penstroke.data import collected
from penstroke.preprocessing.ink import preprocess
from serving import png

IMAGE = base64.b64encode(png(drawn_digit())).decode()
SEVEN = {"strokes": [[[60, 50], [140, 50, 0.5], [90, 160]]], "width": 200, "height": 200}
ANSWER = {"label": "1", "probability": 0.7, "model": "small"}


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder for the application and the commands of this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data")
        patch.setenv("PENSTROKE_DATA", str(folder))
        yield folder


def collect(client: TestClient, **values: Any) -> httpx2.Response:
    return client.post("/v1/corrections", json=values)


def facts(client: TestClient) -> dict[str, Any]:
    return dict(client.get("/v1/corrections").json())


@pytest.mark.parametrize("bound", [{"MAX_IMAGES": 0}, {"MAX_BYTES": 1000}])
def test_a_full_collection_takes_no_more(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, bound: dict[str, int]
) -> None:
    before = collected.names()
    for name, value in bound.items():
        monkeypatch.setattr(collected, name, value)
    found = collect(client, label="7", image=IMAGE)
    assert found.status_code == 422
    assert "is full" in found.json()["error"]["message"]
    assert collected.names() == before


def test_kept_counted_and_taken_back(client: TestClient, data: Path) -> None:
    assert facts(client) == {
        "images": 0, "by_label": {}, "path": str(data / "collected"), "corrections": [],
    }  # fmt: skip
    kept = collect(client, label="7", image=IMAGE, strokes=None, answer=ANSWER)
    assert kept.status_code == 201
    name = kept.json()["id"]
    assert kept.json() == {"id": name, "label": "7", "images": 1}
    drawn = collect(client, label="seven", strokes=SEVEN).json()
    assert facts(client)["by_label"] == {"7": 1, "seven": 1}
    found = collected.read([name])[name]
    assert found.image == IMAGE
    assert found.answer is not None
    assert found.answer.to_dict() == ANSWER
    assert (found.pixels == preprocess(drawn_digit()).pixels).all()
    strokes = collected.read([drawn["id"]])[drawn["id"]].strokes
    assert strokes is not None
    assert strokes["strokes"] == SEVEN["strokes"]
    for status in (204, 404):
        gone = client.delete(f"/v1/corrections/{drawn['id']}")
        assert gone.status_code == status
    assert facts(client)["images"] == 1
    assert client.delete(f"/v1/corrections/{name}").status_code == 204


def test_another_damaged_file_keeps_nothing_from_being_kept(client: TestClient, data: Path) -> None:
    damaged = data / "collected/20200101T000000-damaged.json"
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_text("{")
    kept = collect(client, label="7", image=IMAGE)
    assert kept.status_code == 201
    damaged.unlink()
    client.delete(f"/v1/corrections/{kept.json()['id']}")
    assert facts(client)["images"] == 0


@pytest.mark.parametrize(
    ("values", "status", "said"),
    [
        ({"label": "7"}, 422, "image: give an image, or strokes"),
        ({"image": IMAGE}, 422, "label"),
        ({"label": "", "image": IMAGE}, 422, "label"),
        ({"label": "x" * 33, "image": IMAGE}, 422, "label"),
        ({"label": "a\nb", "image": IMAGE}, 422, "label: "),
        ({"label": "7", "image": "data:image/png;base64," + IMAGE}, 422, "not base64"),
        ({"label": "7", "image": "AAAA"}, 422, "not an image that can be read"),
        ({"label": "7", "strokes": {**SEVEN, "strokes": []}}, 422, "no ink"),
        ({"label": "7", "strokes": {**SEVEN, "width": -1}}, 422, "strokes.width"),
        ({"label": "7", "image": IMAGE, "path": "/etc"}, 422, "path: Extra inputs"),
        ({"label": "7", "image": IMAGE, "answer": {"label": "1"}}, 422, "answer.probability"),
    ],
)
def test_what_is_not_kept(
    client: TestClient, values: dict[str, Any], status: int, said: str
) -> None:
    before = facts(client)["images"]
    found = collect(client, **values)
    assert (found.status_code, said in found.text) == (status, True), found.text
    assert facts(client)["images"] == before


@pytest.mark.parametrize("kind", ["text/plain", "image/png", "multipart/form-data; boundary=x", ""])
def test_only_json_changes_what_is_kept(client: TestClient, kind: str) -> None:
    content = json.dumps({"label": "7", "image": IMAGE}).encode()
    found = client.post("/v1/corrections", content=content, headers={"content-type": kind})
    assert found.status_code == 415


STRANGE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg/onload=alert(1)>',
    "javascript:alert(1)", "{{7*7}}", "../../etc/passwd", "..", "CON", "'; DROP TABLE x;--",
    "&lt;b&gt;", "${7*7}", "ñ", "日本", "🖋", "a/b", "%00", "<!--", "]]>", "\\", "__proto__",
]  # fmt: skip


@pytest.mark.parametrize("label", STRANGE)
def test_strange_labels_are_words_like_any(client: TestClient, data: Path, label: str) -> None:
    kept = collect(client, label=label, strokes=SEVEN)
    assert kept.json()["label"] == label
    answer = client.get("/v1/corrections")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["by_label"][label] == 1
    assert {path.parent.name for path in data.rglob("*.json")} == {"collected"}
    client.delete(f"/v1/corrections/{kept.json()['id']}")


def test_trained_on(client: TestClient, penstroke: Callable[..., Outcome]) -> None:
    for number in range(40):
        shift = [[[x + number, y, 0.5] for x, y, *_ in stroke] for stroke in SEVEN["strokes"]]  # type: ignore[attr-defined]
        collect(client, label="7" if number % 2 else "☺", strokes={**SEVEN, "strokes": shift})
    trained = penstroke(
        "train", "baseline-mlp", "--dataset", "digits+collected", "--epochs", 2,
        "--set", "train.precision=float32", "--no-report", "--json",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.err
    run = Path(json.loads(trained.out)["run"])
    assert "☺" in (run / "run.toml").read_text()
    assert json.loads(trained.out)["test_accuracy"] > 0.5


def test_listed_newest_first(client: TestClient) -> None:
    ids = [collect(client, label=label, strokes=SEVEN).json()["id"] for label in "789"]
    listed = client.get("/v1/corrections", params={"limit": 2}).json()["corrections"]
    assert [(one["id"], one["label"]) for one in listed] == [(ids[2], "9"), (ids[1], "8")]
    assert listed[0]["input_image"].startswith("data:image/png;base64,")
    assert listed[0]["split"] == collected.split_of(ids[2])
    older = client.get("/v1/corrections", params={"before": ids[1]}).json()["corrections"]
    assert ids[0] in {one["id"] for one in older}
    assert not {ids[1], ids[2]} & {one["id"] for one in older}
    assert client.get("/v1/corrections?limit=1001").status_code == 422
    for name in ids:
        client.delete(f"/v1/corrections/{name}")


def test_listed_and_removed_by_command(
    client: TestClient, penstroke: Callable[..., Outcome]
) -> None:
    ids = [collect(client, label=label, strokes=SEVEN).json()["id"] for label in "12"]
    listed = json.loads(penstroke("corrections", "list", "--label", 1, "--json").out)
    assert [one["id"] for one in listed["corrections"]] == ids[:1]
    assert ids[1] in penstroke("corrections", "list").out
    refused = penstroke("corrections", "rm", ids[0], "nothing", "--yes")
    assert (refused.exit_code, "no correction nothing" in refused.err) == (1, True)
    assert json.loads(penstroke("corrections", "rm", *ids, "-y", "--json").out) == {"removed": ids}
    assert not {"1", "2"} & set(facts(client)["by_label"])
