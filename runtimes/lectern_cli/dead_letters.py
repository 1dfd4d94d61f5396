"""`lectern dlq`: the dead letters of a knowledge base in a data directory, whose process is not running meanwhile.

On a cluster the same is `python -m lectern_runtime.maintain` in a worker's pod.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from lectern_cli import manifests, progress
from lectern_contract import names, wiring
from lectern_contract.errors import ConfigurationError
from lectern_contract.resources import KnowledgeBase
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.maintain import __main__ as maintain
from lectern_runtime.maintain.dead_letters import Filter


async def act(
    what: str, wanted: Filter, *, file: Path, data_dir: Path, knowledge_base: str | None, as_json: bool
) -> str:
    """Do `what` with the letters that are meant, and return what to tell.

    Raises `ConfigurationError` when the knowledge base is not clear, and `DataDirectoryError` while it is in use.
    """
    kb = chosen(manifests.read(file), knowledge_base, "--knowledge-base")
    check_directory(data_dir)
    settings = wiring.worker_settings(kb, generation=await answering_generation(kb, data_dir))
    with progress.shown(Console(stderr=True), f"{what}: dead letters") as display:
        return await maintain.act(
            settings,
            what,
            wanted,
            data_dir=data_dir,
            as_json=as_json,
            heard=lambda step, done, of: display.tell(progress.Reading(done, of), step),
        )


def check_directory(data_dir: Path) -> None:
    """Raise `ConfigurationError` unless `data_dir` is a directory."""
    if not data_dir.is_dir():
        raise ConfigurationError(f"--data-dir {data_dir}: not a directory; name the one that `lectern up` was given")


def chosen(found: manifests.Manifests, name: str | None, option: str) -> KnowledgeBase:
    """The knowledge base that `option` names, or the only one; raises `ConfigurationError` when that is not clear."""
    offer = ", ".join(sorted(found.knowledge_bases)) or "none"
    if name is None and len(found.knowledge_bases) == 1:
        return next(iter(found.knowledge_bases.values()))
    if name is None or name not in found.knowledge_bases:
        raise ConfigurationError(f"{option}: name one of those in the resources ({offer})")
    return found.knowledge_bases[name]


async def answering_generation(kb: KnowledgeBase, data_dir: Path) -> int:
    """The number of the index generation that answers; raises `ConfigurationError` when there is none."""
    with DataDirectory.open(data_dir, created_by=f"lectern {version('lectern')}") as data:
        store = await compose.open_store(wiring.worker_settings(kb, generation=1).store, data)
        try:
            behind = await store.resolve_alias(names.alias(kb.namespace, kb.name))
        finally:
            await store.close()
    if behind is None:
        raise ConfigurationError(f"KnowledgeBase/{kb.name} has no index in {data_dir}; run `lectern up` first")
    return int(behind.rpartition(".g")[2])
