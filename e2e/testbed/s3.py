"""Starts a real S3 server (Versity S3 Gateway over a directory) for a test and stops it afterwards.

`with s3() as store:` takes less than a second; the program comes from `build`. It listens on loopback, on a free port,
with TLS where that is asked for, and knows two users: the owner of every bucket, and one who is let in and may do
nothing. S3_URL, with S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, names a server that is there already.

What it cannot show: limits of rate, several regions, storage that must be restored before it is read.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.testbed import certificates, pieces
from e2e.testbed.errors import ComponentError, MissingComponent, StartFailed
from e2e.testbed.process import Process, Processes, free_ports

START_SECONDS = 20.0
START_ATTEMPTS = 3
USER_SECONDS = 20.0
STOP_SECONDS = 5.0
BIND_FAILURE = "address already in use"
REQUESTS = "requests.log"
REGION = "us-east-1"
MEMORY = Path("/dev/shm")
"""Where there is a file system in memory the server's syncs wait for no busy disk."""


@dataclass(frozen=True)
class Keys:
    """What a user signs requests with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass
class S3:
    """A running server: where it answers and who is let in; `directory` holds a folder for each bucket."""

    url: str
    owner: Keys
    stranger: Keys | None = None
    directory: Path | None = None
    ca: Path | None = None
    _processes: Processes | None = None
    _process: Process | None = None

    @property
    def buckets(self) -> Path:
        """The directory behind the server: one folder a bucket, one file an object."""
        if self.directory is None:
            raise _not_ours()
        return self.directory / "buckets"

    @property
    def outsider(self) -> Keys:
        """The user who is let in and may do nothing."""
        if self.stranger is None:
            raise _not_ours()
        return self.stranger

    def start(self) -> None:
        """Start the server again on its data and wait until it listens; raises StartFailed."""
        processes, home = self._processes, self.directory
        if processes is None or home is None:
            raise _not_ours()
        address = self.url.partition("://")[2]
        tls: list[str | Path] = (
            [] if self.ca is None else ["--cert", home / "keys/apiserver.crt", "--key", home / "keys/apiserver.key"]
        )
        command: list[str | Path] = [
            _program(),
            "--quiet",
            "--keep-alive",
            "--port",
            address,
            "--region",
            REGION,
            "--iam-dir",
            home / "users",
            "--access-log",
            home / REQUESTS,
            *tls,
        ]
        # A sidecar: the attributes of files that it would use else are not there on every file system.
        command += ["posix", "--sidecar", home / "attributes", home / "buckets"]
        self._process = processes.start("s3", command, _environment(self.owner, "ROOT"))
        host, _, port = address.partition(":")
        self._process.wait_until(lambda: _listens(host, int(port)), START_SECONDS)

    def requests(self) -> int:
        """How many requests the server has answered."""
        if self.directory is None:
            raise _not_ours()
        log = self.directory / REQUESTS
        return log.read_bytes().count(b"\n") if log.exists() else 0

    def kill(self) -> None:
        """End the server at once."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the server in its tracks: connections stay open and nothing is answered."""
        self._own().program.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._own().program.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        program = self._own().program
        program.send_signal(number)
        program.wait(timeout=STOP_SECONDS)

    def _own(self) -> Process:
        if self._process is None:
            raise _not_ours()
        return self._process


@contextmanager
def s3(*, tls: bool = False) -> Iterator[S3]:
    """Start a server in a directory of its own and yield it; kill it when the context ends.

    Raises MissingComponent when the program is missing and StartFailed when it is not up in time.
    """
    if (given := os.environ.get("S3_URL")) and not tls:
        yield S3(given, _given_keys(os.environ))
        return
    home = Path(tempfile.mkdtemp(prefix="lectern-s3-", dir=MEMORY if MEMORY.is_dir() else None))
    started = False
    try:
        with Processes(home, stop_seconds=0.0) as processes:
            store = _started(home, processes, tls=tls)
            started = True
            yield store
    finally:
        if started:
            shutil.rmtree(home, ignore_errors=True)


def _given_keys(environment: Mapping[str, str]) -> Keys:
    try:
        return Keys(environment["S3_ACCESS_KEY_ID"], environment["S3_SECRET_ACCESS_KEY"])
    except KeyError as missing:
        raise MissingComponent(
            f"S3_URL is set and {missing.args[0]} is not; set both S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, "
            "or unset S3_URL"
        ) from None


def _started(home: Path, processes: Processes, *, tls: bool) -> S3:
    for name in ("attributes", "buckets", "users"):
        (home / name).mkdir()
    ca = certificates.ensure(home / "keys").ca if tls else None
    owner, stranger = (Keys(name, secrets.token_hex(16)) for name in ("owner", "stranger"))
    for attempt in range(1, START_ATTEMPTS + 1):
        (port,) = free_ports(1)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        store = S3(url, owner, stranger, home, ca, processes)
        try:
            store.start()
            _let_in(store, stranger)
            return store
        except StartFailed as failure:
            processes.stop()
            # Between our look for a free port and the bind another process may have taken it.
            if attempt == START_ATTEMPTS or BIND_FAILURE not in str(failure):
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _let_in(store: S3, user: Keys) -> None:
    command = [_program(), "admin", "--endpoint-url", store.url, "--region", REGION, "--allow-insecure", "create-user"]
    command += ["--role", "user", "--access", user.access_key_id, "--secret", user.secret_access_key]
    done = subprocess.run(
        command,
        env=_environment(store.owner, "ADMIN"),
        capture_output=True,
        text=True,
        timeout=USER_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ComponentError(f"The S3 server took no user, status {done.returncode}: {done.stderr.strip()[:500]}")


def _environment(keys: Keys, role: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        f"{role}_ACCESS_KEY_ID": keys.access_key_id,
        f"{role}_SECRET_ACCESS_KEY": keys.secret_access_key,
    }


def _program() -> str:
    return str(pieces.path_of(pieces.S3, os.environ) / "bin" / "versitygw")


def _listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex((host, port)) == 0


def _not_ours() -> MissingComponent:
    return MissingComponent(
        "S3_URL names a server that the testbed neither stops nor has users at; unset it for this test."
    )
