"""The options of `lectern rewind`; `rewind` does what they say."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from lectern_cli.border import run


def rewind(
    knowledge_base: Annotated[str, typer.Argument(help="The KnowledgeBase whose workers are sent back.")],
    to_start: Annotated[bool, typer.Option("--to-start", help="To the beginning of the log.")] = False,
    to_time: Annotated[str | None, typer.Option(help="To the messages of this moment, RFC 3339.")] = None,
    by_messages: Annotated[int | None, typer.Option(help="By so many messages in each partition.")] = None,
    partition: Annotated[list[int] | None, typer.Option(help="Only this partition; may be repeated.")] = None,
    generation: Annotated[int | None, typer.Option(min=1, help="Default: the one that answers.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before writing.")] = False,
    as_job: Annotated[bool, typer.Option("--as-job", help="Print a Job that does it, for kubectl create.")] = False,
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="Its namespace on the cluster.")] = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Resources, to change --data-dir instead.")] = None,
    data_dir: Annotated[Path, typer.Option(help="State of a stopped `up`.")] = Path(".lectern/data"),
) -> None:
    """Let the workers of a knowledge base read their log again, for a store that was restored from a snapshot.

    Only backwards, and only while no worker runs. Exit status 1 when the question was answered with no.
    """
    from lectern_cli import rewind as rewinding
    from lectern_cli import rewind_cluster
    from lectern_runtime.maintain.rewind import Target
    from lectern_runtime.maintain.rewind_program import agreement

    if file is not None and (as_job or namespace is not None):
        raise typer.BadParameter("-f changes a data directory, -n and --as-job are for a cluster: choose one")

    async def done() -> bool:
        target = Target.of(to_start=to_start, to_time=to_time, by_messages=by_messages)
        wanted = rewinding.Wanted(knowledge_base, target, tuple(partition or ()), generation, dry_run)
        agree, say = agreement(yes=yes, dry_run=dry_run or as_job), sys.stdout.write
        if file is not None:
            return await rewinding.in_directory(file, data_dir, wanted, agree=agree, say=say)
        cluster, where = await asyncio.to_thread(rewind_cluster.live), namespace or "default"
        if not as_job:
            return await rewinding.on_cluster(cluster, where, wanted, agree=agree, say=say)
        say(await asyncio.to_thread(rewinding.manifest, cluster, where, wanted))
        return True

    if not run(done):
        raise typer.Exit(1)
