"""What every test shares: folders of its own, the command line in-process, and what MNIST needs."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# The workers of a test session share the machine: one thread for each, and for what they start.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from browsing import CHROMIUM, FLAGS
from helpers import (
    MADE_ONCE,
    Outcome,
    copy_made_once,
    kill_what_was_started,
    line_config,
    made_once,
)
from penstroke.data.dataset import DataSplits
from penstroke.data.loading import load_dataset
from penstroke.files import sha256
from penstroke.runs.run import Run

# A shell starts a background job with Ctrl-C ignored, and so would be what the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every machine, however long one takes: a failure is found when it is written.
settings.register_profile("penstroke", deadline=None, derandomize=True, database=None)
settings.load_profile("penstroke")

DATA = os.environ.get("PENSTROKE_DATA")
HAS_MNIST = DATA is not None and (Path(DATA) / "mnist/train-images-idx3-ubyte.gz").exists()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs MNIST where it is not; fail instead where it is promised."""
    if item.get_closest_marker("mnist") and not HAS_MNIST:
        reason = f"MNIST is not under PENSTROKE_DATA ({DATA}): penstroke data download mnist"
        if os.environ.get("PENSTROKE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache and a data folder for each worker, apart from the user's; what all workers share."""
    base = tmp_path_factory.getbasetemp()
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTROKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv(MADE_ONCE, str(session / "made-once"))
        if DATA is not None:
            data = tmp_path_factory.mktemp("data")
            for path in Path(DATA).iterdir():
                (data / path.name).symlink_to(path.resolve())
            patch.setenv("PENSTROKE_DATA", str(data))
        yield


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs for each test."""
    monkeypatch.setenv("PENSTROKE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    yield
    kill_what_was_started()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real handwriting."""
    assert DATA is not None
    return Path(DATA)


@pytest.fixture(scope="session")
def digits() -> DataSplits:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def mnist_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one in it, `mnist-fast`: the recipe, trained on MNIST."""

    def train() -> None:
        import penstroke
        from penstroke.config.recipes import load_recipe

        settings = {"data.dataset": "mnist", "data.max_train_images": 20_000, "train.threads": 1}
        penstroke.train(load_recipe("fast", settings).run_config(), name="mnist-fast", report=False)

    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(made_once("mnist-fast", train), folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def line_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small finished line reader of plain numbers, trained once; about a third are read exactly.

    For all tests that need a trained reader of lines: its model.onnx, its summary, its data.
    """

    def train() -> None:
        import penstroke

        penstroke.train(line_config(), name="small-numbers")

    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(made_once("small-numbers", train), folder, dirs_exist_ok=True)
    return Run.open(folder / "small-numbers")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def penstroke(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Run the command line in this process."""
    from penstroke.cli.main import main

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["penstroke", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code
        captured = capsys.readouterr()
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@pytest.fixture
def penstroke_once(penstroke: Callable[..., Outcome]) -> Callable[..., Path]:
    """Return this test's runs with what a command leaves there; it is run once in a session."""

    def run(*arguments: object) -> Path:
        def make() -> None:
            done = penstroke(*arguments)
            assert done.exit_code == 0, done.err

        return copy_made_once(f"command-{sha256(repr(arguments).encode())[:16]}", make)

    return run
