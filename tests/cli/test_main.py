from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import penstroke as package
from helpers import Outcome

Cli = Callable[..., Outcome]


def test_help_names_every_command(penstroke: Cli) -> None:
    done = penstroke("--help")
    assert done.exit_code == 0
    for command in ("data", "train", "evaluate", "predict", "report", "export", "runs", "doctor"):
        assert command in done.out
    assert penstroke("-h").out == done.out


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['penstroke', '--help']\n"
        "from penstroke.cli.main import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'numpy', 'pydantic', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"]])
def test_a_full_disk_behind_the_output_is_said_in_one_line(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "penstroke", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: cannot read or write: No space left on device\n"


def test_ctrl_c_while_the_command_line_is_loaded_prints_no_traceback() -> None:
    script = (
        "import os, signal, sys\n"
        "from penstroke.__main__ import main\n"
        "class Press:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press())\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_ctrl_c_in_a_command_is_said_in_a_word(
    penstroke: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstroke.runs.run import Run

    def press() -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "paths", press)
    done = penstroke("runs", "list")
    assert (done.exit_code, done.err) == (130, "interrupted\n")


def test_a_bar_says_how_much_time_is_left() -> None:
    script = (
        "from penstroke.cli.console import progress_bar\n"
        "with progress_bar('reading', total=4.0) as update:\n"
        "    for _ in range(3): update(advance=1)\n"
        "with progress_bar('waiting'): pass"
    )
    ours, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    command = [sys.executable, "-c", script]
    subprocess.run(command, stderr=terminal, env=environment, check=True)
    os.close(terminal)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert re.search(r"reading [^\n]*\d:\d\d:\d\d left", shown), shown
    assert re.search(r"waiting [^\n]*\d:\d\d:\d\d so far", shown), shown
    assert "left 0:" not in shown


def test_version(penstroke: Cli) -> None:
    assert penstroke("--version").out == f"penstroke {package.__version__}\n"


def test_wrong_usage_is_two(penstroke: Cli, tmp_path: Path) -> None:
    assert penstroke("nonsense").exit_code == 2
    assert penstroke("data").exit_code == 2
    assert "'serv' (did you mean \"serve\"?)" in penstroke("serv").err
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"")
    assert f"`penstroke predict {photo}` reads the file" in penstroke(photo).err


@pytest.mark.parametrize("arguments", [["predict"], ["evaluate"], ["data", "import"]])
def test_a_command_alone_shows_its_help(penstroke: Cli, arguments: list[str]) -> None:
    done = penstroke(*arguments)
    assert done.exit_code == 2
    assert "Arguments:" in done.err
    assert "Options:" in done.err


def test_doctor_finds_this_machine_healthy(penstroke: Cli) -> None:
    done = penstroke("doctor", "--json")
    found = json.loads(done.out)
    assert found["healthy"], found
    assert done.exit_code == 0
    words = penstroke("doctor").out
    assert "gradient equals finite difference" in words
    assert "digits (10 classes)" in words


def test_a_sick_machine_is_told(
    penstroke: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "file"))
    done = penstroke("doctor")
    assert done.exit_code == 1
    assert "fail  cache" in done.out


def test_without_the_training_packages_it_says_which_to_install(
    penstroke: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in list(sys.modules):
        if module.startswith(("penstroke.runs.pipeline", "penstroke.training", "penstroke.models")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = penstroke("train", "--epochs", 1)
    assert done.exit_code == 1
    assert 'pip install "penstroke[train]"' in done.err


def test_a_fault_of_our_own_is_called_one(penstroke: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstroke.runs.run import Run

    def broken() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Run, "paths", broken)
    done = penstroke("runs", "list")
    assert done.exit_code == 1
    assert "ZeroDivisionError: oops" in done.err
    assert "--debug" in done.err


def test_doctor_without_training_packages_is_not_ill(
    penstroke: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for module in list(sys.modules):
        if module.startswith(("penstroke.training", "penstroke.models")):
            monkeypatch.delitem(sys.modules, module)
    done = penstroke("doctor")
    assert done.exit_code == 0
    assert 'training needs pip install "penstroke[train]"' in done.out
