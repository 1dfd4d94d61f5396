"""Starts a real Apache Kafka (one node, broker and controller in one) for a test and stops it afterwards.

`with kafka() as broker:` takes about 5 seconds; the jars come from `build`. It listens on loopback, on free ports, in
four ways: open, with user names, with TLS, with both. Tests may stop, kill, pause and start it again: its data stay as
long as the context. KAFKA_BOOTSTRAP names a broker that is there already; such a one is only ever talked to.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from e2e.testbed import certificates, java, pieces
from e2e.testbed.errors import ComponentError, MissingComponent, StartFailed
from e2e.testbed.process import Process, Processes, free_ports

START_SECONDS = 60.0
START_ATTEMPTS = 3
STOP_SECONDS = 20.0
FORMAT_SECONDS = 60.0
STARTED = b"Kafka Server started"
BIND_FAILURE = "Address already in use"
LISTENERS = ("PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL")
OWNER = "lectern"
"""The user who may do everything."""
STRANGER = "stranger"
"""The user who is let in and may do nothing."""
JAVA_OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": ",".join(["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in LISTENERS)]),
    "inter.broker.listener.name": "PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    "ssl.keystore.type": "PEM",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:ANONYMOUS;User:{OWNER}",
    # Kafka's own default, kept on purpose: a client that only asks for a topic must not make it.
    "auto.create.topics.enable": "true",
    # What a production broker often has; a topic with one copy and this default would take no message.
    "min.insync.replicas": "2",
    # A killed broker comes back when its old session has ended.
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "250",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    # Small buffers and index files: a thousand partitions in a few hundred megabytes.
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.index.size.max.bytes": "65536",
}


@dataclass
class Kafka:
    """A running broker: where it answers, by protocol of the client, and who is let in."""

    bootstrap: str
    addresses: Mapping[str, str]
    passwords: Mapping[str, str] = field(repr=False)
    directory: Path | None = None
    ca: Path | None = None
    _processes: Processes | None = None
    _process: Process | None = None

    def at(self, protocol: str) -> str:
        """Return host and port for clients of `protocol`, such as SASL_SSL."""
        if protocol not in self.addresses:
            raise _not_ours()
        return self.addresses[protocol]

    @property
    def pid(self) -> int:
        """Process id of the broker."""
        return self._own().program.pid

    @property
    def log(self) -> Path:
        """The broker's log file."""
        return self._own().log

    def start(self) -> None:
        """Start the broker again on its data and wait until it serves; raises StartFailed."""
        processes, directory = self._processes, self.directory
        if processes is None or directory is None:
            raise _not_ours()
        log = processes.logs / "kafka.log"
        before = log.stat().st_size if log.exists() else 0
        command = _java("kafka.Kafka", str(directory / "server.properties"))
        self._process = process = processes.start("kafka", command)
        process.wait_until(lambda: STARTED in _from(log, before), START_SECONDS)

    def stop(self) -> None:
        """End the broker as a person would: it closes its files, and hands nothing over."""
        self.resume()
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker at once."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the broker in its tracks: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused broker go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: int) -> None:
        program = self._own().program
        program.send_signal(number)
        try:
            program.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            program.kill()
            program.wait()
            raise ComponentError(
                f"Kafka did not end within {STOP_SECONDS:.0f} s and was killed; see {self.log}."
            ) from error

    def _own(self) -> Process:
        if self._process is None:
            raise _not_ours()
        return self._process


@contextmanager
def kafka(directory: Path | None = None, advertised: Mapping[str, str] | None = None) -> Iterator[Kafka]:
    """Start a broker in `directory` (a temporary one without it) and yield it; kill it when the context ends.

    `advertised` is what it tells clients of a protocol as its address, where that is another: of a proxy before it.

    Raises MissingComponent when the jars or Java are missing and StartFailed when it is not up within a minute.
    """
    if given := os.environ.get("KAFKA_BOOTSTRAP"):
        yield Kafka(bootstrap=given, addresses={"PLAINTEXT": given}, passwords={})
        return
    home = Path(tempfile.mkdtemp(prefix="lectern-kafka-")) if directory is None else directory
    home.mkdir(parents=True, exist_ok=True)
    started = False
    try:
        with Processes(home, stop_seconds=0.0) as processes:
            broker = _started(home, processes, advertised or {})
            started = True
            yield broker
    finally:
        if directory is None and started:
            shutil.rmtree(home, ignore_errors=True)


def _started(home: Path, processes: Processes, advertised: Mapping[str, str]) -> Kafka:
    for attempt in range(1, START_ATTEMPTS + 1):
        broker = _prepared(home, processes, advertised)
        try:
            broker.start()
            return broker
        except StartFailed as failure:
            processes.stop()
            # Between our look for free ports and the bind another process may have taken one.
            if attempt == START_ATTEMPTS or BIND_FAILURE not in str(failure):
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _prepared(home: Path, processes: Processes, advertised: Mapping[str, str]) -> Kafka:
    """Write keys and settings, and format the data directory where it is new."""
    keys = certificates.ensure(home / "keys")
    *ports, controller = free_ports(len(LISTENERS) + 1)
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(LISTENERS, ports, strict=True)}
    told = {**addresses, **advertised}
    passwords = {user: secrets.token_hex(12) for user in (OWNER, STRANGER)}
    settings = {
        **SETTINGS,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": ",".join(
            [*(f"{n}://{at}" for n, at in addresses.items()), f"CONTROLLER://127.0.0.1:{controller}"]
        ),
        "advertised.listeners": ",".join(f"{name}://{address}" for name, address in told.items()),
        "log.dirs": str(home / "data"),
        "ssl.keystore.location": str(_key_store(home, keys)),
        **_logins(passwords),
    }
    properties = home / "server.properties"
    properties.touch(mode=0o600)
    properties.write_text("".join(f"{name}={value}\n" for name, value in sorted(settings.items())))
    shutil.rmtree(home / "data", ignore_errors=True)  # the users' passwords are part of the format
    _format(properties, passwords)
    return Kafka(addresses["PLAINTEXT"], addresses, passwords, home, keys.ca, processes)


def _logins(passwords: Mapping[str, str]) -> dict[str, str]:
    users = " ".join(f'user_{user}="{password}"' for user, password in passwords.items())
    modules = "org.apache.kafka.common.security"
    found = {}
    for listener in ("sasl_plaintext", "sasl_ssl"):
        prefix = f"listener.name.{listener}"
        found[f"{prefix}.plain.sasl.jaas.config"] = f"{modules}.plain.PlainLoginModule required {users};"
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            found[f"{prefix}.{mechanism}.sasl.jaas.config"] = f"{modules}.scram.ScramLoginModule required;"
    return found


def _key_store(home: Path, keys: certificates.Certificates) -> Path:
    """Write key and certificate in one file, the key in the only form that Java reads."""
    key = serialization.load_pem_private_key(keys.server_key.read_bytes(), password=None)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    store = home / "keys" / "broker.pem"
    store.touch(mode=0o600)
    store.write_bytes(encoded + keys.server_certificate.read_bytes())
    return store


def _format(properties: Path, passwords: Mapping[str, str]) -> None:
    cluster = uuid.uuid4()
    command = _java("kafka.tools.StorageTool", "format", "-t", str(cluster), "-c", str(properties))
    for user, password in passwords.items():
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            command += ["--add-scram", f"{mechanism}=[name={user},password={password},iterations=4096]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
    if done.returncode != 0:
        said = " | ".join((done.stdout + done.stderr).strip().splitlines()[:5])  # a stack follows
        raise StartFailed(f"Kafka's data directory cannot be formatted, status {done.returncode}: {said}")


def _java(main: str, *arguments: str) -> list[str]:
    jars = pieces.path_of(pieces.KAFKA, os.environ) / "jars"
    return [str(java.find(os.environ)), *JAVA_OPTIONS, "-cp", f"{jars}/*", main, *arguments]


def _from(log: Path, start: int) -> bytes:
    with log.open("rb") as file:
        file.seek(start)
        return file.read()


def _not_ours() -> MissingComponent:
    return MissingComponent(
        "KAFKA_BOOTSTRAP names a broker that the testbed neither stops nor has users at; unset it for this test."
    )
