"""The bundled models: listed, shown, and used where no model is named."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import Outcome, drawn_digit
from penstroke import Recognizer
from penstroke.errors import ModelFileError
from penstroke.inference import bundled
from penstroke.runs.finetuning import find_pretrained
from penstroke.runs.run import find_run

Cli = Callable[..., Outcome]


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    Image.fromarray(drawn_digit()).save(tmp_path / "seven.png")
    return tmp_path / "seven.png"


def test_they_are_listed_and_small(penstroke: Cli) -> None:
    listed = json.loads(penstroke("models", "list", "--json").out)["models"]
    digits = next(one for one in listed if one["name"] == "digits")
    assert digits["classes"] == list("0123456789")
    assert digits["test_accuracy"] > 0.99
    assert all(0 < one["size_bytes"] < 1_000_000 for one in listed)
    assert "digits" in penstroke("models", "list").out


def test_a_card_is_shown(penstroke: Cli) -> None:
    assert penstroke("models", "show", "digits").out.startswith("# digits")
    shown = json.loads(penstroke("models", "show", "digits", "--json").out)
    assert shown["record"]["config"]["data"]["dataset"].startswith("mnist")
    unknown = penstroke("models", "show", "digit")
    assert unknown.exit_code == 1
    assert 'there is no bundled model "digit" (did you mean "digits"?)' in unknown.err


def test_a_digit_is_read_without_training(penstroke: Cli, seven: Path) -> None:
    done = json.loads(penstroke("predict", seven, "--json").out)
    assert (done["model"], done["answers"][0]["label"]) == ("digits", "7")
    assert Recognizer.load("digits").recognize(seven).label == "7"


def test_it_is_a_run(penstroke: Cli, seven: Path, runs: Path) -> None:
    assert find_run("digits").path == bundled.BUNDLED / "digits"
    assert find_pretrained("digits").classes == tuple("0123456789")
    taken = penstroke("train", "fast", "--name", "digits")
    assert (taken.exit_code, "name of a bundled model" in taken.err) == (2, True)
    shipped = set(bundled.BUNDLED.rglob("*"))
    with zipfile.ZipFile(seven.with_suffix(".zip"), "w") as archive:
        archive.write(seven, "7/seven.png")
    assert penstroke("evaluate", "digits", "--external", seven.with_suffix(".zip")).exit_code == 0
    assert (runs / "digits/external").is_dir()
    assert set(bundled.BUNDLED.rglob("*")) == shipped
    unknown = penstroke("predict", "x.png", "--model", "nothing").err
    assert re.search(r"bundled models: .*digits.*; runs: digits", unknown)


def test_all_that_lie_there_are_listed_and_served(
    penstroke: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("letters", "digits", "characters"):
        shutil.copytree(bundled.BUNDLED / "digits", tmp_path / name)
    monkeypatch.setattr(bundled, "BUNDLED", tmp_path)
    listed = json.loads(penstroke("models", "list", "--json").out)["models"]
    assert [Path(one["path"]).name for one in listed] == ["digits", "characters", "letters"]
    served: list[str] = []
    monkeypatch.setattr("penstroke.serve.server.serve", lambda models, *_: served.extend(models))
    assert penstroke("serve").exit_code == 0
    assert served == ["digits", "characters", "letters"], "the first is the default"


@pytest.mark.mnist
def test_onnx_and_weights_agree() -> None:
    """The file is stored in 16 bits, the weights to train on in 32."""
    from penstroke import load_dataset
    from penstroke.evaluation.predictions import predict
    from penstroke.runs.trained import load_network

    images = load_dataset("mnist").validation.subset(np.arange(200))
    logits = predict(load_network(find_run("digits")), images).logits
    assert np.abs(Recognizer.load("digits").logits(images.images) - logits).max() < 0.1


def test_a_damaged_one_says_how_to_mend_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    penstroke: Cli,
    seven: Path,
) -> None:
    shutil.copytree(bundled.BUNDLED / "digits", tmp_path / "digits")
    monkeypatch.setattr(bundled, "BUNDLED", tmp_path)
    content = bytearray((tmp_path / "digits/model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "digits/model.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match="--force-reinstall penstroke"):
        Recognizer.load("digits")
    for words in (("predict", seven), ("serve",)):
        assert "--force-reinstall penstroke" in penstroke(*words).err
