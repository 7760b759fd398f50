"""Labelled images of lines from elsewhere, read by the model file of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from helpers import Outcome
from line_models import line_model
from line_runs import line_evaluation, lines_read_as, made_line_run
from penstroke.data.sources.listing import LabelledImage
from penstroke.errors import DataError, ImageError
from penstroke.evaluation.external import load_external_evaluations
from penstroke.evaluation.line_external import ExternalLineEvaluation, evaluate_external_lines
from penstroke.inference.line_reader import LineReader
from penstroke.runs.trained import line_model_file

TEXTS = ("12,50", "100", "7", "2026", "-", "4 €")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of images of lines, with their texts and writers in labels.csv."""
    folder = tmp_path / "their cells"
    folder.mkdir()
    rows = ["file,text,writer"]
    for number, text in enumerate(TEXTS):
        image = Image.new("L", (40 + 20 * len(text), 44), 235)
        ImageDraw.Draw(image).text((8, 8), text.replace("€", "E"), 30, font_size=26)
        image.save(folder / f"{number}.png")
        rows.append(f'{number}.png,"{text}",{"Ada" if number % 2 else "Bo"}')
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def samples(folder: Path) -> list[LabelledImage]:
    return [
        LabelledImage(text, (folder / f"{number}.png").read_bytes(), f"{number}.png")
        for number, text in enumerate(TEXTS)
    ]


def test_every_figure_is_what_the_reader_says(source: Path) -> None:
    reader = LineReader.from_bytes(line_model(seed=3))
    readings = [reader.read(sample.content) for sample in samples(source)]
    answered = [reading.status == "ok" for reading in readings]
    progress: list[int] = []
    found = evaluate_external_lines(reader, samples(source), "here", progress=progress.append)
    right = [reading.text == text for reading, text in zip(readings, TEXTS, strict=True)]
    assert (found.metrics.lines, found.metrics.characters) == (6, 17)
    assert found.metrics.exact.value == np.mean(right)
    assert found.answered == sum(answered)
    assert found.answered_right == sum(np.array(right) & answered)
    assert found.unknown_characters == " €"
    assert sum(progress) == 6


def test_what_cannot_be_read_is_named(source: Path) -> None:
    reader = LineReader.from_bytes(line_model())
    with pytest.raises(ImageError, match=r"bad\.png: .*not an image"):
        evaluate_external_lines(reader, [LabelledImage("1", b"text", "bad.png")], "here")
    with pytest.raises(DataError, match="here holds no lines with their texts"):
        evaluate_external_lines(reader, [], "here")


def test_the_command_keeps_it_for_the_model_card(
    penstroke: Callable[..., Outcome], source: Path
) -> None:
    test = lines_read_as([("1", "1")])
    run = made_line_run("numbers-1", test)
    run.model_path.write_bytes(line_model_file(run, line_evaluation(test=test)))
    done = penstroke("evaluate", "numbers-1", "--external", source)
    assert done.exit_code == 0, done.err
    assert "intervals are over 2 writers" in done.out
    assert "characters that the model does not have: - €" in done.out
    (kept,) = load_external_evaluations(run.path / "external", ExternalLineEvaluation)
    assert (kept.source, kept.metrics.lines, kept.metrics.writers) == ("their cells", 6, 2)
    printed = json.loads(penstroke("evaluate", "numbers-1", "--external", source, "--json").out)
    assert printed["external"][0]["metrics"]["cer"]["value"] == kept.metrics.cer.value
    assert not (run.path / "test_openings.jsonl").exists()
    for option in ("--corruptions", "--except=O"):
        refused = penstroke("evaluate", "numbers-1", "--external", source, option)
        assert refused.exit_code == 2
        assert "is for single characters; numbers-1 reads lines" in refused.err
