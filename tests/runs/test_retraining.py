"""The nightly retraining, from corrections over HTTP to the model that is served."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from helpers import Outcome, small_config, trained_run, wait_until
from penstroke.evaluation.comparison import noninferiority_p
from penstroke.files import sha256_of_file
from penstroke.runs import retraining
from penstroke.runs.run import find_run
from serving import Running, service
from transcripts import ROOT, fences, steps_of

RECIPE = """
[train]
epochs = 15
batch_size = 32
optimizer = "adam"
learning_rate = 3e-3
schedule = "one_cycle"
checkpoint_metric = "last"
precision = "float32"
threads = 1
"""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder for each test, and so a collection."""
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def model(tmp_path: Path, penstroke: Callable[..., Outcome]) -> Path:
    """The file of a served model, of a run of a few epochs on digits."""
    run = trained_run(small_config(epochs=12), name="first")
    path = tmp_path / "served" / "model.onnx"
    assert penstroke("export", run.path, "--output", path).exit_code == 0
    return path


@pytest.fixture
def quick(tmp_path: Path) -> tuple[object, ...]:
    """Options that take a second, and allow for the few validation images of digits."""
    recipe = tmp_path / "quick.toml"
    recipe.write_text(RECIPE)
    return "--recipe", recipe, "--no-report", "--margin", "0.1"


@pytest.fixture
def running(model: Path) -> Iterator[Running]:
    with service(model) as found:
        yield found


def correct(running: Running, label: str, count: int, first: int = 0) -> list[str]:
    """Correct so many different drawings of an L, which no digit looks like, over HTTP."""
    ids = []
    for number in range(first, first + count):
        shift = number % 40
        strokes = [[[60 + shift, 20], [60 + shift, 150 + number // 40], [140, 150 + number // 40]]]
        body = {"label": label, "strokes": strokes, "width": 200, "height": 200}
        done = running.post("/v1/corrections", json={"label": label, "strokes": {
            "strokes": strokes, "width": body["width"], "height": body["height"],
        }})  # fmt: skip
        assert done.status_code == 201, done.text
        ids.append(done.json()["id"])
    return ids


def served_sha256(running: Running) -> str:
    return str(running.get("/v1/models").json()["models"][0]["sha256"])


def test_a_bundled_model_is_retrained_as_a_file(
    tmp_path: Path, penstroke: Callable[..., Outcome], quick: tuple[object, ...]
) -> None:
    refused = penstroke("retrain", "digits")
    assert "`penstroke export digits --output served/model.onnx`" in refused.err
    path = tmp_path / "served" / "model.onnx"
    assert penstroke("export", "--output", path).exit_code == 0
    before = sha256_of_file(path)
    with service(path) as found:
        correct(found, "7", 60)
    assert "--dataset" in penstroke("retrain", path, "--no-report").err, (
        "its own images are not here"
    )
    done = json.loads(penstroke("retrain", path, *quick, "--dataset", "digits", "--json").out)
    assert done["action"] in ("replaced", "kept")
    assert done["judgement"]["images"] == 72  # a twentieth, as of its own data
    assert find_run(done["run"]).record.pretrained.run == "digits"  # type: ignore[union-attr]
    assert (sha256_of_file(path) != before) == (done["action"] == "replaced")


def test_two_nights(
    running: Running,
    model: Path,
    data: Path,
    penstroke: Callable[..., Outcome],
    quick: tuple[object, ...],
) -> None:
    def retrain(code: int = 0) -> dict[str, Any]:
        done = penstroke("retrain", model, *quick, "--json")
        assert done.exit_code == code, done.err
        return dict(json.loads(done.out))

    assert retrain()["reason"] == "there are no corrections to train on yet"
    ids = correct(running, "7", 60)
    unknown = correct(running, "☺", 3)
    assert len(list((data / "collected").iterdir())) == 63
    listed = running.get("/v1/corrections", params={"limit": 4}).json()
    assert listed["by_label"] == {"7": 60, "☺": 3}
    assert [one["id"] for one in listed["corrections"]] == [*unknown[::-1], ids[-1]]
    assert running.delete(f"/v1/corrections/{ids[-1]}").status_code == 204

    before = sha256_of_file(model)
    first = retrain()
    assert (first["action"], first["left_out"]) == ("replaced", {"☺": 3})
    assert first["judgement"]["images"] == 144, "the validation images of digits"
    judged = first["judgement"]
    assert judged["corrections_right"] > judged["corrections_right_served"]
    assert sha256_of_file(Path(first["previous"])) == before
    assert sha256_of_file(model) == first["sha256"] != before
    wait_until(lambda: served_sha256(running) == first["sha256"])
    answer = running.post("/v1/recognize", json={
        "strokes": [[[65, 20], [65, 151], [140, 151]]], "width": 200, "height": 200,
    }).json()  # fmt: skip
    assert max(answer["probabilities"], key=answer["probabilities"].get) == "7"
    assert "was trained on all of digits+collected" in retrain()["reason"]

    correct(running, "7", 20, first=60)
    second = retrain()
    assert second["action"] == "replaced"
    assert second["run"] != first["run"]
    wait_until(lambda: served_sha256(running) == second["sha256"])

    # Somebody goes back: the same model is not put in place again.
    Path(second["previous"]).replace(model)
    assert "was in use before" in retrain()["reason"]
    assert sha256_of_file(model) == first["sha256"]


def test_the_page_about_it(
    running: Running,
    model: Path,
    penstroke: Callable[..., Outcome],
    quick: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its commands, in their order, end as it says."""
    monkeypatch.chdir(model.parent.parent)
    ids, before = correct(running, "7", 40), model.read_bytes()
    text = (ROOT / "docs/howto/nightly-retraining.md").read_text()
    for language, content in fences(text):
        for step in steps_of(language, content) if language == "console" else ():
            name, *words = shlex.split(step.text.replace("ID", ids[0]))
            if name == "mv":
                assert Path(words[1]).read_bytes() != before
                Path(words[0]).replace(words[1])
            elif words[0] != "serve":
                done = penstroke(*words, *(quick if words[0] == "retrain" else ()))
                assert done.exit_code == 0, done.err
    assert model.read_bytes() == before
    assert len(running.get("/v1/corrections").json()["corrections"]) == 39


def test_a_worse_model_is_not_put_in_place(
    running: Running, model: Path, penstroke: Callable[..., Outcome], quick: tuple[object, ...]
) -> None:
    correct(running, "7", 20)
    before = model.read_bytes()
    spoilt = (*quick, "--set", "train.learning_rate=3.0", "--set", "train.optimizer=sgd")
    done = penstroke("retrain", model, *spoilt)
    assert done.exit_code == 3, done.err
    assert "is not shown to be as good" in done.out
    assert model.read_bytes() == before
    log = (model.parent / "model.retrained.jsonl").read_text().splitlines()
    assert [json.loads(line)["action"] for line in log] == ["kept"]
    assert json.loads(penstroke("retrain", model, *spoilt, "--json").out)["action"] == "kept"


@pytest.mark.parametrize("name", ["model.previous.onnx", "model.onnx", "model.retrained.jsonl"])
def test_killed_at_each_write(
    running: Running, model: Path, penstroke: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch, quick: tuple[object, ...], name: str,
) -> None:  # fmt: skip
    """Whatever was written last, the model is one of the two, whole, and the next call ends it."""
    correct(running, "7", 30)
    before = model.read_bytes()
    with monkeypatch.context() as patch:
        for function in ("write_atomically", "append_lines"):
            write = getattr(retraining, function)

            def stop(path: Path, content: Any, write: Callable[..., None] = write) -> None:
                if path.name == name:
                    raise KeyboardInterrupt
                write(path, content)

            patch.setattr(retraining, function, stop)
        assert penstroke("retrain", model, *quick).exit_code == 130
    assert (model.read_bytes() == before) == (name != "model.retrained.jsonl")
    done = json.loads(penstroke("retrain", model, *quick, "--json").out)
    assert done["action"] == ("nothing_new" if name == "model.retrained.jsonl" else "replaced")
    assert sha256_of_file(model) == done["sha256"]
    assert model.read_bytes() != before


def test_what_cannot_be_retrained(
    running: Running, model: Path, penstroke: Callable[..., Outcome], quick: tuple[object, ...]
) -> None:
    def error(*arguments: object) -> tuple[int, str]:
        done = penstroke("retrain", *arguments)
        return done.exit_code, done.err

    first = find_run("first")
    for path in (first.path, first.model_path, model.with_name("absent.onnx")):
        code, text = error(path)
        assert code == 2
        assert "penstroke export" in text
    correct(running, "7", 20)
    code, text = error(model)
    assert (code, "144 validation images cannot show" in text, "--margin 0.019" in text) == (
        2, True, True
    )  # fmt: skip
    assert error(model, "--set", "model.dense.0.units=3")[0] == 2
    with retraining.deployed_model(model):
        assert "being retrained by another process" in error(model, *quick)[1]
    first.remove()
    assert error(model, *quick)[0] == 1


@pytest.mark.parametrize(("b", "c", "n"), [(5, 3, 200), (0, 7, 500), (12, 0, 90), (1, 9, 5000)])
def test_noninferiority_is_the_score_test(b: int, c: int, n: int) -> None:
    """Against a likelihood that is maximised by search."""
    margin = 0.02

    def minus_log_likelihood(lost: float) -> float:
        shares = np.array([lost - margin, lost, 1 - 2 * lost + margin])
        return -float(np.array([b, c, n - b - c]) @ np.log(shares))

    bounds = (margin + 1e-12, (1 + margin) / 2 - 1e-12)
    found = minimize_scalar(minus_log_likelihood, bounds=bounds, options={"xatol": 1e-12})
    lost = found.x
    z = (b - c + n * margin) / np.sqrt(n * (2 * lost - margin - margin**2))
    assert noninferiority_p(b, c, n, margin) == pytest.approx(norm.sf(z), rel=1e-3)


def test_noninferiority_needs_images() -> None:
    assert noninferiority_p(0, 0, 5500, 0.002) < 0.05
    assert noninferiority_p(0, 0, 144, 0.002) > 0.05
    assert noninferiority_p(0, 144, 144, 0.002) == pytest.approx(1)
