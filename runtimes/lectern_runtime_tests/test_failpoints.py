"""Failpoints: what the environment sets, and that a document comes past every one of the worker's."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.scope import Scope
from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime.failpoints import FAILPOINTS, SetFailpoint, from_environment, no_failpoint
from lectern_runtime.ports import DocumentWrite, WriteResult
from lectern_runtime_tests.pipeline import pipeline

ALLOWED = {"LECTERN_FAILPOINTS_ALLOWED": "1"}
PROGRAM = """
import os
from lectern_runtime.failpoints import from_environment
failpoint = from_environment(os.environ)
for number in range(1, 9):
    failpoint("parse")
    print(number, flush=True)
"""


async def test_a_document_comes_past_every_failpoint_of_the_worker(tmp_path: Path) -> None:
    passed: Counter[str] = Counter()
    async with pipeline(tmp_path) as pipe:
        store = await EdgeStore.open(tmp_path / "watched", failpoint=lambda name: passed.update([name]))
        real = store.write_documents

        async def overtaken(collection: str, scope: Scope, writes: Sequence[DocumentWrite]) -> Sequence[WriteResult]:
            """Another worker writes newer versions right before this one does."""
            newer = [
                each.record.model_copy(update={"version": each.record.version + 1, "chunks": 0}) for each in writes
            ]
            await real(collection, scope, [DocumentWrite(each) for each in newer])
            return await real(collection, scope, writes)

        try:
            pipe.store = store
            await pipe.worker().ensure()
            await pipe.publish(await pipe.put("a.md", "text"), await pipe.put("bad.md", b"\x00\x01" * 50))
            await pipe.index(failpoint=lambda name: passed.update([name]))
            assert [name for name in FAILPOINTS if not passed[name]] == ["withdraw-late"]
            store.write_documents = overtaken  # type: ignore[method-assign]
            await pipe.publish(await pipe.put("a.md", "other text"))
            await pipe.index(failpoint=lambda name: passed.update([name]))
        finally:
            await store.close()
    assert set(passed) == set(FAILPOINTS)


@pytest.mark.parametrize(("asked", "printed"), [("parse:3", 2), ("parse", 0)])
def test_a_set_failpoint_kills_the_process_at_its_nth_passing(asked: str, printed: int) -> None:
    environ = {**ALLOWED, "LECTERN_FAILPOINT": asked, "PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout.split()) == (
        -signal.SIGKILL,
        [str(each).encode() for each in range(1, printed + 1)],
    )


def test_an_error_is_raised_once_and_names_the_dependency() -> None:
    failpoint = from_environment({**ALLOWED, "LECTERN_FAILPOINT": "embed:error:2"})
    failpoint("embed")
    failpoint("parse")
    with pytest.raises(DependencyError, match="the failpoint 'embed' failed") as raised:
        failpoint("embed")
    assert raised.value.dependency == "embedder"
    failpoint("embed")


@pytest.mark.parametrize("environ", [{}, ALLOWED, {"LECTERN_FAILPOINT": "parse"}, {"LECTERN_FAILPOINT": "nonsense"}])
def test_nothing_is_set_unless_it_is_asked_for_and_allowed(environ: dict[str, str]) -> None:
    assert from_environment(environ) is no_failpoint


@pytest.mark.parametrize("asked", ["unheard-of", "parse:0", "parse:x", "parse:error:", "list", ":3", "parse:1:2"])
def test_a_failpoint_that_is_none_is_refused(asked: str) -> None:
    with pytest.raises(ConfigurationError, match="write NAME, NAME:N or NAME:error:N with one of fetch, parse"):
        from_environment({**ALLOWED, "LECTERN_FAILPOINT": asked})


def test_another_program_has_names_of_its_own() -> None:
    assert from_environment({**ALLOWED, "LECTERN_FAILPOINT": "list:2"}, ("list",)) == SetFailpoint("list", 2)
