"""`lectern sources`: what is known of each IngestionSource, and runs when somebody asks for them.

Three places can be asked: a running `lectern up` (by its URL), the data directory of one that is stopped (with -f), and
the cluster of the kubeconfig (with -n or -A).
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lectern_cli.border import DEFAULT_URL, URL, run, with_client
from lectern_contract.errors import ConfigurationError

if TYPE_CHECKING:
    from lectern_cli.sources import Run, Source
    from lectern_contract.reports import RunMode

app = typer.Typer(
    help="Look at sources of documents, and run them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
NAMESPACE = typer.Option("-n", "--namespace", help="A namespace of the cluster of the kubeconfig.")


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="One source, with all details; default: a table of all.")] = None,
    namespace: Annotated[str | None, NAMESPACE] = None,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="All of that cluster.")] = False,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
    url: Annotated[str, URL] = DEFAULT_URL,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Resources, to read --data-dir itself.")] = None,
    data_dir: Annotated[Path, typer.Option(help="State of a stopped `up`.")] = Path(".lectern/data"),
) -> None:
    """Tell of each source its runs, documents, dead letters, lag and freshness; what is not known is told as `?`."""
    from lectern_cli import sources

    if output not in ("table", "json"):
        raise typer.BadParameter(f"{output!r} is none of table, json", param_hint="--output")
    if file is not None and (namespace is not None or all_namespaces):
        raise typer.BadParameter("-f reads a data directory, -n and -A a cluster: choose one")

    async def read() -> list[Source]:
        if namespace is not None or all_namespaces:
            return await asyncio.to_thread(_of_cluster, None if all_namespaces else namespace)
        if file is not None:
            from lectern_cli import sources_directory

            return await sources_directory.tell(file, data_dir)
        found: list[Source] = await with_client(url, lambda client: client.sources())
        return found

    async def chosen() -> list[Source]:
        every = await read()
        found = sources.chosen(every, name)
        if name is not None and not found:
            offer = ", ".join(sorted(each.name for each in every)) or "none"
            raise ConfigurationError(f"there is no IngestionSource {name}; there are: {offer}")
        return found

    found, now = run(chosen), datetime.now(UTC)
    if output == "json":
        print(json.dumps({"items": [each.model_dump(mode="json", by_alias=True) for each in found]}, indent=2))
    elif name is not None:
        print("\n\n".join(sources.details(each, now=now) for each in found))
    else:
        print(sources.render(found, now=now) if found else "no IngestionSource")


@app.command()
def sync(
    name: Annotated[str, typer.Argument(help="The source.")],
    full: Annotated[bool, typer.Option("--full", help="Read every document again, changed or not.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the run has ended.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="How many seconds --wait waits.")] = 3600,
    namespace: Annotated[str | None, NAMESPACE] = None,
    url: Annotated[str, URL] = DEFAULT_URL,
) -> None:
    """Run a source now. With --wait, exit status 1 unless the run succeeded and left no document behind."""
    from lectern_cli import sources_sync
    from lectern_contract.reports import RunMode

    mode = RunMode.FULL if full else RunMode.SYNC
    last: Run | None = run(lambda: _synced(name, mode, namespace, url, timeout if wait else None))
    if last is None:
        print(f"IngestionSource/{name}: asked for a run; see lectern sources status {name}")
        return
    print(sources_sync.told(name, last))
    if last.result != "Succeeded" or last.failed:
        raise typer.Exit(1)


async def _synced(name: str, mode: RunMode, namespace: str | None, url: str, within: float | None) -> Run | None:
    """Ask for a run; the run once it has ended, None where nobody waits for it."""
    from rich.console import Console

    from lectern_cli import sources_cluster, sources_sync
    from lectern_cli.progress import shown

    if namespace is not None:
        cluster = await asyncio.to_thread(sources_cluster.live)
        if within is None:
            await asyncio.to_thread(sources_sync.ask_cluster, cluster, namespace, name, mode)
            return None
        with shown(Console(stderr=True), name) as display:
            return await sources_sync.of_cluster(cluster, namespace, name, mode, display, within=within)
    if within is None:
        await with_client(url, lambda client: client.sync(name, mode))
        return None
    with shown(Console(stderr=True), name) as display:
        found: Run = await with_client(
            url, lambda client: sources_sync.of_up(client, name, mode, display, within=within)
        )
    return found


def _of_cluster(namespace: str | None) -> list[Source]:
    from lectern_cli import sources_cluster

    return sources_cluster.tell(sources_cluster.live(), namespace, now=datetime.now(UTC))
