"""Connector and worker as programs: settings in, exit status and termination message out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lectern_contract import reports, settings
from lectern_contract.settings import EmbedderSettings, InProcessModel, KafkaLog
from lectern_runtime.adapters import compose
from lectern_runtime.embed import __main__ as worker
from lectern_runtime.ingest import __main__ as connector
from lectern_runtime_tests.pipeline import StubEmbedder, connector_settings, pipeline, worker_settings


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Leave the root logger as it was: the programs set it up for their process."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level


def write(path: Path, content: settings.AnySettings) -> str:
    path.write_text(settings.canonical(content))
    return str(path)


def embedder() -> EmbedderSettings:
    return EmbedderSettings(
        model="sentence-transformers/all-MiniLM-L6-v2",
        revision="main",
        dimensions=384,
        max_input_tokens=256,
        query_prefix="",
        document_prefix="",
        source=InProcessModel(),
    )


def test_a_run_ends_with_its_report_as_termination_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, told = tmp_path / "source", tmp_path / "termination-log"
    source.mkdir()
    (source / "a.md").write_text("text")
    told.touch()
    monkeypatch.setattr(connector, "TERMINATION_LOG", told)
    file = write(tmp_path / "settings.json", connector_settings(source))
    arguments = ["--settings", file, "--data-dir", str(tmp_path / "data")]
    assert connector.main(arguments) == 0
    assert reports.decode(told.read_bytes()).published == 1
    (source / "a.md").unlink()
    assert connector.main(arguments) == 1
    assert reports.decode(told.read_bytes()).reason == "SourceEmpty"


def test_faults_of_the_configuration_end_with_status_2(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kafka = KafkaLog(
        bootstrap_servers="kafka:9092",
        security_protocol="PLAINTEXT",
        sasl_mechanism=None,
        username_file=None,
        password_file=None,
        ca_file=None,
    )
    for_connector = write(tmp_path / "connector.json", connector_settings(tmp_path, log=kafka))
    for_worker = write(tmp_path / "worker.json", worker_settings())
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    cases = [
        (connector.main, str(tmp_path / "absent.json"), "name the settings file with --settings"),
        (connector.main, str(wrong), "settings.json"),
        (connector.main, for_worker, "holds the settings of a worker; this program is the connector"),
        (connector.main, for_connector, "no server for the blob store"),
        (worker.main, for_connector, "holds the settings of a connector; this program is the worker"),
        (worker.main, for_worker, "no data directory"),
    ]
    for main, file, words in cases:
        caplog.clear()
        arguments = ["--port", "0"] if main is worker.main else []
        assert main(["--settings", file, *arguments]) == 2
        assert words in caplog.text


async def _index_through_programs(tmp_path: Path) -> None:
    async with pipeline(tmp_path, tmp_path / "source") as pipe:
        records = await pipe.records()
        assert {uri: record.chunks for uri, record in records.items()} == {"public:a.md": 1}


def test_the_worker_indexes_what_the_connector_said_and_ends_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    monkeypatch.setattr(compose, "open_embedder", lambda _settings: StubEmbedder())
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.md").write_text("some text")
    data = ["--data-dir", str(tmp_path / "data")]
    assert connector.main(["--settings", write(tmp_path / "c.json", connector_settings(source)), *data]) == 0
    assert (
        worker.main(["--settings", write(tmp_path / "w.json", worker_settings()), *data, "--once", "--port", "0"]) == 0
    )
    asyncio.run(_index_through_programs(tmp_path))


def test_a_model_that_is_not_the_one_in_process_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = worker_settings(embedder=embedder().model_copy(update={"dimensions": 768}))
    file = write(tmp_path / "w.json", other)
    assert worker.main(["--settings", file, "--data-dir", str(tmp_path / "data"), "--port", "0"]) == 2
    assert "asks for sentence-transformers/all-MiniLM-L6-v2 with 768 dimensions" in caplog.text
