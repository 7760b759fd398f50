"""A study in a real PostgreSQL server, started here for the test."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstroke.search.engine import LocalEngine
from penstroke.search.workflow import SearchRequest, open_study, search
from searching import finished_search, remains, small_recipe

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
AS_SERVER = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@pytest.fixture
def url() -> Iterator[str]:
    """A server of its own on a free port of this machine, gone afterwards."""
    if not BINARIES:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="penstroke-postgresql-"))
    if AS_SERVER:
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: object) -> None:
        command = [*AS_SERVER, str(BINARIES[-1] / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    run("initdb", "-D", folder / "data", "-A", "trust", "-U", "penstroke", "--no-sync")
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    run("pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://penstroke@127.0.0.1:{port}/postgres"
    finally:
        gc.collect()  # connections that were left open go before the server does
        run("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_study_in_postgresql_is_that_of_sqlite(url: str) -> None:
    recipe = small_recipe()
    assert recipe.search is not None
    request = SearchRequest(recipe.run_config(), recipe.search, storage=url)
    study = open_study(request, stem="there", name="there")
    engine = LocalEngine(2, [recipe])
    try:
        assert search(study, engine)
    finally:
        engine.close()
    assert not (study.path / "study.db").exists()
    again = open_study(request, stem="there", name="there")
    assert remains(again) == remains(study) == remains(finished_search())
