"""The one way to write an epoch into a run directory, and to read it back.

The checkpoint is written first, whole, then one line is appended to history.jsonl. A kill between
the two leaves a checkpoint without its line, which the same epoch overwrites when training
resumes; a line without its checkpoint cannot be, unless a file was damaged or removed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from penstroke.errors import CheckpointError, StorageError
from penstroke.files import append_lines, explained, write_atomically, write_text_atomically
from penstroke.runs.run import Metrics, Run
from penstroke.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from penstroke.training.loop import Epoch


def save_each(run: Run, epochs: Iterable[Epoch]) -> Iterator[Epoch]:
    """Write each epoch into `run`, then yield it: the caller sees only what is safe on disk."""
    for epoch in epochs:
        write_epochs(run, [epoch.metrics], epoch.state.to_bytes())
        yield epoch


def write_epochs(
    run: Run, metrics: Sequence[Metrics], checkpoint: bytes, *, keep_best: bool = True
) -> None:
    """Write consecutive epochs and the checkpoint after the last of them.

    Earlier checkpoints are removed, except the one before and that of the best epoch; without
    `keep_best`, as in a trial of a search, which is never deployed, all of them.
    """
    last, best = metrics[-1]["epoch"], metrics[-1]["best_epoch"]
    write_atomically(run.checkpoint_path(last), checkpoint)
    append_history(run, metrics)
    remove_checkpoints(run, keep={last - 1, last, best} if keep_best else {last})


def last_checkpoint(run: Run, *, needs_best: bool = True) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint to resume from, None to start again, and notes on damaged files.

    The history is cut back to the epoch of that checkpoint. With `needs_best`, a checkpoint counts
    only if that of the best epoch can be read too, since it may be the one to deploy.
    """
    notes: list[str] = []
    history = run.history()
    checkpoint = None
    while history and checkpoint is None:
        try:
            if needs_best:
                run.checkpoint(history[-1]["best_epoch"])
            checkpoint = run.checkpoint(history[-1]["epoch"])
        except CheckpointError as error:
            notes.append(f"{error}; the previous one is used")
            history.pop()
    if notes and checkpoint is None:
        notes.append("no checkpoint can be read: training starts again from the first epoch")
    lines = "".join(_line(metrics) for metrics in history)
    if run.history_path.exists() and run.history_path.read_bytes() != lines.encode():
        write_text_atomically(run.history_path, lines)
    return checkpoint, notes


def append_history(run: Run, metrics: Iterable[Metrics]) -> None:
    """Append one line for each epoch to the history of `run`."""
    append_lines(run.history_path, "".join(map(_line, metrics)))


def remove_checkpoints(run: Run, keep: Collection[int] = ()) -> None:
    """Delete the checkpoints of all epochs except those to `keep`."""
    paths = set(run.checkpoint_path(0).parent.glob("epoch-*.safetensors"))
    for path in paths - {run.checkpoint_path(epoch) for epoch in keep}:
        with explained(f"remove {path}", StorageError):
            path.unlink()


def _line(metrics: Metrics) -> str:
    return json.dumps(metrics) + "\n"
