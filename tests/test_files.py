from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstroke.errors import StorageError
from penstroke.files import cache_root, data_root, sha256, sha256_of_file, write_atomically


def test_write_replaces_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]
    assert sha256_of_file(path) == sha256(b"two")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """A real limit on the size of files stands for a full disk: the system refuses the same way."""
    script = """
import resource, signal, sys
from pathlib import Path
from penstroke.errors import StorageError
from penstroke.files import write_atomically

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
path = Path(sys.argv[1])
write_atomically(path, b"small")
try:
    write_atomically(path, b"x" * 5000)
except StorageError as error:
    print(error)
"""
    path = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"cannot write {path}: File too large\n"
    assert path.read_bytes() == b"small"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(tmp_path / "file" / "below", b"")


def test_roots_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PENSTROKE_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("PENSTROKE_CACHE", str(tmp_path / "c"))
    assert (data_root(), cache_root()) == (tmp_path / "d", tmp_path / "c")
    monkeypatch.delenv("PENSTROKE_DATA")
    assert data_root().name == "penstroke"
    assert "cache" not in str(data_root()).lower(), "nothing may clear it"
