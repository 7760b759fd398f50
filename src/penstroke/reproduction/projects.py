"""What repeats a project: commands that anybody can type, and what each is there for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import Field

from penstroke.config.recipes import load_recipe, shipped_recipes
from penstroke.config.settings import Settings
from penstroke.errors import ConfigError, near_match

PROJECTS = {
    "R0": "a small CNN, its learning rate tuned",
    "R1": "a fully connected baseline against a CNN",
    "R2": "Hyperband, digits and letters",
    "R3": "the full workflow: rates, a grid, a longer training",
    "R4": "six trials by hand, and a window to draw in",
}
EXTRAS = {
    "presets": "the presets, on MNIST",
    "letters": "letters, digits and both, of EMNIST",
}
"""No project of somebody's, but figures that the documentation quotes; not part of `all`."""

WITH_EMNIST = {"R2", "letters"}
_SEARCHES = {"R0": "rate-sweep", "R1": "batch-sweep", "R3": "workflow-grid"}
_PRESETS = {"fast": 10, "balanced": 5, "best": 3}
"""Seeds of each preset: fewer where one takes minutes."""
_FEW = (
    "--set",
    "data.max_train_images=1000",
    "--set",
    "data.validation_fraction=0.02",
    "--no-report",
)
_AS_MANY_AS_MNIST = ("--set", "data.max_train_images=60000")
"""Of EMNIST: one epoch of all its images may take longer than a search's whole budget."""
_OURS = ("--time-budget", "15m", "--confirm-seeds", "2")
"""For our own search beside R2's: it has found better than that in nine minutes and in thirteen."""
_QUICK_TRAIN = ("--epochs", "2", "--set", "data.max_train_images=6000", "--no-report")
_QUICK_TUNE = ("--max-epochs", "1", "--confirm-seeds", "0", *_FEW)


class Reproduction(Settings):
    """How thoroughly to repeat."""

    seeds: int = Field(3, ge=1, description="training seeds of each recipe")
    quick: bool = Field(False, description="few images, few epochs, one seed: a taste")
    budget: str = Field("5m", description="time for each search of R2's own space")
    digits: str = Field("emnist-digits", description="data set of digits for R2 and letters")
    letters: str = Field("emnist-letters", description="data set of letters for R2 and letters")

    @property
    def stand_ins(self) -> list[str]:
        """Data sets that were named to stand for EMNIST's official splits, sorted."""
        official = Reproduction()
        return sorted({self.digits, self.letters} - {official.digits, official.letters})


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: the recipe whose published figures it is held to.
        command: what follows `penstroke` on the command line.
        dataset: that it needs.
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
        """What is run."""
        return self.command[1]

    @property
    def is_search(self) -> bool:
        """Whether it looks for settings, rather than training given ones."""
        return self.command[0] == "tune"


def steps_of(part: str, how: Reproduction) -> list[Step]:
    """Return the commands that repeat `part`, one of PROJECTS or EXTRAS, in their order."""
    return _PARTS.get(part, _published)(part, how)


def parts_named(names: Iterable[str]) -> list[str]:
    """Return the parts that `names` stand for, each once; `all` is every project.

    Raises:
        ConfigError: there is no such part, with a near match.
    """
    known = [*PROJECTS, *EXTRAS, "all"]
    found: list[str] = []
    for name in names:
        match = next((one for one in known if one.lower() == name.lower()), None)
        if match is None:
            raise ConfigError(
                f'there is no project "{name}" to repeat{near_match(name, known)}: '
                f"one of {', '.join(known)}"
            )
        found += PROJECTS if match == "all" else [match]
    return list(dict.fromkeys(found))


def recipes_of(project: str) -> list[str]:
    """Return the shipped recipes that repeat `project` without a search, sorted."""
    recipes = {name: load_recipe(name) for name in shipped_recipes()}
    return [n for n, r in recipes.items() if r.reference == project and r.search is None]


def _published(project: str, how: Reproduction) -> list[Step]:
    steps = [_training(name, how) for name in recipes_of(project)]
    search = _SEARCHES.get(project)
    if search is not None and not (how.quick and project == "R3"):
        # R3's sweep comes before its grid, whole epochs of all images: minutes, no taste.
        steps.append(_search(search, how))
    return steps


def _hyperband(_: str, how: Reproduction) -> list[Step]:
    """R2's own space on its three data sets, and ours on MNIST; as a taste the first alone.

    Ours reaches in minutes what the published space, with networks ten times as large, needs hours
    for.
    """
    if how.quick:
        size = ("--max-epochs", "3", "--confirm-seeds", "0", *_FEW)
        return [Step("hyperband-cnn", ("tune", "hyperband-cnn", *size), "mnist")]
    own = ("--time-budget", how.budget, "--confirm-seeds", "0")
    found = [Step("hyperband-cnn", ("tune", "hyperband-cnn", "--dataset", "mnist", *own), "mnist")]
    for name in (how.digits, f"{how.digits}+{how.letters}"):
        command = ("tune", "hyperband-cnn", "--dataset", name, *_AS_MANY_AS_MNIST, *own)
        found.append(Step("hyperband-cnn", command, name))
    ours = ("tune", "tuned", "--dataset", "mnist", *_OURS)
    return [*found, Step("hyperband-cnn", ours, "mnist")]


def _presets(_: str, how: Reproduction) -> list[Step]:
    return [_training(name, how, "mnist", count) for name, count in _PRESETS.items()]


def _letters(_: str, how: Reproduction) -> list[Step]:
    both = f"{how.digits}+{how.letters}"
    recipes = {how.letters: "letters", how.digits: "balanced", both: "characters"}
    return [_training(recipe, how, name) for name, recipe in recipes.items()]


def _training(
    recipe: str, how: Reproduction, dataset: str | None = None, seeds: int | None = None
) -> Step:
    given = () if dataset is None else ("--dataset", dataset)
    size = _QUICK_TRAIN if how.quick else ()
    count = 1 if how.quick else seeds or how.seeds
    # One seed as a spread too: its figures come in the same shape.
    command = ("train", recipe, *given, *size, "--seeds", str(count))
    return Step(recipe, command, dataset or load_recipe(recipe).data.dataset)


def _search(recipe: str, how: Reproduction) -> Step:
    size = _QUICK_TUNE if how.quick else ()
    return Step(recipe, ("tune", recipe, *size), load_recipe(recipe).data.dataset)


_PARTS: dict[str, Callable[[str, Reproduction], list[Step]]] = {
    "R2": _hyperband,
    "presets": _presets,
    "letters": _letters,
}
