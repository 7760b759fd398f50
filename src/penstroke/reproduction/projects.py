"""The published projects, each as a list of commands that anybody can type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field

from penstroke.config.recipes import load_recipe, shipped_recipes
from penstroke.config.settings import Settings
from penstroke.errors import ConfigError, near_match


@dataclass(frozen=True)
class Project:
    """A published project and the recipe of its search, if it has one.

    Not published are results that the documentation quotes, which are not part of `all`.
    """

    name: str
    title: str
    is_published: bool = True
    uses_emnist: bool = False
    search: str | None = None


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
    """One command: what follows `penstroke` on the command line, and the data set it needs.

    `name`: the recipe whose published figures it is compared with.
    """

    name: str
    command: tuple[str, ...]
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
    """Return the projects with these names, each once; `all` is every published one.

    Raises:
        ConfigError: there is no such project, with a near match.
    """
    known = [*PROJECTS, "all"]
    projects: list[Project] = []
    for name in names:
        match = next((one for one in known if one.lower() == name.lower()), None)
        if match is None:
            raise ConfigError(
                f'there is no project "{name}"{near_match(name, known)}: one of {", ".join(known)}'
            )
        all_published = [project for project in PROJECTS.values() if project.is_published]
        projects += all_published if match == "all" else [PROJECTS[match]]
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
        # Its own space on three data sets, and ours on MNIST, which reaches in minutes what that
        # one, with networks ten times as large, needs hours for. If quick, only the first.
        name, tune = "hyperband-cnn", ("tune", "hyperband-cnn")
        if options.quick:
            size = ("--max-epochs", "3", "--confirm-seeds", "0", *_FEW_IMAGES)
            return [Step(name, (*tune, *size), "mnist")]
        budget = ("--time-budget", options.budget, "--confirm-seeds", "0")
        return [
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
