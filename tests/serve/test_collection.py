"""Corrections, from the page to a trained network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers import Outcome, drawn_digit
from penstroke.data import collected
from penstroke.preprocessing.ink import preprocess
from serving import Running, png, service

IMAGE = base64.b64encode(png(drawn_digit())).decode()
SEVEN = {"strokes": [[[60, 50], [140, 50, 0.5], [90, 160]]], "width": 200, "height": 200}
ANSWER = {"label": "1", "probability": 0.7, "model": "small"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache for the service and the commands of this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("PENSTROKE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def collecting(model: Path, cache: Path) -> Iterator[Running]:
    with service(model) as found:
        yield found


def collect(running: Running, **values: Any) -> httpx.Response:
    return httpx.post(f"{running.url}/v1/collection", json=values)


def facts(running: Running) -> dict[str, Any]:
    return dict(httpx.get(f"{running.url}/v1/collection").json())


def test_kept_counted_and_taken_back(collecting: Running, cache: Path) -> None:
    assert facts(collecting) == {
        "images": 0, "by_label": {}, "path": str(cache / "imported/collected"),
    }  # fmt: skip
    kept = collect(collecting, label="7", image=IMAGE, strokes=None, answer=ANSWER)
    assert kept.status_code == 201
    name = kept.json()["id"]
    assert kept.json() == {"id": name, "label": "7", "images": 1}
    drawn = collect(collecting, label="seven", strokes=SEVEN).json()
    assert facts(collecting)["by_label"] == {"7": 1, "seven": 1}
    found = collected.read(name)
    assert found.image == IMAGE
    assert found.answer is not None
    assert found.answer.to_dict() == ANSWER
    assert (found.pixels == preprocess(drawn_digit()).pixels).all()
    strokes = collected.read(drawn["id"]).strokes
    assert strokes is not None
    assert strokes["strokes"] == SEVEN["strokes"]
    for status in (204, 404):
        gone = httpx.delete(f"{collecting.url}/v1/collection/{drawn['id']}")
        assert gone.status_code == status
    assert facts(collecting)["images"] == 1
    assert httpx.delete(f"{collecting.url}/v1/collection/{name}").status_code == 204


def test_another_damaged_file_keeps_nothing_from_being_kept(
    collecting: Running, cache: Path
) -> None:
    damaged = cache / "imported/collected/20200101T000000-damaged.json"
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_text("{")
    kept = collect(collecting, label="7", image=IMAGE)
    assert kept.status_code == 201
    damaged.unlink()
    httpx.delete(f"{collecting.url}/v1/collection/{kept.json()['id']}")
    assert facts(collecting)["images"] == 0


@pytest.mark.parametrize(
    ("values", "status", "said"),
    [
        ({"label": "7"}, 422, "image: give it, or strokes"),
        ({"image": IMAGE}, 422, "label"),
        ({"label": "", "image": IMAGE}, 422, "label"),
        ({"label": "x" * 33, "image": IMAGE}, 422, "label"),
        ({"label": "a\nb", "image": IMAGE}, 422, "label: 1 to 32 printable"),
        ({"label": "7", "image": "data:image/png;base64," + IMAGE}, 422, "no base64"),
        ({"label": "7", "image": "AAAA"}, 422, "neither a PNG nor a JPEG"),
        ({"label": "7", "strokes": {**SEVEN, "strokes": []}}, 422, "no ink"),
        ({"label": "7", "strokes": {**SEVEN, "width": -1}}, 422, "strokes.width"),
        ({"label": "7", "image": IMAGE, "path": "/etc"}, 422, "path: unknown"),
        ({"label": "7", "image": IMAGE, "answer": {"label": "1"}}, 422, "answer.probability"),
    ],
)
def test_what_is_not_kept(
    collecting: Running, values: dict[str, Any], status: int, said: str
) -> None:
    before = facts(collecting)["images"]
    found = collect(collecting, **values)
    assert (found.status_code, said in found.text) == (status, True), found.text
    assert facts(collecting)["images"] == before


@pytest.mark.parametrize("kind", ["text/plain", "image/png", "multipart/form-data; boundary=x", ""])
def test_only_json_changes_what_is_kept(collecting: Running, kind: str) -> None:
    content = json.dumps({"label": "7", "image": IMAGE}).encode()
    found = httpx.post(
        f"{collecting.url}/v1/collection", content=content, headers={"content-type": kind}
    )
    assert found.status_code == 415


STRANGE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg/onload=alert(1)>',
    "javascript:alert(1)", "{{7*7}}", "../../etc/passwd", "..", "CON", "'; DROP TABLE x;--",
    "&lt;b&gt;", "${7*7}", "ñ", "日本", "🖋", "a/b", "%00", "<!--", "]]>", "\\", "__proto__",
]  # fmt: skip


@pytest.mark.parametrize("label", STRANGE)
def test_strange_labels_are_words_like_any(collecting: Running, cache: Path, label: str) -> None:
    kept = collect(collecting, label=label, strokes=SEVEN)
    assert kept.json()["label"] == label
    answer = httpx.get(f"{collecting.url}/v1/collection")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["by_label"][label] == 1
    assert {path.parent.name for path in cache.rglob("*.json")} == {"collected"}
    httpx.delete(f"{collecting.url}/v1/collection/{kept.json()['id']}")


def test_trained_on(collecting: Running, penstroke: Callable[..., Outcome]) -> None:
    for number in range(40):
        shift = [[[x + number, y, 0.5] for x, y, *_ in stroke] for stroke in SEVEN["strokes"]]  # type: ignore[attr-defined]
        collect(collecting, label="7" if number % 2 else "☺", strokes={**SEVEN, "strokes": shift})
    trained = penstroke(
        "train", "baseline-mlp", "--dataset", "digits+collected", "--epochs", 2,
        "--set", "train.precision=float32", "--no-report", "--json",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.err
    run = Path(json.loads(trained.out)["run"])
    assert "☺" in (run / "run.toml").read_text()
    assert json.loads(trained.out)["test_accuracy"] > 0.5
