"""`lectern rewind`: the group of a knowledge base's workers, on a cluster or in a data directory, sent back in the log.

On a cluster this machine has to reach the brokers; where it does not, `manifest` makes a Job of the same.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lectern_cli import dead_letters, manifests, rewind_cluster
from lectern_cli.rewind_cluster import Cluster
from lectern_contract import wiring
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.errors import LogError, TopicUnknown
from lectern_runtime.maintain.rewind import Rewind, Target, act
from lectern_runtime.moments import rfc3339


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for; `generation` None means the one that answers, no `partitions` all of them."""

    knowledge_base: str
    target: Target
    partitions: tuple[int, ...]
    generation: int | None
    dry_run: bool


async def on_cluster(
    cluster: Cluster, namespace: str, wanted: Wanted, *, agree: Callable[[str], bool], say: Callable[[str], object]
) -> bool:
    """Rewind a group on the brokers that the knowledge base names; return whether all is as it was asked for."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # our errors say it once, and with the next step
    async with AsyncExitStack() as stack:
        kb = await asyncio.to_thread(rewind_cluster.read, cluster, namespace, wanted.knowledge_base)
        generation = wanted.generation or rewind_cluster.active_generation(kb)
        log = await compose.open_log(stack.enter_context(rewind_cluster.log_settings(cluster, kb)), None)
        stack.push_async_callback(log.close)
        rewind = Rewind(log, namespace=namespace, knowledge_base=kb.name, generation=generation)
        try:
            return await act(rewind, wanted.target, wanted.partitions, dry_run=wanted.dry_run, agree=agree, say=say)
        except TopicUnknown:
            raise
        except LogError as error:
            raise LogError(f"{error}. Where this machine does not reach the brokers, a Job can: --as-job") from error


async def in_directory(
    file: Path, data_dir: Path, wanted: Wanted, *, agree: Callable[[str], bool], say: Callable[[str], object]
) -> bool:
    """Rewind a group in the data directory of a stopped `lectern up`; return whether all is as it was asked for."""
    kb = dead_letters.chosen(manifests.read(file), wanted.knowledge_base, "KNOWLEDGE_BASE")
    dead_letters.check_directory(data_dir)
    generation = wanted.generation or await dead_letters.answering_generation(kb, data_dir)
    async with AsyncExitStack() as stack:
        data = stack.enter_context(DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}"))
        log = await compose.open_log(wiring.worker_settings(kb, generation=generation).log, data)
        stack.push_async_callback(log.close)
        rewind = Rewind(log, namespace=kb.namespace, knowledge_base=kb.name, generation=generation)
        return await act(rewind, wanted.target, wanted.partitions, dry_run=wanted.dry_run, agree=agree, say=say)


def manifest(cluster: Cluster, namespace: str, wanted: Wanted) -> str:
    """Return a Job, as JSON, that does the same beside the brokers."""
    kb = rewind_cluster.read(cluster, namespace, wanted.knowledge_base)
    generation = wanted.generation or rewind_cluster.active_generation(kb)
    target = wanted.target
    how_far = "--to-start" if target.by is None else f"--by-messages={target.by}"
    arguments = [how_far if target.since is None else f"--to-time={rfc3339(target.since)}"]
    arguments += [*(f"--partition={number}" for number in wanted.partitions), f"--generation={generation}"]
    arguments.append("--dry-run" if wanted.dry_run else "--yes")
    return json.dumps(rewind_cluster.job(cluster.workers(namespace, kb.name), kb.name, arguments), indent=2) + "\n"
