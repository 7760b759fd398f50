"""The published projects again: the commands, and the page of what they told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import Outcome as Told
from penstroke.cli.main import app
from penstroke.config.recipes import load_recipe, shipped_recipes
from penstroke.config.toml import parse_assignments
from penstroke.errors import ConfigError, RunError
from penstroke.evaluation.intervals import expected_maximum
from penstroke.reports.reproduction_page import write_reproduction_page
from penstroke.reproduction import (
    PROJECTS,
    Project,
    ProjectResult,
    Reproduction,
    Step,
    find_projects,
    reproduce,
    steps_of,
)

Penstroke = Callable[..., Told]
SMALL = ("--epochs", "1", "--no-report", "--set", "train.min_steps=0", "--set", "train.threads=1")


def training(recipe: str = "fast", *more: str, seeds: int = 1) -> Step:
    command = ("train", recipe, "--dataset", "digits", *SMALL, *more, "--seeds", str(seeds))
    return Step(recipe, command, "digits")


def test_all_are_the_five_projects_each_once() -> None:
    published = find_projects(["all", "r1"])
    assert [project.name for project in published] == ["R0", "R1", "R2", "R3", "R4"]
    assert find_projects(["R4", "presets"]) == [PROJECTS["R4"], PROJECTS["presets"]]
    with pytest.raises(ConfigError, match='no project "R5" .* one of R0'):
        find_projects(["R5"])


def test_every_recipe_that_repeats_a_project_is_part_of_it() -> None:
    """A search that another begins with is run by that one."""
    plan = {name: steps_of(project, Reproduction()) for name, project in PROJECTS.items()}
    recipes = {name: load_recipe(name) for name in shipped_recipes()}
    before = {r.search.after for r in recipes.values() if r.search}
    for name, recipe in recipes.items():
        if recipe.reference and name not in before:
            assert name in [step.recipe for step in plan[recipe.reference]], name


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_its_commands_are_understood(project: Project, quick: bool) -> None:
    """Every option is one that the command has, and every setting one that the recipe has."""
    import typer

    group: Any = typer.main.get_command(app)
    context = group.context_class(group)
    for step in steps_of(project, Reproduction(quick=quick)):
        command = group.get_command(context, step.command[0])
        parsed = command.make_context("penstroke", list(step.command[1:]))
        recipe = load_recipe(
            parsed.params["recipe"], parse_assignments(parsed.params["changes"] or [])
        )
        assert step.dataset == (parsed.params["dataset"] or recipe.data.dataset)


def test_the_page_says_what_was_published_and_what_was_measured(runs: Path, tmp_path: Path) -> None:
    step = Step("one-conv-trial-1", training("one-conv-trial-1", seeds=2).command, "digits")
    search = (
        "tune",
        "rate-sweep",
        "--dataset",
        "digits",
        "--max-epochs",
        "1",
        "--confirm-seeds",
        "0",
    )
    steps = [step, Step("rate-sweep", search, "digits"), Step("fast", ("train", "fast"), "gone")]
    outcomes = reproduce(steps)
    result = ProjectResult(PROJECTS["R4"], outcomes)
    figures = write_reproduction_page(tmp_path / "page.md", [result], Reproduction())["figures"]
    page = (tmp_path / "page.md").read_text()
    accuracies = [
        json.loads((Path(run) / "summary.json").read_text())["test_accuracy"]
        for run in outcomes[0].output["runs"]
    ]
    assert figures[0]["values"] == accuracies
    assert figures[0]["published"] == 0.9627
    assert figures[0]["reached"] == sum(one >= 0.9627 for one in accuracies)
    mean = 100 * sum(accuracies) / 2
    assert f"| `one-conv-trial-1` | digits | test accuracy | 96.27 % | {mean:.2f} ± " in page
    assert f"{100 * outcomes[1].search.best_metric:.2f} %" in page
    diagnoses = {str(run.summary().diagnosis) for run in outcomes[0].runs}
    assert f"| {', '.join(sorted(diagnoses))} |" in page
    # Nobody published a search on these images, so none can reach what was published.
    assert f"| {100 * outcomes[1].search.test['test_accuracy']:.2f} % | – | – |" in page
    assert 'Skipped: `penstroke train fast`: data.dataset: unknown data set "gone"' in page
    assert step.line in page
    for line in page.splitlines():
        if line.startswith("!["):
            plot = (tmp_path / line.partition("(")[2].rstrip(")")).read_text()
            assert plot.startswith("<svg")
            assert "currentColor" not in plot


def test_the_highest_of_many_trials_is_named_beside_what_one_training_gives(
    runs: Path, tmp_path: Path
) -> None:
    """As for R2, whose published accuracy is the highest of about 780 trials."""
    two_epochs = ("--set", "train.epochs=2", "--set", "data.dataset=digits")
    name = "hyperband-cnn-best"
    small = ("--set", "model.convolutions.*.filters=8", "--set", "train.threads=1", "--no-report")
    step = Step(name, ("train", name, *two_epochs, *small, "--seeds", "2"), "digits")
    (outcome,) = reproduce([step])
    result = ProjectResult(PROJECTS["R2"], [outcome])
    write_reproduction_page(tmp_path / "page.md", [result], Reproduction())
    page = (tmp_path / "page.md").read_text().replace("\n", " ")
    last = [run.history()[-1]["val_accuracy"] for run in outcome.runs]
    highest = 100 * expected_maximum(last, 780)
    assert "published is the highest of 780 trials" in page
    assert f"that of 780 such trainings at {highest:.2f} %" in page
    assert highest > 100 * max(last)


def test_what_is_done_is_not_done_again(runs: Path) -> None:
    (first,) = reproduce([training()])
    (second,) = reproduce([training()])
    assert second == first
    assert len([p for p in runs.iterdir() if p.is_dir()]) == 1


def test_a_command_that_fails_is_named_and_what_was_done_is_kept(runs: Path) -> None:
    wrong = training("fast", "--set", "train.learning_rate=1e30", "--set", "train.optimizer=sgd")
    with pytest.raises(RunError, match=r"`penstroke train fast .*1e30.* exit code 1"):
        reproduce([training(), wrong])
    kept = json.loads((runs / "reproduction.json").read_text())
    assert [one["is_finished"] for one in kept.values()] == [True, False]


def test_the_command_lists_what_it_would_run(penstroke: Penstroke) -> None:
    told = json.loads(penstroke("reproduce", "R1", "--dry-run", "--json").out)["commands"]
    assert told["R1"] == [step.line for step in steps_of(PROJECTS["R1"], Reproduction())]
    assert penstroke("reproduce", "R9").exit_code == 2


def test_what_cannot_end_well_is_refused_before_it_begins(
    penstroke: Penstroke, runs: Path, tmp_path: Path
) -> None:
    into = penstroke("reproduce", "R0", "--page", str(tmp_path))
    assert into.exit_code == 1
    assert f"cannot write {tmp_path}: it is a folder" in into.err
    below = penstroke("reproduce", "R0", "--page", "/proc/nowhere/page.md")
    assert below.exit_code == 1
    unknown = penstroke(
        "reproduce", "R2", "--letters", "nonsense", "--page", str(tmp_path / "r.md")
    )
    assert unknown.exit_code == 2
    assert 'unknown data set "nonsense"' in unknown.err
    assert not runs.exists()
    assert not any(tmp_path.glob("*.md"))


@pytest.mark.mnist
def test_a_taste_of_a_project(runs: Path, tmp_path: Path) -> None:
    command = ("reproduce", "R1", "--quick", "--page", str(tmp_path / "r.md"), "--json")
    done = subprocess.run(
        [sys.executable, "-m", "penstroke", *command], capture_output=True, text=True, check=True
    )
    page = (tmp_path / "r.md").read_text()
    assert "**This is a quick check**" in page
    assert "baseline-cnn is better than baseline-mlp" in page
    assert len(json.loads(done.stdout)["figures"]) == 3
