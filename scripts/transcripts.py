"""Runs the commands in Markdown pages and compares their output with the page.

A fence of the language `console` is a transcript: lines after `$ ` are commands, the lines below
are their output. A fence of `python` is a program, and a fence of `text` right after it its output.
A fence that begins with `# file: NAME`, in any language, is a file to be written. All steps of a
page run one after the other, in one new folder; one that names files of examples/ finds them there.
A comment `<!-- run: COMMAND -->`, invisible to readers, is run in its place.

    python scripts/transcripts.py docs/tutorial.md             run, and compare
    python scripts/transcripts.py docs/tutorial.md --write     run, and write the output

Figures differ from machine to machine: numbers, and what else `_MASKS` names, are not compared. A
line `…` in a page stands for any lines, and is kept when the page is written; a lone `?` is filled
in.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).parents[1]
ELIDED = "…"
_PLACEHOLDER = re.compile(r"(?<![-\w.])[A-Z]{2,}\b|…")
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PART = re.compile(rf"^<!-- run: (?P<hidden>[^\n]*) -->$|{_FENCE.pattern}", _FENCE.flags)
_FILE = re.compile(r"# file: (\S+)\n")
_MASKS = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"(?<=-)[0-9a-f]{8}\b"), "HASH"),  # of a run's name: from all its settings
    (re.compile(r"(bfloat16|float32)( on \w+)?"), "PRECISION"),
    (re.compile(r"\d+ threads?|\d+ workers?"), "CORES"),
    (re.compile(r"^(learning curves:?) .*"), r"\1 WORDS"),  # a diagnosis may differ
    (re.compile(r"^(to try next:) .*"), r"\1 WORDS"),
    (re.compile(r"examples/seven\.png|IMAGE\.png"), "IMAGE"),  # named where it is there
    (re.compile(r"[+\-−±]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?"), "N"),
    (re.compile(r"[█▏▎▍▌▋▊▉]+"), "BAR"),
    (re.compile(r"\s+"), " "),
)


@dataclass
class Step:
    """One step of a page: a command, a program or a file, and the output that is shown."""

    kind: str
    text: str
    shown: list[str] = field(default_factory=list)

    @property
    def is_for_show(self) -> bool:
        """Whether it is not run: not ours, a service (it does not end), or with a PLACEHOLDER."""
        words = command_of(self)
        is_ours = words.startswith(("penstroke ", "python scripts/"))
        is_run = is_ours and words.split()[:2] != ["penstroke", "serve"]
        return self.kind == "command" and (not is_run or bool(_PLACEHOLDER.search(words)))


def fences(text: str) -> Iterator[tuple[str, str]]:
    """Yield (language, content) of every fence."""
    for fence in _FENCE.finditer(text):
        yield fence[1], fence[2]


def steps_of(language: str, content: str) -> list[Step]:
    """Return the steps of a fence, in order; none for languages that are only shown."""
    if named := _FILE.match(content):
        return [Step("file", content, [named[1]])]
    if language == "python":
        return [Step("python", content)]
    steps: list[Step] = []
    for line in content.splitlines() if language == "console" else ():
        if line.startswith("$ "):
            steps.append(Step("command", line[2:]))
        elif steps:
            steps[-1].shown.append(line)
    return steps


def command_of(step: Step) -> str:
    """Return the command of a step without its comment."""
    return re.sub(r"\s{2,}#.*", "", step.text)


@contextlib.contextmanager
def workplace(text: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield a new folder, with the files that `text` names, and the environment to run it in."""
    with tempfile.TemporaryDirectory(prefix="penstroke-docs-") as name:
        folder = Path(name)
        for name in ("examples", "scripts"):
            if f"{name}/" in text:
                shutil.copytree(ROOT / name, folder / name)
        scripts = str(Path(sys.executable).parent)
        environment = {
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            # The code beside these pages, wherever else Penstroke is installed from.
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "PENSTROKE_CACHE": str(folder / ".cache"),
            "MPLBACKEND": "agg",
            "COLUMNS": "200",
        }
        environment.pop("PENSTROKE_RUNS", None)
        if data := environment.get("PENSTROKE_DATA"):
            environment["PENSTROKE_DATA"] = str(Path(data).resolve())
        yield folder, environment


def perform(step: Step, folder: Path, environment: dict[str, str]) -> list[str]:
    """Run one step in `folder`; return the lines it printed.

    Raises:
        CalledProcessError: it failed.
    """
    if step.kind == "file":
        (folder / step.shown[0]).write_text(_FILE.sub("", step.text, count=1))
        return []
    words = [sys.executable, "-c", step.text] if step.kind == "python" else None
    done = subprocess.run(
        words or command_of(step), shell=words is None, cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, step.text, done.stdout)
    return done.stdout.replace(str(folder), ".").rstrip("\n").splitlines()


def masked(line: str) -> str:
    """Return `line` without the parts that differ from machine to machine."""
    for pattern, instead in _MASKS:
        line = pattern.sub(instead, line)
    return line.strip()


def agrees(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Return whether the lines shown match the lines printed; `…` matches any lines."""
    if not shown:
        return not printed
    if shown[0].strip() == ELIDED:
        return any(agrees(shown[1:], printed[k:]) for k in range(len(printed) + 1))
    same = bool(printed) and masked(shown[0]) == masked(printed[0])
    return same and agrees(shown[1:], printed[1:])


def updated(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """Return `printed` as the page would show it, with its `…`."""
    lines = [line.strip() for line in shown]
    if ELIDED not in lines or lines == ["?"]:
        return list(printed)
    head, tail = lines.index(ELIDED), len(lines) - 1 - lines.index(ELIDED)
    return [*printed[:head], ELIDED, *(printed[-tail:] if tail else [])]


def run_page(page: Path, *, write: bool = False) -> list[str]:
    """Run all steps of `page`; return the differences, and rewrite the page with `write`."""
    text = page.read_text()
    with workplace(text) as (folder, environment):
        page_run = _PageRun(text, page.name, folder, environment)
        written = _PART.sub(page_run.part, text)
    if write and written != text:
        page.write_text(written)
    return page_run.differences


class _PageRun:
    """One page, run fence by fence; `differences` is what did not match."""

    def __init__(self, text: str, page: str, folder: Path, environment: dict[str, str]) -> None:
        self.differences: list[str] = []
        self._text = text
        self._page = page
        self._folder = folder
        self._environment = environment
        self._program: Step | None = None

    def part(self, match: re.Match[str]) -> str:
        """Run one fence, or a hidden command; return it with its output."""
        if match["hidden"]:
            self._run(Step("command", match["hidden"]))
            return match[0]
        language, content = match[2], match[3]
        steps = steps_of(language, content)
        if language == "text" and self._program is not None:
            program, self._program = self._program, None
            program.shown = content.splitlines()
            self._run(program)
            return _fence("text", program.shown)
        if language == "python" and self._text[match.end() :].lstrip().startswith("```text\n"):
            self._program = steps[0]  # it is run with the fence below it
            return match[0]
        for step in steps:
            if not step.is_for_show:
                self._run(step)
        if language != "console":
            return match[0]
        return _fence("console", [line for one in steps for line in (f"$ {one.text}", *one.shown)])

    def _run(self, step: Step) -> None:
        """Run `step`, record a difference, and make it show its output."""
        try:
            start = time.monotonic()
            printed = perform(step, self._folder, self._environment)
        except subprocess.CalledProcessError as error:
            self.differences.append(
                f"{self._page}: {step.text[:200]}\nfailed ({error.returncode}):\n{error.stdout}"
            )
            return
        first = step.text.splitlines()[0]
        print(f"{time.monotonic() - start:6.1f} s  {first}", file=sys.stderr)
        # A step without output in the page is only run.
        if step.kind == "file" or not step.shown:
            return
        blank = len(step.shown) - len("\n".join(step.shown).rstrip("\n").splitlines())
        shown = step.shown[: len(step.shown) - blank]
        if not agrees(shown, printed):
            difference = unified_diff(
                [masked(line) for line in shown], [masked(line) for line in printed],
                f"{self._page}: {first}", "printed", lineterm="",
            )  # fmt: skip
            self.differences.append("\n".join(difference))
        step.shown = updated(shown, printed) + [""] * blank


def _fence(language: str, lines: Sequence[str]) -> str:
    return f"```{language}\n" + "".join(f"{line}\n" for line in lines) + "```"


def main() -> int:
    """Run the pages, and print the differences."""
    words = [word for word in sys.argv[1:] if word != "--write"]
    write = len(words) < len(sys.argv) - 1
    differences = [difference for word in words for difference in run_page(Path(word), write=write)]
    for difference in differences:
        print(difference)
    return 0 if write or not differences else 1


if __name__ == "__main__":
    sys.exit(main())
