"""What a data directory tells of its sources while no process has it open: the catalogue, and what waits on the log.

Reports of runs lie nowhere in it, so that of the last run only its manifest is known.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from lectern_cli import counting, manifests, sources
from lectern_cli.dead_letters import answering_generation, check_directory
from lectern_cli.sources import Extra, Source
from lectern_contract import names, wiring
from lectern_contract.errors import ConfigurationError
from lectern_contract.resources import IngestionSource, KnowledgeBase
from lectern_contract.resources.status import DeadLetters, DocumentCounts, IngestionSourceStatus
from lectern_contract.scope import Partition
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory

STOPPED = "`lectern up` is not running"
_NOT_KEPT = "reports of runs are not kept in a data directory"


async def tell(file: Path, data_dir: Path) -> list[Source]:
    """Every source of the resources in `file`, whose state lies in `data_dir`.

    Raises `ConfigurationError` when it does not, and `DataDirectoryError` while another process has it open.
    """
    read = manifests.read(file)
    check_directory(data_dir)
    found: list[Source] = []
    for kb in read.knowledge_bases.values():
        mine = [each for each in read.sources.values() if each.spec.knowledge_base_ref == kb.name]
        found += await _of_base(kb, mine, data_dir)
    return found


async def _of_base(kb: KnowledgeBase, mine: list[IngestionSource], data_dir: Path) -> list[Source]:
    try:
        generation = await answering_generation(kb, data_dir)
    except ConfigurationError:
        nothing = "there is no index yet"
        extra = Extra(pending=nothing, freshness=STOPPED, unknown={"nextRun": STOPPED, "lastRun": nothing})
        return [sources.of(_document(each, None), extra) for each in mine]
    settings = wiring.worker_settings(kb, generation=generation)
    with DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}") as data:
        log = await compose.open_log(settings.log, data)
        try:
            topic = names.topic(kb.namespace, kb.name, names.Topic.DOCUMENTS)
            waiting = await log.lag(topic, group=names.consumer_group(kb.namespace, kb.name, generation))
        finally:
            await log.close()
        store = await compose.open_store(settings.store, data)
        try:
            collection = names.collection(kb.namespace, kb.name, generation)
            counted = await counting.count(store, collection, _partitions(mine))
        finally:
            await store.close()
    extra = Extra(pending=waiting, freshness=STOPPED, unknown={"nextRun": STOPPED, "lastRun": _NOT_KEPT})
    return [
        sources.of(_document(each, None if counted is None else counted.get(each.name, counting.Counted())), extra)
        for each in mine
    ]


def _partitions(mine: list[IngestionSource]) -> list[Partition]:
    """Every partition that these sources put documents into by their specs, in order."""
    found: set[Partition] = set()
    for source in mine:
        here = source.spec.partition
        named = [(here.tenant, here.access_level)]
        named += [(rule.tenant, rule.access_level) for rule in source.spec.partition_rules]
        levels = [here.restricted_access_level] if here.restricted_access_level is not None else []
        found.update(Partition(tenant, level) for tenant, level in named)
        found.update(Partition(tenant, level) for tenant, _ in named for level in levels)
    return sorted(found)


def _document(source: IngestionSource, counted: counting.Counted | None) -> dict[str, object]:
    """The source with a status of what was counted; callers may push to partitions that its spec does not name."""
    status = IngestionSourceStatus()
    if counted is not None and source.spec.push is None:
        status = IngestionSourceStatus(
            documents=DocumentCounts(indexed=counted.indexed, failed=counted.failed),
            dead_letter=DeadLetters(count=counted.failed, last_reason=counted.last_reason),
        )
    body = source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"status"})
    return {**body, "status": status.model_dump(mode="json", by_alias=True, exclude_none=True)}
