"""What messages recommend exists: commands, their options, settings and variables.

The messages are read from the source, so that a new one is checked too. Options that are named
alone have to be options of each command that can print the message: see `PRINTED_BY`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import penstroke as package
from helpers import Outcome, write_scrawls
from penstroke.cli.main import app
from penstroke.config.recipes import load_recipe
from penstroke.config.toml import flatten

SOURCE = Path(package.__file__).parent
PRINTED_BY = {
    "workers.py": "data import, tune", "runs/retraining.py": "retrain",
    "cli/main.py": "data import, tune, serve", "cli/audit.py": "data audit",
    "cli/data_import.py": "data import", "cli/data.py": "data list",
    "cli/self_test.py": "doctor", "cli/runs.py": "runs table",
    "cli/image_arguments.py": "predict, read",
    "config/recipes.py": "train, tune, check", "config/settings.py": "train, tune, check",
    "config/toml.py": "train, tune, check", "data/catalogue.py": "data import",
    "data/download.py": "data download",
    "data/idx.py": "data import",
    "data/image_import.py": "data import", "data/shards.py": "data import",
    "data/sources/": "data import", "evaluation/ood.py": "evaluate",
    "forms/sheets.py": "data import", "forms/": "form", "quality/label_errors.py": "data audit",
    "runs/grouping.py": "runs table",
    "runs/cross_validation.py": "train", "runs/finetuning.py": "train",
    "runs/pipeline.py": "train", "runs/record.py": "train, tune", "runs/run.py": "train",
    "search/": "tune", "serve/offline_export.py": "export", "serve/": "serve",
}  # fmt: skip
"""The commands that print the messages of a module; of cli/NAME.py, else, the command NAME."""
NAMED_ELSEWHERE = {
    ("cli/audit.py", "--exclude"), ("cli/evaluate.py", "--card"),
    ("cli/image_arguments.py", "--confidence-threshold"),
    ("runs/grouping.py", "--overwrite"),
}  # fmt: skip
"""Options in sentences that name another command: `train`, `runs show`; or for `predict` alone."""
FOREIGN = re.compile(r"(ray start|npm|python -m|pip install|git) [^`]*")
COMMAND = re.compile(
    r"(?:penstroke |… |`)((?:data|check|train|tune|evaluate|compare|report|predict|read|serve"
    r"|export|runs|reproduce|doctor|corrections|retrain)\b(?: [a-z]+\b)*)([^`;\n]*)"
)
OPTION = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*(?![-\w])")


def strings_of(path: Path) -> Iterator[str]:
    """Yield the texts in a module, … for what is filled in; neither docstrings nor option help."""
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("option", "argument"):
            skipped |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr) and id(node) not in skipped:
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
            skipped |= {id(inner) for inner in ast.walk(node)}
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and id(node) not in skipped:
            yield value


MESSAGES = [
    (str(path.relative_to(SOURCE)), text)
    for path in sorted(SOURCE.rglob("*.py"))
    for text in strings_of(path)
    if " " in text and re.search(r"--[a-z]|penstroke [a-z]|PENSTROKE_|train\.|data\.", text)
]


def command(words: str) -> tuple[Any, str]:
    """Return the command that `words` begin with, and the rest of the words."""
    found: Any = typer.main.get_command(app)
    rest = words.split()
    while rest and hasattr(found, "get_command"):
        inner = found.get_command(None, rest[0])
        assert inner is not None, f"there is no command {words!r}"
        found = inner
        rest.pop(0)
    return found, " ".join(rest)


def options_of(words: str) -> set[str]:
    found, _ = command(words)  # of a group, the options of all its commands
    every = [found, *getattr(found, "commands", {}).values()]
    return {
        name for each in every for one in each.params for name in (*one.opts, *one.secondary_opts)
    }


def commands_of(module: str) -> list[str]:
    for beginning, commands in PRINTED_BY.items():
        if module.startswith(beginning):
            return commands.split(", ")
    return [Path(module).stem] if module.startswith("cli/") else []


@pytest.mark.parametrize(("module", "text"), MESSAGES)
def test_commands_and_options_in_messages_exist(module: str, text: str) -> None:
    for words, rest in COMMAND.findall(text):
        for option in OPTION.findall(rest):
            assert option in options_of(words), f"{words}has no {option}: {text}"
        command(words)
    alone = COMMAND.sub("", FOREIGN.sub("", text))
    for option in OPTION.findall(alone):
        if (module, option) in NAMED_ELSEWHERE or option in ("--help", "--debug"):
            continue
        printed_by = commands_of(module)
        assert printed_by, f"{module} is not in PRINTED_BY: {text}"
        for one in printed_by:
            assert option in options_of(one), f"{one} has no {option}: {text}"


@pytest.mark.parametrize(("module", "text"), MESSAGES)
def test_settings_and_variables_in_messages_exist(module: str, text: str) -> None:
    known = {"PENSTROKE_DATA", "PENSTROKE_RUNS", "PENSTROKE_CACHE", "PENSTROKE_TOKEN"}
    assert set(re.findall(r"PENSTROKE_[A-Z]+", text)) <= known
    for name in re.findall(r"--set ((?:data|train|model)\.[a-z_]+)", text):
        table, _, field = name.partition(".")
        settings = load_recipe("fast").run_config()
        assert field in type(getattr(settings, table)).model_fields, text
        assert name in flatten(settings.to_dict()) or field.startswith(("max_", "min_"))


Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _data_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "data"))


def first_option(done: Outcome, option: str) -> list[str]:
    """Return `option` as the message of a failed command writes it, with its value."""
    assert done.exit_code != 0
    words = done.err.split()
    place = next(k for k, word in enumerate(words) if word.strip("`;,:.") == option)
    return [option, words[place + 1].strip("`;,:.")]


@pytest.mark.parametrize("name", ["train", "tune"])
def test_a_smaller_batch_is_accepted_where_it_is_recommended(penstroke: Cli, name: str) -> None:
    few = ("--set", "data.max_train_images=60", "--set", "train.batch_size=200", "--dry-run")
    recipe = "fast" if name == "train" else "rate-sweep"
    command = (name, recipe, "--dataset", "digits", *few)
    refused = penstroke(*command)
    assert penstroke(*command, *first_option(refused, "--set")).exit_code == 0


def test_images_with_labels_in_their_names_follow_the_advice(
    penstroke: Cli, tmp_path: Path
) -> None:
    write_scrawls(tmp_path, {"a": 6, "b": 6})
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in [*tmp_path.glob("?/*.png")]:
        file.rename(flat / f"{file.parent.name}-{file.name}")
    refused = penstroke("data", "import", "flat", flat)
    assert "--pattern reads labels from the names of files" in refused.err
    done = penstroke("data", "import", "flat", flat, "--pattern", r"^(?P<label>[a-z])-")
    assert done.exit_code == 0, done.err
    refused = penstroke("evaluate", "none", "--external", flat)
    assert refused.exit_code == 1


def test_a_table_whose_images_lie_elsewhere_names_the_option(
    penstroke: Cli, tmp_path: Path
) -> None:
    write_scrawls(tmp_path / "pictures", {"a": 6, "b": 6})
    files = sorted((tmp_path / "pictures").rglob("*.png"))
    rows = [f"{file.relative_to(tmp_path / 'pictures')},{file.parent.name}" for file in files]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    command = ("data", "import", "mine", tmp_path / "labels.csv")
    refused = penstroke(*command)
    assert "--images names the folder or zip that they lie in" in refused.err
    assert penstroke(*command, "--images", tmp_path / "pictures").exit_code == 0


def test_arrays_in_a_zip_are_imported_unpacked(tmp_path: Path, penstroke: Cli) -> None:
    np.savez(tmp_path / "arrays.npz", images=np.zeros((2, 28, 28), np.uint8), labels=[0, 1])
    (tmp_path / "notes").mkdir()
    (tmp_path / "arrays.npz").rename(tmp_path / "notes" / "arrays.mat")
    refused = penstroke("data", "import", "mine", tmp_path / "notes")
    assert "import arrays.mat itself, unpacked" in refused.err
