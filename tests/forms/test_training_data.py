"""Corrections become training data, from which `train --init-from` learns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from answered_forms import answered_form
from helpers import Outcome
from penstroke.config.settings import DataConfig
from penstroke.data.loading import load_dataset, load_lines
from penstroke.errors import ConfigError
from penstroke.forms.answers_folder import AnswersFolder
from penstroke.forms.review import Person, Place, Review
from penstroke.forms.training_data import write_training_data

ADA = Person("Ada", "1")
PEOPLE = 8


def test_from_corrections_to_a_network_that_learned_from_them(
    penstroke: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "cache"))
    folder, truth = answered_form(tmp_path, people=PEOPLE)
    with pytest.raises(ConfigError, match="was accepted or corrected by a person yet"):
        write_training_data(AnswersFolder(folder), tmp_path / "none")
    review = Review(folder)
    for page, written in zip(AnswersFolder(folder).pages(), truth, strict=True):
        for field in ("student", "written", "points", "group"):
            review.change(ADA, Place(page.id, field), written[field], revision=0)
    wrong = Place(AnswersFolder(folder).pages()[0].id, "student")
    review.change(ADA, wrong, "12", revision=1, is_confirmed=True)
    done = penstroke("form", "export-training", folder, "-o", tmp_path / "training", "--json")
    assert done.exit_code == 0, done.err
    facts = json.loads(done.out)
    digits = sum(len(one["student"]) + 8 for one in truth) - 4
    assert digits - 3 <= facts["characters"] <= digits, facts["left_out"]
    assert (facts["lines"], facts["writers"]) == (PEOPLE, PEOPLE)
    assert "'12' has 2 characters, but 4 boxes" in facts["left_out"][0]

    for name, table, *options in (("boxes", "characters"), ("lines", "lines", "--lines")):
        done = penstroke("data", "import", name, tmp_path / "training" / f"{table}.csv",
                         "--workers", 1, *options, "--json")  # fmt: skip
        assert done.exit_code == 0, done.err
    lines = load_lines("lines")
    assert len(lines.train) + len(lines.validation) + len(lines.test) == PEOPLE
    boxes = load_dataset(DataConfig(dataset="boxes", validation_fraction=0))
    assert boxes.classes == tuple("0123456789")
    done = penstroke(
        "train", "--init-from", "digits", "--dataset", "boxes", "--epochs", 1, "--no-report",
        "--set", "train.threads=1", "--set", "data.validation_fraction=0",
        "--set", "train.checkpoint_metric=last", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.err
    assert json.loads(done.out)["source"] == "digits"


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    folder, truth = answered_form(tmp_path, people=1)
    review = Review(folder)
    place = Place(AnswersFolder(folder).pages()[0].id, "student")
    review.change(ADA, place, truth[0]["student"], revision=0)
    with pytest.raises(ConfigError, match="not empty"):
        write_training_data(AnswersFolder(folder), tmp_path)
    assert write_training_data(AnswersFolder(folder), tmp_path / "new").characters == 4
    assert write_training_data(AnswersFolder(folder), tmp_path / "new").characters == 4
    (folder / "pages" / f"{place.page}.webp").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="is damaged"):
        write_training_data(AnswersFolder(folder), tmp_path / "new")
