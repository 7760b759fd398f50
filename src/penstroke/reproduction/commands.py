"""Running the commands that repeat a project, each in a process of its own, as a person would."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstroke.data.loading import load_dataset
from penstroke.errors import ConfigError, DataError, RunError
from penstroke.files import runs_root, write_text_atomically
from penstroke.reproduction.projects import Project, Step
from penstroke.runs.grouping import compare_runs
from penstroke.runs.run import Run, find_run
from penstroke.search.study import SearchResult, Study


@dataclass(frozen=True)
class StepResult:
    """The result of a step: what it printed with --json, or why it was skipped.

    `wall_seconds`: from start to end, of all calls that did not find it finished already.
    """

    step: Step
    output: dict[str, Any]
    wall_seconds: float
    skipped: str = ""

    @property
    def runs(self) -> list[Run]:
        """The finished runs of a training, by seed; of a search that of the best settings."""
        return [find_run(name) for name in self.output.get("runs", [self.output.get("run")])]

    @property
    def search(self) -> SearchResult:
        """The result of a search."""
        return SearchResult.parse(self.output)

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
        try:
            both = [*runs.get("baseline-mlp", []), *runs.get("baseline-cnn", [])]
            return [claim.text for claim in compare_runs(both).claims]
        except RunError as error:
            return [f"They could not be compared: {error}"]


def reproduce(
    steps: Iterable[Step], on_step: Callable[[Step], object] = lambda _: None
) -> list[StepResult]:
    """Run all steps and return their results; `on_step` is called before each.

    Finished steps answer at once, and interrupted ones resume: the commands themselves do that. A
    step whose data set is missing is skipped.

    Raises:
        RunError: a command failed; names it. Earlier results are kept.
        KeyboardInterrupt: Ctrl-C, also if the command has answered it.
    """
    # Wall seconds by command, kept beside the runs: a second call finds all of them finished.
    path = runs_root() / "reproduction.json"
    times: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
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
