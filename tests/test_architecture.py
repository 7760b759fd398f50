"""What the documents promise of the code, checked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_imports_go_one_way() -> None:
    from importlinter.cli import lint_imports

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_only_evaluation_unseals_the_test_split() -> None:
    callers = {
        path.relative_to(ROOT / "src/penstroke").parts[0]
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("unseal", "_dataset")
        if path.name != "dataset.py"
    }
    assert callers == {"evaluation"}


def test_nothing_is_pickled() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert "import pickle" not in text
        assert "torch.load(" not in text
        assert not re.search(r"allow_pickle=True", text)


@pytest.mark.parametrize(
    "module",
    ["penstroke", "penstroke.inference.recognizer", "penstroke.runs.run", "penstroke.data.loading"],
)
def test_recognising_needs_no_torch(module: str) -> None:
    heavy = ("torch", "sklearn", "onnx")
    script = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_public_names() -> None:
    import penstroke

    for name in penstroke.__all__:
        assert getattr(penstroke, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        penstroke.nonsense  # noqa: B018


def test_no_module_name_occurs_twice() -> None:
    names = [path.name for path in SOURCES if path.name != "__init__.py"]
    assert sorted(names) == sorted(set(names))
