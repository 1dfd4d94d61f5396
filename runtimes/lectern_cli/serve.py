"""`lectern up` and `lectern demo`: read, plan, run, and show a person what happens meanwhile.

Reads the manifests into a `Plan`, opens an `Embedded` with it, shows ingestion as a progress bar (plain
lines where the output is not a terminal) and then serves, or asks the demo's questions.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lectern_cli import demo as questions_of_demo
from lectern_cli import embedded, http_server, manifests, plan
from lectern_cli.client import Client

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


async def up(options: Options, console: Console) -> None:
    """Serve until a signal says stop."""
    with _stopping() as stop:
        async with _opened(options, console) as running:
            console.print(f"serving on {running.url}", highlight=False)
            shown = asyncio.create_task(_show_progress(running, console))
            await stop.wait()
            shown.cancel()
    console.print("stopped")


async def demo(options: Options, questions: Path, console: Console) -> bool:
    """Ingest, ask, print; whether every question came out as expected."""
    wanted = questions_of_demo.read_questions(questions)
    async with _opened(options, console) as running:
        await _show_progress(running, console)
        async with httpx.AsyncClient(trust_env=False) as http:
            outcomes = await questions_of_demo.ask_all(Client(running.url, http), wanted, console)
    console.print()
    console.print(questions_of_demo.summary(outcomes))
    console.print(questions_of_demo.verdict(outcomes), highlight=False)
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


def _opened(options: Options, console: Console) -> contextlib.AbstractAsyncContextManager[embedded.Embedded]:
    read = manifests.read(options.file)
    for other in read.others:
        console.print(f"passed over (not Lectern's): {other}", style="dim", highlight=False)
    planned = plan.make(read, mounts=plan.parse_mounts(options.mounts), endpoint=options.endpoint)
    server = http_server.listen(options.host, options.port)
    return embedded.running(
        planned, data_directory=options.data_directory, server=server, sync_seconds=options.sync_seconds
    )


async def _show_progress(running: embedded.Embedded, console: Console) -> None:
    """Show ingestion until it has settled, then say what there is."""
    settled = asyncio.create_task(running.settled())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("ingesting", total=None)
            while not settled.done():
                done, total = running.progress()
                progress.update(bar, completed=done, total=total or None)
                await asyncio.wait((settled,), timeout=SHOW_SECONDS)
            done, total = running.progress()
            progress.update(bar, completed=done, total=total)
        settled.result()
    finally:
        settled.cancel()
    for line in running.summary():
        console.print(line, highlight=False)
