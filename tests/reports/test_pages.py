"""Every page that is written to a file, in a real browser: whole, legible and linked."""

from __future__ import annotations

import sys
from urllib.parse import unquote

import pytest
import tomli_w
from playwright.sync_api import Browser

from browsing import faults, opened
from helpers import made_once, write_scrawls
from penstroke.data.loading import load_dataset
from penstroke.evaluation.ood import synthetic_ood_images
from penstroke.evaluation.robustness import evaluate_robustness
from penstroke.files import runs_root
from penstroke.reports.plots import new_figure, set_accuracy_axis
from penstroke.reports.robustness_report import write_robustness_report
from penstroke.runs.run import Run
from penstroke.runs.trained import load_network
from searching import small_recipe

PAGES = {
    "run": "first/report/index.html",
    "model card": "first/report/model-card.html",
    "robustness": "first/report/robustness.html",
    "fine-tuned run": "tuned/report/index.html",
    "ensemble": "both-ensemble-*/report/index.html",
    "cross-validation": "folds/report/index.html",
    "comparison": "comparisons/*/index.html",
    "search": "search/report/index.html",
    "check": "checks/small/index.html",
    "learning rate": "checks/small-lr/index.html",
    "audit": "audit/index.html",
    "import": "import.html",
}
_LONG = ("WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW", "Ranunculus acris, a buttercup, y", "<i>$x$</i>")


def run_command(*arguments: object) -> None:
    from penstroke.cli.main import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["penstroke", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert not stopped.value.code, arguments


def write_pages() -> None:
    """Write all pages among the runs, by the commands that do so."""
    runs = runs_root()
    recipe, mixed, drawn = runs / "small.toml", runs / ".mixed", runs / ".drawn"
    runs.mkdir(parents=True, exist_ok=True)
    recipe.write_text(tomli_w.dumps(small_recipe().to_dict()))
    write_scrawls(mixed, dict.fromkeys(_LONG, 12))
    write_scrawls(drawn, {"1": 4, "7": 4})
    for name in ("notes.txt", "a.heic", f"{_LONG[0]}/broken.png"):
        (mixed / name).write_text("x")
    epoch = ("--epochs", 2)
    run_command("data", "import", "long", mixed, "--max-unreadable", 0.5, "--workers", 1,
                "--report", runs / "import.html", "--replace")  # fmt: skip
    run_command("train", recipe, "--name", "first", *epoch)
    run_command("train", "finetune", "--name", "tuned", *epoch, "--init-from", "first",
                "--dataset", "long", "--set", "train.batch_size=8")  # fmt: skip
    run_command("train", recipe, "--name", "both", *epoch, "--ensemble", 2)
    run_command("train", "fast", "--name", "folds", *epoch, "--folds", 2)
    run_command("evaluate", "first", "--external", drawn)
    run, images = Run.open(runs / "first"), load_dataset("digits").validation
    strange = synthetic_ood_images(count=20)
    robustness = evaluate_robustness(load_network(run), images, strange)
    write_robustness_report(run, robustness, images, strange)
    run_command("report", "first")  # it has a link to that page now
    run_command("compare", "first", next(runs.glob("both-ensemble-*")).name)
    run_command("tune", recipe, "--name", "search", "--method", "random", "--trials", 9,
                "--max-epochs", 2, "--workers", 1, "--confirm-seeds", 1)  # fmt: skip
    run_command("check", recipe)
    run_command("check", recipe, "--lr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstroke.quality.label_errors._MIN_STEPS", 10)
        run_command("data", "audit", "digits", "--limit", 300, "--folds", 2,
                    "--output", runs / "audit")  # fmt: skip


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_legible_and_linked(browser: Browser, name: str, width: int) -> None:
    (path,) = made_once("pages", write_pages).glob(PAGES[name])
    with opened(browser, path, width, "light") as page:
        assert faults(page) == []
        assert page.locator("header .logo").is_visible()
        links = page.locator("a:not([href^='#'])").evaluate_all(
            "all => all.map((one) => one.getAttribute('href'))"
        )
        assert [link for link in links if not (path.parent / unquote(link)).exists()] == []
        contents = page.locator("nav.contents" if width > 1200 else "details.contents")
        if page.locator("h2").count() > 3:
            assert contents.is_visible()
            assert contents.locator("a").count() == page.locator("main h2").count()


def test_a_page_leads_to_those_beside_it() -> None:
    runs = made_once("pages", write_pages)
    for name, links in (
        ("run", ["model-card.html", "robustness.html"]),
        ("model card", ["index.html"]),
        ("comparison", ["../../first/report/index.html"]),
    ):
        (path,) = runs.glob(PAGES[name])
        assert [f'href="{link}"' in path.read_text() for link in links] == [True] * len(links), name


def test_nothing_is_said_twice() -> None:
    """A sentence of more than a few words stands on a page once."""
    runs = made_once("pages", write_pages)
    for name in ("run", "cross-validation", "comparison"):
        (path,) = runs.glob(PAGES[name])
        for sentence in ("evidence that", "Only <code>train --seeds</code>"):
            assert path.read_text().count(sentence) <= 1, (name, sentence)


@pytest.mark.parametrize(
    "accuracies",
    [(0.1, 0.989, 0.996), (0.5, 0.97, 1.0), (0.989, 0.9891), (1.0,), (0.2, 0.3), (0.0, 0.9999)],
)
def test_an_axis_of_accuracies_tells_small_errors_apart(accuracies: tuple[float, ...]) -> None:
    figure, (axis,) = new_figure(4, 3)
    axis.plot(accuracies)
    set_accuracy_axis(axis, accuracies)
    figure.draw_without_rendering()
    on_screen = axis.transData.transform([(0, accuracy) for accuracy in accuracies])
    heights = axis.transAxes.inverted().transform(on_screen)[:, 1]
    assert all(0 <= height <= 1 for height in heights)
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert 1 <= len(labels) <= 12
    assert len(set(labels)) == len(labels)
    if accuracies == (0.1, 0.989, 0.996):
        assert heights[2] - heights[1] > 0.1
