"""The queue of trainings, beside workers that die."""

from __future__ import annotations

from typing import Any

from penstroke.runs.run import Run
from penstroke.search.engine import Event, Failed, Finished, Job
from penstroke.search.runner import TrainingQueue
from searching import finished_search


class DyingEngine:
    """An engine whose only worker dies of each job."""

    free = 1

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self, timeout_seconds: float) -> list[Event]:
        return [Failed(job.key, "its worker died", can_retry=True) for job in self.jobs[-1:]]


def new_run(name: str) -> Run:
    study = finished_search()
    best = study.best()
    assert best is not None
    return study.run_at(study.path / "confirm" / name, study.space.config(best.settings))


def test_a_job_is_tried_three_times_while_its_worker_dies() -> None:
    engine: Any = DyingEngine()
    queue, run = TrainingQueue(engine), new_run("a")
    queue.add(run, 1)
    assert [queue.step(), queue.step()] == [[], []]
    assert queue.step() == [(run, "its worker died (3 times)")]
    assert len(engine.jobs) == 3
    assert len(queue) == 0


def test_late_events_about_a_discarded_run_are_ignored() -> None:
    engine: Any = DyingEngine()
    queue, run, other = TrainingQueue(engine), new_run("a"), new_run("b")
    queue.add(run, 1)
    queue.step()
    queue.discard(run)
    queue.add(other, 1)
    engine.wait = lambda _: [Finished(str(run.path)), Finished(str(other.path))]
    assert queue.step() == [(other, None)]
