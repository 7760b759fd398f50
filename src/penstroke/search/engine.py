"""What every engine of workers offers: jobs go in, events come out, dead workers are replaced."""

from __future__ import annotations

from typing import Protocol

from penstroke.search.task import Event, Job


class Engine(Protocol):
    """Workers that train; each one job at a time."""

    workers: int

    @property
    def free(self) -> int:
        """How many workers have nothing to do."""

    def submit(self, job: Job) -> None:
        """Give `job` to a free worker."""

    def wait(self, timeout_seconds: float) -> list[Event]:
        """Return what has happened, as soon as something has; empty after the timeout."""

    def cancel(self) -> None:
        """Let go of all jobs that are being done, so that every worker is free again."""

    def close(self) -> None:
        """End all workers, whatever they do."""
