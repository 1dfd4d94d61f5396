"""A settings file that an operator of another release wrote ends each program at once, with status and cause."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lectern_contract import query_wiring, settings, wiring
from lectern_runtime import programs
from lectern_runtime.embed import __main__ as worker
from lectern_runtime.ingest import __main__ as connector
from lectern_runtime.query import __main__ as query
from lectern_runtime_tests.contract.test_settings import endpoint, knowledge_base, source

Main = Callable[[Sequence[str]], int]
PROGRAMS: dict[str, tuple[Main, settings.AnySettings]] = {
    "worker": (worker.main, wiring.worker_settings(knowledge_base(), generation=1)),
    "connector": (connector.main, wiring.connector_settings(source(), knowledge_base())),
    "query": (query.main, query_wiring.query_settings(endpoint(), {"docs": knowledge_base()})),
}
OLDER, NEWER = 0, 2
MOST_SECONDS = 30


def written(directory: Path, content: settings.AnySettings, version: int) -> str:
    """Write `content` as a release with this schema version would, with one field that ours does not know."""
    file = directory / "settings.json"
    body = {**json.loads(settings.canonical(content)), "schema_version": version, "of_that_release": True}
    file.write_text(json.dumps(body))
    return str(file)


@pytest.mark.parametrize("version", [OLDER, NEWER])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_file_of_another_release_ends_the_program_with_status_2_and_both_versions(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, name: str, version: int
) -> None:
    main, content = PROGRAMS[name]

    status = main(["--settings", written(tmp_path, content, version)])

    assert status == programs.EXIT_CONFIGURATION
    told = caplog.text + capfd.readouterr().err
    assert f"schema_version: {version} was written and this image reads 1" in told
    assert "the operator and this image must be of one release" in told


def test_the_last_line_of_the_process_is_the_cause(tmp_path: Path) -> None:
    """A kubelet keeps the end of the log as termination message, and the operator reads its last line."""
    path = written(tmp_path, PROGRAMS["worker"][1], NEWER)
    command = [sys.executable, "-m", "lectern_runtime.embed", "--settings", path, "--port", "0"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MOST_SECONDS)

    assert (done.returncode, done.stdout) == (2, "")
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["message"].endswith("must be of one release (this image is older)")
