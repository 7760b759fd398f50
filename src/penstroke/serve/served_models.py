"""The models that are served, exchanged under load when their files change."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstroke.errors import ConfigError, ModelFileError, PenstrokeError, near_match
from penstroke.files import explained, sha256
from penstroke.inference.bundled import BUNDLED, reinstall_hint
from penstroke.inference.line_reader import open_model
from penstroke.inference.model_file import LINES
from penstroke.runs.run import find_model
from penstroke.serve.responses import ApiError
from penstroke.serve.schemas import ModelFacts

log = logging.getLogger("penstroke.serve")
_CHECK_SECONDS = 1.0

Stamp = tuple[int, int, int]
Exchange = Callable[["ServedModel", "ServedModel"], Awaitable[None]]


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model as it is now; a request keeps to it until it is answered."""

    name: str
    path: Path
    content: bytes
    metadata: Mapping[str, Any]
    sha256: str
    stamp: Stamp | None

    @property
    def reads_lines(self) -> bool:
        """Whether it reads whole lines, not one character at a time."""
        return self.metadata.get("kind") == LINES

    @property
    def classes(self) -> list[str]:
        """The characters that it knows."""
        return list(self.metadata["alphabet" if self.reads_lines else "classes"])

    def facts(self, *, is_default: bool) -> ModelFacts:
        """Return what callers are told about it."""
        known = ("kind", "classes", "alphabet", "dataset")
        rest = {k: v for k, v in self.metadata.items() if k not in known}
        return ModelFacts(
            name=self.name, kind="lines" if self.reads_lines else "characters",
            classes=self.classes, dataset=self.metadata.get("dataset"),
            is_default=is_default, is_bundled=self.path.is_relative_to(BUNDLED),
            sha256=self.sha256, metadata=rest,
        )  # fmt: skip


class Models:
    """The models that are served, by name; the first is the default."""

    def __init__(
        self,
        models: Sequence[str],
        confidence_threshold: float | None = None,
        precision: float | None = None,
    ) -> None:
        """Load `models`, each a model.onnx, or a run's name or path; PenstrokeError if it fails.

        `confidence_threshold` and `precision` are as in `Recognizer.load`, for each of them.
        """
        self._thresholds = confidence_threshold, precision
        self._served: dict[str, ServedModel] = {}
        for model in models:
            name, path = locate(model)
            if name in self._served:
                raise ConfigError(f'two of the models are called "{name}": rename a file')
            self._served[name] = load(name, path, *self._thresholds)
        self._refused: dict[str, Stamp | None] = {}
        self._one_at_a_time = asyncio.Lock()

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._served.values())

    @property
    def default(self) -> ServedModel:
        """The model that is used where a request names none."""
        return next(iter(self._served.values()))

    def pick_recognizer(self, name: str | None) -> ServedModel:
        """Return the model called `name`, or the first, of those that read characters one by one.

        ApiError 404 where there is none of the name, 422 where it is of another kind.
        """
        first = next((model for model in self if not model.reads_lines), self.default)
        model = first if name is None else self.pick(name)
        if model.reads_lines:
            raise ApiError(
                422, "invalid", f'model: "{model.name}" reads whole lines: send it to /v1/read'
            )
        return model

    def pick_reader(self, name: str | None) -> ServedModel:
        """Return the model called `name`, or the first that reads whole lines, or the default."""
        first = next((model for model in self if model.reads_lines), self.default)
        return first if name is None else self.pick(name)

    def pick(self, name: str) -> ServedModel:
        """Return the model called `name`; ApiError 404 where there is none."""
        if name not in self._served:
            known = ", ".join(self._served)
            raise ApiError(
                404, "unknown_model",
                f'model: unknown model "{name}"{near_match(name, self._served)}; served: {known}',
            )  # fmt: skip
        return self._served[name]

    async def watch(self, exchange: Exchange) -> None:
        """Look for changed files every second, until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                await self.refresh(exchange)
            except Exception:
                log.exception("the changed models cannot be exchanged: the old ones stay in use")

    async def refresh(self, exchange: Exchange, *, force: bool = False) -> None:
        """Load what has changed on disk, or all by `force`; what cannot be read stays as it was.

        `exchange(new, old)` returns when the new model can be used. Requests that hold the old one
        are answered by it.
        """
        async with self._one_at_a_time:  # a signal may arrive while the watch is loading
            for name, old in list(self._served.items()):
                stamp = _stamp(old.path)
                if not force and stamp in (old.stamp, self._refused.get(name, old.stamp)):
                    continue
                self._refused.pop(name, None)
                try:
                    new = await asyncio.to_thread(load, name, old.path, *self._thresholds)
                except PenstrokeError as error:
                    self._refused[name] = stamp
                    log.error("%s is not exchanged, the old one stays in use: %s", name, error)  # noqa: TRY400
                    continue
                await exchange(new, old)
                self._served[name] = new
                log.info("%s exchanged: SHA-256 %s → %s", name, old.sha256[:12], new.sha256[:12])


def locate(model: str) -> tuple[str, Path]:
    """Return (name, file) of `model`: a bundled model, a file, a run's path or its name."""
    path = find_model(model).resolve()
    if path.is_dir():
        return path.name, path / "model.onnx"
    return (path.parent.name if path.name == "model.onnx" else path.stem), path


def load(
    name: str,
    path: Path,
    confidence_threshold: float | None = None,
    precision: float | None = None,
) -> ServedModel:
    """Return the model at `path`, which has answered once; raises as `load_model` does."""
    stamp = _stamp(path)
    with reinstall_hint(path):
        with explained(f"read the model {path}", ModelFileError):
            content = path.read_bytes()
        model = open_model(content, str(path))
    model.set_threshold(confidence_threshold, precision)
    metadata = {**model.metadata, "confidence_threshold": model.confidence_threshold}
    return ServedModel(name, path, content, metadata, sha256(content), stamp)


def _stamp(path: Path) -> Stamp | None:
    """Return what changes when the file does; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
