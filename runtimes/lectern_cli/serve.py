"""`lectern up` and `lectern demo`: read, plan, run, and show a person what happens meanwhile.

Reads the manifests into a `Plan`, opens an `Embedded` with it, shows how far ingestion is and then serves, or asks
the demo's questions.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lectern_cli import manifests, plan
from lectern_cli.progress import say, shown
from lectern_runtime import programs

if TYPE_CHECKING:
    from lectern_cli.embedded import Embedded

SHOW_SECONDS = 0.2


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    file: Path
    mounts: list[str]
    data_directory: Path
    host: str
    port: int
    endpoint: str | None
    sync_seconds: float
    api_keys: Path | None = None


async def up(options: Options, console: Console) -> None:
    """Serve until a signal says stop."""
    with _stopping() as stop:
        async with _opened(options, console) as running:
            say(console, f"serving on {running.url}")
            shown = asyncio.create_task(_show_progress(running, console))
            await stop.wait()
            shown.cancel()
            await asyncio.wait((shown,))
            say(console, "stopping")
            running.wind_down()
    say(console, "stopped")


async def demo(options: Options, questions: Path, console: Console) -> bool:
    """Ingest, ask, print; whether every question came out as expected."""
    from lectern_cli import demo as asking  # its HTTP client takes a while to import

    wanted = asking.read_questions(questions)
    async with _opened(options, console) as running:
        await _show_progress(running, console)
        outcomes = await asking.ask_all(running.url, wanted, console)
    console.print()
    console.print(asking.summary(outcomes))
    say(console, asking.verdict(outcomes))
    return all(outcome.right for outcome in outcomes)


@contextlib.contextmanager
def _stopping() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _opened(options: Options, console: Console) -> AsyncIterator[Embedded]:
    """The running embedded mode. What is wrong with the resources is found before the runtimes are imported."""
    read = manifests.read(options.file)
    mounts = plan.parse_mounts(options.mounts)
    planned = plan.make(read, mounts=mounts, endpoint=options.endpoint, api_keys=options.api_keys)
    if read.others:
        say(console, f"passed over, because they are not Lectern's: {', '.join(read.others)}", style="dim")
    say(console, f"starting; the state is kept in {options.data_directory}", style="dim")
    from lectern_cli import embedded  # a second of imports
    from lectern_runtime.telemetry import exporting
    from lectern_runtime.telemetry import logging as log_lines

    log_lines.configure("WARNING")
    server = programs.listening(options.host, options.port)
    with exporting.traces("embedded", planned.tracing):
        async with embedded.running(
            planned, data_directory=options.data_directory, server=server, sync_seconds=options.sync_seconds
        ) as running:
            yield running


async def _show_progress(running: Embedded, console: Console) -> None:
    """Show ingestion until it has settled, then say what there is."""
    settled = asyncio.create_task(running.settled())
    try:
        with shown(console, "ingesting") as display:
            while not settled.done():
                display.tell(running.progress())
                await asyncio.wait((settled,), timeout=SHOW_SECONDS)
        settled.result()
    finally:
        settled.cancel()
    for line in running.summary():
        say(console, line)
