from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import SMALL_CNN, Outcome
from penstroke.data.sources.listing import LabelledImage, read_labelled_images
from penstroke.errors import DataError, ImageError, RunError
from penstroke.evaluation.calibration import compare_with_accuracy
from penstroke.evaluation.external import (
    ExternalEvaluation,
    evaluate_external,
    load_external_evaluations,
)
from penstroke.evaluation.intervals import wilson
from penstroke.inference.recognizer import Recognizer, model_metadata
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_onnx
from penstroke.preprocessing.ink import DEFAULT_INK
from penstroke.reports.model_card import write_card
from penstroke.runs.run import Run

Cli = Callable[..., Outcome]


def png(seed: int) -> bytes:
    """A scrawl of five strokes: no two seeds alike."""
    from PIL import ImageDraw

    points = np.random.default_rng(seed).integers(10, 90, (6, 2))
    image = Image.new("L", (100, 100), 240)
    ImageDraw.Draw(image).line([tuple(map(int, p)) for p in points], 20, 7)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    network = build_network(SMALL_CNN, num_classes=3, mean=0.1, std=0.3, seed=4)
    found = Recognizer.from_bytes(export_onnx(network, model_metadata("012", DEFAULT_INK)))
    found.confidence_threshold = 0.36
    return found


SAMPLES = [
    LabelledImage(label, png(10 * index + number), f"{label}/{number}")
    for index, label in enumerate("012xyO")
    for number in range(9)
]


def test_every_figure_is_what_the_answers_say(recognizer: Recognizer) -> None:
    found = evaluate_external(recognizer, SAMPLES, "here", ignored="O")
    answers = [(s.label, recognizer.recognize(s.content)) for s in SAMPLES if s.label != "O"]
    known = [(label, answer) for label, answer in answers if label in "012"]
    right = sum(answer.label == label for label, answer in known)
    assert (found.images, found.ood_images, found.ignored) == (27, 18, ("O",))
    assert found.accuracy == right / 27
    assert found.interval == wilson(right, 27)
    assert found.forced_accuracy == sum(a.top(1)[0][0] == label for label, a in known) / 27
    for one in found.classes:
        of_class = [answer for label, answer in known if label == one.label]
        assert one.rejected == sum(answer.status == "rejected" for answer in of_class)
        assert one.right + one.rejected + one.wrong == one.images == 9
        assert sum(count for _, count in one.read_as) == one.wrong
    assert 0 < sum(one.rejected for one in found.classes) < 27
    characters = [answer.probability for _, answer in known]
    others = [answer.probability for label, answer in answers if label in "xy"]
    pairs = [(a > b) + 0.5 * (a == b) for a in characters for b in others]
    assert found.auroc == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found.points[0].accepted == np.mean(np.array(characters) >= 0.5)
    answers_given = sum(answer.status == "ok" for _, answer in known)
    assert (found.answered, found.precision) == (answers_given, right / answers_given)
    likeliest = np.array([label == answer.top(1)[0][0] for label, answer in known])
    error = compare_with_accuracy(np.array(characters), likeliest).ece
    assert found.calibration_error == pytest.approx(error, abs=1e-12)


def test_without_ood_images_there_is_no_auroc(recognizer: Recognizer) -> None:
    found = evaluate_external(recognizer, SAMPLES[:27], "here")
    assert found.auroc is None
    assert found.points[0].ood_accepted is None


def test_figures_by_writer(recognizer: Recognizer) -> None:
    """Of characters that the model knows; those without a writer count in the others alone."""
    writers = ["Ada", "Bo", "Cy", ""]
    samples = [s._replace(writer=writers[k % 4]) for k, s in enumerate(SAMPLES)]
    found = evaluate_external(recognizer, samples, "here", ignored="O")
    assert found.writers is not None
    assert (found.images, found.writers.images) == (27, 21)
    assert {(w.writer, w.images) for w in found.writers.writers} == {
        ("Ada", 7), ("Bo", 7), ("Cy", 7),
    }  # fmt: skip
    right = [recognizer.recognize(s.content).label == s.label for s in samples[:27:4]]
    (ada,) = (w for w in found.writers.writers if w.writer == "Ada")
    assert ada.right == sum(right)
    low, high = found.writers.new_writer_interval
    assert low <= found.writers.accuracy <= high
    assert evaluate_external(recognizer, SAMPLES, "here").writers is None


def test_progress_is_told(recognizer: Recognizer) -> None:
    told: list[int] = []
    evaluate_external(recognizer, SAMPLES * 9, "here", progress=told.append)
    assert sum(told) == len(SAMPLES) * 9
    assert len(told) > 1


def test_what_cannot_be_judged(recognizer: Recognizer) -> None:
    with pytest.raises(
        DataError, match=r"none of the classes of the model \(0, 1, 2\), but O, x, y"
    ):
        evaluate_external(recognizer, SAMPLES[27:], "here")
    with pytest.raises(ImageError, match=r"folder/bad\.png: .*not an image"):
        evaluate_external(recognizer, [LabelledImage("0", b"text", "folder/bad.png")], "here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "their hands"
    for sample in SAMPLES:
        path = root / f"class_{sample.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(sample.content, bytes)
        path.write_bytes(sample.content)
    (root / "readme.txt").write_text("not an image")
    (root / "loose.png").write_bytes(png(1))
    return root


def test_a_folder_and_a_zip_of_it_hold_the_same(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"somewhere/{file.relative_to(folder)}")
    from_folder = sorted((s.label, s.content) for s in read_labelled_images(folder))
    from_zip = sorted((s.label, s.content) for s in read_labelled_images(tmp_path / "all.zip"))
    assert from_folder == sorted((s.label, s.content) for s in SAMPLES)
    # In the zip the loose image lies in a folder, "somewhere".
    assert [s for s in from_zip if s[0] != "somewhere"] == from_folder


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    for path, said in (
        (tmp_path / "text.zip", "is not a zip file"),
        (tmp_path, "holds no images"),
        (tmp_path / "nothing", "no folder or file"),
    ):
        with pytest.raises(DataError, match=said):
            read_labelled_images(path)


@pytest.fixture
def quick(penstroke_once: Callable[..., Path]) -> Run:
    """The fast network on `digits`, trained as briefly as may be."""
    runs = penstroke_once("train", "fast", "--epochs", 1, "--name", "quick", "--no-report")
    return Run.open(runs / "quick")


def test_external_evaluation_and_the_card(penstroke: Cli, folder: Path, quick: Run) -> None:
    run = quick
    assert "Not evaluated" in write_card(run)
    openings = (run.path / "test_openings.jsonl").read_text()
    strict = penstroke("evaluate", "quick", "--external", folder, "--confidence-threshold", 1,
                       "--json")  # fmt: skip
    assert json.loads(strict.out)["external"][0]["answered"] == 0
    assert not (run.path / "external").exists(), "the card is of the model's own threshold"
    for options in (
        ["--external", folder, "--precision", 0.9, "--confidence-threshold", 1],
        ["--precision", 0.9],
    ):
        assert penstroke("evaluate", "quick", *options).exit_code == 2
    assert (
        "was not shown"
        in penstroke("evaluate", "quick", "--external", folder, "--precision", 0.9999).err
    )
    done = penstroke("evaluate", "quick", "--external", folder, "--except", "O")
    assert done.exit_code == 0, done.err
    assert "27 images, accuracy" in done.out
    assert (run.path / "test_openings.jsonl").read_text() == openings
    told = json.loads(penstroke("evaluate", "quick", "--external", folder, "--json").out)
    assert told["external"][0]["ood_images"] == 27
    (kept,) = load_external_evaluations(run.path / "external", ExternalEvaluation)
    assert json.loads(json.dumps(kept.to_dict())) == told["external"][0]
    left_out = [file["name"] for file in told["external"][0]["left_out"]]
    assert left_out == ["readme.txt", "loose.png"]
    assert "left out: 2\n  readme.txt: is not read" in done.out
    card = penstroke("runs", "show", "quick", "--card").out
    for said in ("# quick", "their hands", "images of `digits`", "accuracy, test", "AUROC"):
        assert said in card
    assert "| 27 |" in card
    assert "2 files were left out, for example readme.txt" in card
    flat = folder.parent / "flat"
    flat.mkdir()
    (flat / "3-first.png").write_bytes(png(1))
    refused = penstroke("evaluate", "quick", "--external", flat).err
    assert "--pattern reads labels from the names of files (an option of `penstroke data" in refused


def test_writers_of_external_images_by_folder(
    penstroke: Cli, folder: Path, quick: Run, tmp_path: Path
) -> None:
    for writer in ("Ada", "Bo"):
        shutil.copytree(folder, tmp_path / "people" / writer)
    words = ("evaluate", "quick", "--external", tmp_path / "people", "--except", "O")
    done = penstroke(*words, "--writer-folders")
    assert done.exit_code == 0, done.err
    assert "2 writers; accuracy on new writers, 95 % interval: " in done.out
    assert "2 writers: accuracy on new writers " in write_card(quick)
    refused = penstroke("evaluate", "quick", "--external", folder, "--writer-folders").err
    assert refused.endswith("has a writer by it\n")


def test_names_from_outside_cannot_leave_the_run_or_the_table(
    recognizer: Recognizer, quick: Run
) -> None:
    run = quick
    evaluate_external(recognizer, SAMPLES, "../../a | <b>.zip").save(run.path / "external")
    assert [path.name for path in (run.path / "external").iterdir()] == ["a-b-.zip.json"]
    assert "../../a \\| \\<b\\>.zip" in write_card(run)


def test_an_unfinished_run_has_no_card(quick: Run) -> None:
    (quick.path / "summary.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        write_card(quick)


def test_a_model_of_both_cases_is_asked_for_both() -> None:
    network = build_network(SMALL_CNN, num_classes=2, mean=0.1, std=0.3, seed=4)
    file = export_onnx(network, model_metadata(("Aa", "Bb"), DEFAULT_INK))
    samples = [LabelledImage(label, png(k), label) for k, label in enumerate("AaBbc")]
    found = evaluate_external(Recognizer.from_bytes(file), samples, "here")
    assert [one.images for one in found.classes] == [2, 2]
    assert found.ood_images == 1
