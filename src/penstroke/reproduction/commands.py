"""Running the commands that repeat a project, each a process of its own, as a person would."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError, DataError, RunError
from penstroke.files import runs_root, write_text_atomically
from penstroke.reproduction.projects import Step
from penstroke.runs.run import Run, find_run

_INTERRUPTED = 130


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes:
        step: the command.
        told: what it printed for machines; empty where it was left out.
        wall_seconds: from its start to its end, of all calls that did not find it done already.
        left_out: why it was not run, if it was not.
    """

    step: Step
    told: dict[str, Any]
    wall_seconds: float
    left_out: str = ""

    @property
    def runs(self) -> list[Run]:
        """The finished runs of a training, by seed; of a search the best settings' alone."""
        return [find_run(name) for name in self.told.get("runs", [self.told.get("run")])]


def reproduce(
    steps: Iterable[Step], watch: Callable[[Step], object] = lambda _: None
) -> list[Outcome]:
    """Run every step and return what each told; `watch` is called before each.

    What was finished before answers at once, what was cut short goes on: the commands see to that.
    A step whose data set is not here is left out, and its reason kept.

    Raises:
        RunError: a command failed; names it. What came before it is kept.
        KeyboardInterrupt: Ctrl-C, also where the command has answered it.
    """
    times = _Times()
    missing = functools.cache(_missing)  # several steps have the same data set
    outcomes = []
    for step in steps:
        watch(step)
        reason = missing(step.dataset)
        if reason:
            outcomes.append(Outcome(step, {}, 0.0, reason))
            continue
        with times.of(step):
            told = _run(step)
        outcomes.append(Outcome(step, told, times.seconds(step)))
    return outcomes


def _run(step: Step) -> dict[str, Any]:
    command = [sys.executable, "-m", "penstroke", *step.command, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == _INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise RunError(
            f"`{step.line}` failed with exit code {done.returncode}; it said above why. What was "
            "done before it is kept: the same command goes on"
        )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _missing(dataset: str) -> str:
    """Return why `dataset` cannot be opened, or nothing."""
    try:
        load_dataset(dataset)
    except (ConfigError, DataError) as error:
        return str(error)
    return ""


class _Times:
    """Wall seconds by command, kept beside the runs: a second call finds all of them done."""

    def __init__(self) -> None:
        self._path = runs_root() / "reproduction.json"
        text = self._path.read_text() if self._path.exists() else "{}"
        self._known: dict[str, dict[str, Any]] = json.loads(text)

    def seconds(self, step: Step) -> float:
        """Return what the command has taken."""
        return float(self._known[step.line]["wall_seconds"])

    @contextlib.contextmanager
    def of(self, step: Step) -> Iterator[None]:
        """Count the time of a command that was not through before, whatever becomes of it."""
        known = self._known.setdefault(step.line, {"wall_seconds": 0.0, "is_finished": False})
        start, is_new = time.monotonic(), not known["is_finished"]
        try:
            yield
            known["is_finished"] = True
        finally:
            if is_new:
                known["wall_seconds"] += time.monotonic() - start
                write_text_atomically(self._path, json.dumps(self._known, indent=1) + "\n")
