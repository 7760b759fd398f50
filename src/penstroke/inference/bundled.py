"""The models that come with Penstroke: finished runs inside the package, ready to use."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from penstroke.errors import ModelFileError, ModelKindError

BUNDLED = Path(__file__).parents[1] / "bundled"
"""The folder of their run directories, which `make models` writes."""
DEFAULT_MODEL = "digits"
"""The model that recognises characters where none is named."""
_LINES_MODEL = "numbers"


def bundled_names() -> list[str]:
    """Return the names of the bundled models: the default, then the others, sorted."""
    names = (path.parent.name for path in BUNDLED.glob("*/model.onnx"))
    return sorted(names, key=lambda name: (name != DEFAULT_MODEL, name))


def default_reader() -> str:
    """Return the name of the bundled model that reads lines where none is named."""
    return _LINES_MODEL if _LINES_MODEL in bundled_names() else DEFAULT_MODEL


def bundled_run(name: str | Path) -> Path | None:
    """Return the run directory of the bundled model `name`; None if there is none of that name."""
    return BUNDLED / name if str(name) in bundled_names() else None


@contextlib.contextmanager
def reinstall_hint(path: Path) -> Iterator[None]:
    """Say in an error about the model file at `path` how to restore it, if it is a bundled one."""
    try:
        yield
    except ModelFileError as error:
        if not path.is_relative_to(BUNDLED) or isinstance(error, ModelKindError):
            raise
        raise ModelFileError(
            f"{error}: it came with Penstroke; pip install --force-reinstall penstroke"
        ) from error
