"""One source in the process of `lectern up`: run now, again and again, and whenever somebody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lectern_cli.statuses import SourceState
from lectern_contract.errors import ConfigurationError
from lectern_contract.reports import RunMode, RunReport
from lectern_contract.resources.status import LastRun
from lectern_contract.settings import ConnectorSettings
from lectern_runtime.adapters.run_scratch import RunScratch
from lectern_runtime.ingest import run as ingest
from lectern_runtime.ingest.outcome import Tally
from lectern_runtime.ports import BlobStore, Log
from lectern_runtime.telemetry.ingest_metrics import ConnectorMetrics

Look = Callable[[], Awaitable[None]]


def moment_text(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment_now() -> str:
    """This moment as RFC 3339 in UTC."""
    return moment_text(datetime.now(UTC))


@dataclass
class Syncing:
    """The runs of one source: how many ended and what they `said`, how far the one is that runs, when the next begins.

    `state` is what its status is made of; `first` is set once the first run has ended, or where none will begin.
    """

    settings: ConnectorSettings
    state: SourceState
    idle: str = ""
    """Why it is never run; empty when it is."""
    first: asyncio.Event = field(default_factory=asyncio.Event)
    finished: int = 0
    said: int = 0
    tally: Tally | None = None
    next_run: str | None = None
    asked: RunMode | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, mode: RunMode) -> int:
        """Ask for a run that begins from now on; it has ended once `finished` is what is returned.

        Askings before it begins are one run, the most thorough of them. Raises `ConfigurationError` where none begins.
        """
        if self.idle:
            raise ConfigurationError(f"IngestionSource/{self.settings.name} is not run: {self.idle}")
        self.asked = RunMode.FULL if RunMode.FULL in (mode, self.asked) else mode
        self._wake.set()
        return self.finished + (1 if self.tally is None else 2)

    async def run(
        self, log: Log, blobs: BlobStore, metrics: ConnectorMetrics, *, every_seconds: float, look: Look
    ) -> None:
        """Run the source now, every `every_seconds` and when asked, until cancelled; `look` counts what waits."""
        while not self.idle:
            report = await self._once(log, blobs, metrics)
            await look()  # what it published waits from now on: nobody may see the run's end without that
            self.state.last_run = _last_run(report)
            self.tally, self.finished = None, self.finished + 1
            self.said += report.published + report.deleted
            self.first.set()
            self.next_run = moment_text(datetime.now(UTC) + timedelta(seconds=every_seconds))
            await look()
            try:
                await asyncio.wait_for(self._wake.wait(), every_seconds)
            except TimeoutError:
                continue
        self.first.set()

    async def _once(self, log: Log, blobs: BlobStore, metrics: ConnectorMetrics) -> RunReport:
        mode, self.asked = self.asked or RunMode.SYNC, None
        self._wake.clear()
        self.next_run, self.tally = None, Tally(mode)
        if self.state.last_run is None:
            self.state.last_run = LastRun(started_at=moment_now(), result="Running")
        return await ingest.run(
            self.settings,
            log=log,
            blobs=blobs,
            scratch=RunScratch.open,
            mode=mode,
            metrics=metrics,
            on_progress=self._heard,
        )

    def _heard(self, tally: Tally) -> None:
        self.tally = tally


def _last_run(report: RunReport) -> LastRun:
    shared = LastRun.model_fields.keys() & RunReport.model_fields.keys()
    return LastRun(**{name: getattr(report, name) for name in shared})
