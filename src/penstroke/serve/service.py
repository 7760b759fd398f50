"""The state of one service: models, workers, runs, corrections, and whether it is ready."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from penstroke.serve.correcting import Corrections
from penstroke.serve.prometheus import Metrics
from penstroke.serve.runs_feed import RunsFeed
from penstroke.serve.served_models import Models
from penstroke.serve.service_settings import ServiceSettings
from penstroke.serve.worker_pool import WorkerPool


class Service:
    """What the routes work with; `failure` is what kept it from starting."""

    def __init__(self, models: Models, settings: ServiceSettings) -> None:
        self.models = models
        self.settings = settings
        self.metrics = Metrics(models)
        self.pool = WorkerPool(settings, self.metrics.batches.observe)
        self.runs = RunsFeed(settings.token)
        self.corrections = Corrections()
        self.is_started = self.is_draining = False
        self.failure: Exception | None = None

    def drain(self) -> None:
        """Stop inviting requests; those that come are answered all the same."""
        self.is_draining = True
        self.runs.stop()

    async def reload(self) -> None:
        """Load the models again whose files have changed."""
        await self.models.refresh(self.pool.exchange, force=True)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the workers, and watch the files of the models."""
        try:
            await self.pool.start(list(self.models))
        except Exception as error:
            self.failure = error
            raise
        watching = asyncio.create_task(self.models.watch(self.pool.exchange))
        self.is_started = True
        try:
            yield
        finally:
            self.is_started = False
            watching.cancel()
            self.runs.stop()
            await self.pool.stop()
