"""The published projects, repeated: lists of commands that anybody can type, and their results."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from penstroke.config.recipes import load_recipe, shipped_recipes
from penstroke.config.settings import Settings, read_json
from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError, DataError, RunError, near_match
from penstroke.files import runs_root, write_text_atomically
from penstroke.runs.grouping import compare_runs
from penstroke.runs.run import Run, find_run
from penstroke.search.study import SearchResult, Study


@dataclass(frozen=True)
class Project:
    """A published project."""

    name: str
    title: str
    is_published: bool = True  # otherwise what the documentation quotes, which `all` leaves out
    uses_emnist: bool = False
    search: str | None = None  # the recipe of its search


PROJECTS = {
    project.name: project
    for project in (
        Project("R0", "a small CNN, its learning rate tuned", search="rate-sweep"),
        Project("R1", "a fully connected baseline against a CNN", search="batch-sweep"),
        Project("R2", "Hyperband, digits and letters", uses_emnist=True),
        Project("R3", "the whole workflow: rates, a grid, long training", search="workflow-grid"),
        Project("R4", "six trials by hand, and a window to draw in"),
        Project("presets", "the presets, on MNIST", is_published=False),
        Project("letters", "letters, digits and both, of EMNIST", False, uses_emnist=True),
    )
}
_PRESET_SEEDS = {"fast": 10, "balanced": 5, "best": 3}
"""Fewer seeds where one takes minutes."""
_FEW_IMAGES = ("--set", "data.max_train_images=1000", "--set", "data.validation_fraction=0.02",
               "--no-report")  # fmt: skip
_MNIST_SIZE = ("--set", "data.max_train_images=60000")
"""Of EMNIST: one epoch of all its images may take longer than the whole budget of a search."""
_OUR_BUDGET = ("--time-budget", "15m", "--confirm-seeds", "2")
"""For our own search beside R2's: it has found a better result in nine and in thirteen minutes."""
_QUICK_TRAIN = ("--epochs", "2", "--set", "data.max_train_images=6000", "--no-report")


class Reproduction(Settings):
    """How thoroughly to repeat."""

    seeds: int = Field(3, ge=1, description="training seeds of each recipe")
    quick: bool = Field(False, description="few images, few epochs, one seed")
    budget: str = Field("5m", description="time for each search of R2's own space")
    digits: str = Field("emnist-digits", description="data set of digits for R2 and letters")
    letters: str = Field("emnist-letters", description="data set of letters for R2 and letters")

    @property
    def stand_ins(self) -> list[str]:
        """The data sets that replace EMNIST's official splits, sorted."""
        official = Reproduction()
        return sorted({self.digits, self.letters} - {official.digits, official.letters})


@dataclass(frozen=True)
class Step:
    """One command, and the data set it needs."""

    name: str  # of the recipe whose published figures it is compared with
    command: tuple[str, ...]  # what follows `penstroke` on the command line
    dataset: str

    @property
    def line(self) -> str:
        """The command as it is typed."""
        return " ".join(("penstroke", *self.command))

    @property
    def recipe(self) -> str:
        """The recipe that is run."""
        return self.command[1]

    @property
    def is_search(self) -> bool:
        """Whether it searches for settings, rather than training given ones."""
        return self.command[0] == "tune"


def find_projects(names: Iterable[str]) -> list[Project]:
    """Return the projects with these names, each once; `all` is every published one."""
    known = {name.lower(): [project] for name, project in PROJECTS.items()}
    known["all"] = [project for project in PROJECTS.values() if project.is_published]
    projects: list[Project] = []
    for name in names:
        if name.lower() not in known:
            words = [*PROJECTS, "all"]
            raise ConfigError(
                f'there is no project "{name}"{near_match(name, words)}: one of {", ".join(words)}'
            )
        projects += known[name.lower()]
    return list(dict.fromkeys(projects))


def steps_of(project: Project, options: Reproduction) -> list[Step]:
    """Return the commands that repeat `project`, in order."""
    both = f"{options.digits}+{options.letters}"
    if project.name == "presets":
        return [_training(name, options, "mnist", n) for name, n in _PRESET_SEEDS.items()]
    if project.name == "letters":
        of = {options.letters: "letters", options.digits: "balanced", both: "characters"}
        return [_training(recipe, options, dataset) for dataset, recipe in of.items()]
    if project.name == "R2":
        # Its best settings; its own space on three data sets; and ours on MNIST, which reaches in
        # minutes what that one, with networks ten times as large, needs hours for. If quick, only
        # its own space on MNIST.
        name, tune = "hyperband-cnn", ("tune", "hyperband-cnn")
        if options.quick:
            size = ("--max-epochs", "3", "--confirm-seeds", "0", *_FEW_IMAGES)
            return [Step(name, (*tune, *size), "mnist")]
        budget = ("--time-budget", options.budget, "--confirm-seeds", "0")
        return [
            _training("hyperband-cnn-best", options),
            Step(name, (*tune, "--dataset", "mnist", *budget), "mnist"),
            *(Step(name, (*tune, "--dataset", dataset, *_MNIST_SIZE, *budget), dataset)
              for dataset in (options.digits, both)),
            Step(name, ("tune", "tuned", "--dataset", "mnist", *_OUR_BUDGET), "mnist"),
        ]  # fmt: skip
    recipes = {name: load_recipe(name) for name in shipped_recipes()}
    steps = [
        _training(name, options)
        for name, recipe in recipes.items()
        if recipe.reference == project.name and recipe.search is None
    ]
    # The sweep before R3's grid takes minutes: whole epochs of all images.
    if project.search is not None and not (options.quick and project.name == "R3"):
        quick = ("--max-epochs", "1", "--confirm-seeds", "0", *_FEW_IMAGES)
        command = ("tune", project.search, *(quick if options.quick else ()))
        steps.append(Step(project.search, command, recipes[project.search].data.dataset))
    return steps


def _training(
    recipe: str, options: Reproduction, dataset: str | None = None, seeds: int | None = None
) -> Step:
    given = () if dataset is None else ("--dataset", dataset)
    size = _QUICK_TRAIN if options.quick else ()
    count = 1 if options.quick else seeds or options.seeds
    # --seeds also for one: its output has the same form.
    command = ("train", recipe, *given, *size, "--seeds", str(count))
    return Step(recipe, command, dataset or load_recipe(recipe).data.dataset)


@dataclass(frozen=True)
class StepResult:
    """The result of a step."""

    step: Step
    output: dict[str, Any]  # what it printed with --json
    wall_seconds: float  # from start to end, of all calls that did not find it finished already
    skipped: str = ""  # the reason

    @property
    def runs(self) -> list[Run]:
        """The finished runs of a training, by seed; of a search that of the best settings."""
        return [find_run(name) for name in self.output.get("runs", [self.output.get("run")])]

    @property
    def search(self) -> SearchResult:
        """The result of a search."""
        result = {name: value for name, value in self.output.items() if name != "trial_runs"}
        return SearchResult.parse(result)

    def open_study(self) -> Study:
        """Return the study of a search."""
        return Study.open(Path(self.search.study))


@dataclass(frozen=True)
class ProjectResult:
    """The results of a project, in the order of its steps."""

    project: Project
    steps: list[StepResult]

    def claims(self) -> list[str]:
        """Return what can be claimed of R1's CNN against its baseline; empty for other projects."""
        if self.project.name != "R1":
            return []
        runs = {one.step.name: one.runs for one in self.steps if not one.skipped}
        both = runs.get("baseline-mlp", []) + runs.get("baseline-cnn", [])
        try:
            return compare_runs(both).claim_texts
        except RunError as error:
            return [f"They could not be compared: {error}"]


def reproduce(
    steps: Iterable[Step], on_step: Callable[[Step], object] = lambda _: None
) -> list[StepResult]:
    """Run all steps and return their results; `on_step` is called before each.

    Finished steps answer at once, and interrupted ones resume: the commands themselves do that. A
    step whose data set is missing is skipped. RunError names a command that failed; Ctrl-C in a
    command is raised here as KeyboardInterrupt. Earlier results are kept.
    """
    # Wall seconds by command, kept beside the runs: a second call finds all of them finished.
    path = runs_root() / "reproduction.json"
    times: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(OSError, RunError):  # damaged: measured again
        times = read_json(dict[str, dict[str, Any]], path)
    missing: dict[str, str] = {}  # why a data set cannot be opened; several steps have the same
    results = []
    for step in steps:
        on_step(step)
        if step.dataset not in missing:
            try:
                load_dataset(step.dataset)
                missing[step.dataset] = ""
            except (ConfigError, DataError) as error:
                missing[step.dataset] = str(error)
        if reason := missing[step.dataset]:
            results.append(StepResult(step, {}, 0.0, reason))
            continue
        time_of = times.setdefault(step.line, {"wall_seconds": 0.0, "is_finished": False})
        was_finished, start = time_of["is_finished"], time.monotonic()
        try:
            output = _run(step)
            time_of["is_finished"] = True
        finally:
            if not was_finished:
                time_of["wall_seconds"] += time.monotonic() - start
                write_text_atomically(path, json.dumps(times, indent=1) + "\n")
        results.append(StepResult(step, output, float(time_of["wall_seconds"])))
    return results


def _run(step: Step) -> dict[str, Any]:
    command = [sys.executable, "-m", "penstroke", *step.command, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == 130:  # Ctrl-C
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise RunError(
            f"`{step.line}` failed with exit code {done.returncode}, for the reason above; "
            "earlier results are kept: the same command resumes"
        )
    return dict(json.loads(done.stdout))
