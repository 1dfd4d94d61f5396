"""`lectern dlq` over a data directory that a real run has left."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lectern_cli.main import app
from lectern_cli_tests.test_manifests import KB, write
from lectern_contract import names, wiring
from lectern_contract.generation import index_identity
from lectern_contract.resources import KnowledgeBase, parse
from lectern_runtime import topics
from lectern_runtime.adapters.data_directory import DataDirectory
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.ports import CollectionSpec


@pytest.fixture
def laid(tmp_path: Path) -> list[str]:
    """Options for resources and a data directory with an index and no letter."""
    (tmp_path / "resources").mkdir()
    file = write(tmp_path / "resources", kb=KB)
    kb = parse(yaml.safe_load(KB))
    assert isinstance(kb, KnowledgeBase)

    async def lay() -> None:
        with DataDirectory.open(tmp_path / "data", created_by="test") as data:
            log = await SqliteLog.open(data.log_path)
            settings = wiring.worker_settings(kb, generation=3)
            await topics.ensure(log, settings.log, namespace=kb.namespace, knowledge_base=kb.name)
            await log.close()
            store = await EdgeStore.open(data.store_path)
            collection = names.collection(kb.namespace, kb.name, 3)
            await store.ensure_collection(CollectionSpec(collection, 384, True, index_identity(kb.spec)))
            await store.point_alias(names.alias(kb.namespace, kb.name), collection)
            await store.close()

    asyncio.run(lay())
    return ["-f", str(file), "--data-dir", str(tmp_path / "data")]


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["dlq", *arguments])
    return done.exit_code, done.output


def test_without_letters_it_says_so(laid: list[str]) -> None:
    assert run("list", *laid) == (0, "no document is given up\n")
    assert run("replay", *laid) == (0, "0 messages said again\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["drop"], "drop needs --source, --reason, --uri or --since"),
        (["list", "--knowledge-base", "other"], "name one of those in the resources (guides)"),
        (["list", "--since", "today"], "no moment"),
        (["burn"], "is none of list, show, replay, drop"),
    ],
)
def test_what_cannot_be_meant_is_refused(laid: list[str], arguments: list[str], words: str) -> None:
    status, said = run(*arguments, *laid)
    assert status == 2
    assert words in said.replace("\n", " ")


def test_a_directory_that_is_not_there_is_said(laid: list[str], tmp_path: Path) -> None:
    status, said = run("list", *laid[:2], "--data-dir", str(tmp_path / "absent"))
    assert (status, "not a directory" in said) == (2, True)


def test_a_directory_in_use_is_left_alone(laid: list[str]) -> None:
    with DataDirectory.open(Path(laid[3]), created_by="test"):
        status, said = run("list", *laid)
    assert (status, "in use" in said) == (2, True)
