"""Starts a real Redis (8 with vector sets, or 7 without) for a test and stops it afterwards.

`with redis_server() as server:` takes about 0.2 s; the programs come from `build`. Each server has its own port on
loopback, its own data, and where that is asked for a password, TLS and a file of what was written. Tests may kill,
pause and start it again. REDIS_URL names a Redis 8 that is there already; such a one is only ever talked to.

What it cannot show: clusters, fail-over, modules.
"""

import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import redis

from e2e.testbed import certificates, pieces, redis_packages
from e2e.testbed.errors import ComponentError, MissingComponent, StartFailed
from e2e.testbed.process import Process, Processes, free_ports

Version = Literal["7", "8"]
START_SECONDS = 20.0
START_ATTEMPTS = 3
STOP_SECONDS = 10.0
ANSWER_SECONDS = 5.0
BIND_FAILURE = "Address already in use"
MEMORY = Path("/dev/shm")
"""Where there is a file system in memory the server's syncs wait for no busy disk."""
UP = (b"+PONG", b"-NOAUTH", b"-NOPERM")
"""How a server that serves answers a ping of somebody unknown; one that still loads says -LOADING."""


@dataclass
class Redis:
    """A running server: where it answers (`url` holds no credentials) and how its owner is let in."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    directory: Path | None = None
    version: Version = "8"
    _processes: Processes | None = field(default=None, repr=False)
    _process: Process | None = field(default=None, repr=False)

    def owner(self) -> redis.Redis:
        """Return a client that may do everything; close it."""
        secure = {} if self.ca is None else {"ssl_ca_certs": str(self.ca)}
        timeouts = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
        return redis.Redis.from_url(self.url, username=self.username, password=self.password, **timeouts, **secure)

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._own().program.pid

    def start(self) -> None:
        """Start the server again on its data and wait until it serves; raises StartFailed."""
        processes, home = self._processes, self.directory
        if processes is None or home is None:
            raise _not_ours()
        root = pieces.path_of(pieces.REDIS, os.environ) / self.version
        self._process = processes.start("redis", redis_packages.command(root, home / "redis.conf"))
        self._process.wait_until(self._serves, START_SECONDS)

    def stop(self) -> None:
        """End the server as a person would: what it keeps is on the disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the server in its tracks: connections stay open and nothing is answered."""
        self._own().program.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._own().program.send_signal(signal.SIGCONT)

    def _serves(self) -> bool:
        parts = urlsplit(self.url)
        try:
            with socket.create_connection(("127.0.0.1", parts.port or 0), timeout=1.0) as plain:
                if self.ca is None:
                    return _pong(plain)
                with ssl.create_default_context(cafile=self.ca).wrap_socket(plain, server_hostname="127.0.0.1") as safe:
                    return _pong(safe)
        except OSError:
            return False

    def _end(self, number: int) -> None:
        program = self._own().program
        program.send_signal(signal.SIGCONT)
        program.send_signal(number)
        try:
            program.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            program.kill()
            program.wait()
            raise ComponentError(f"Redis did not end within {STOP_SECONDS:.0f} s and was killed.") from error

    def _own(self) -> Process:
        if self._process is None:
            raise _not_ours()
        return self._process


@contextmanager
def redis_server(
    version: Version = "8",
    *,
    password: bool = False,
    tls: bool = False,
    append_only: Literal["no", "everysec", "always"] = "no",
    lines: Sequence[str] = (),
) -> Iterator[Redis]:
    """Start a server in a directory of its own and yield it; kill it when the context ends.

    `lines` are added to its configuration. Raises MissingComponent when the program is missing and StartFailed when it
    is not up in time. A server that REDIS_URL names is yielded only where nothing in particular is asked for.
    """
    plain = version == "8" and not password and not tls and append_only == "no" and not lines
    if (given := os.environ.get("REDIS_URL")) and plain:
        yield _given(given)
        return
    home = Path(tempfile.mkdtemp(prefix="lectern-redis-", dir=MEMORY if MEMORY.is_dir() else None))
    started = False
    try:
        with Processes(home, stop_seconds=0.0) as processes:
            secret = secrets.token_hex(16) if password else None
            ca = certificates.ensure(home / "keys").ca if tls else None
            server = _started(Redis("", None, secret, ca, home, version, processes), append_only, lines)
            started = True
            yield server
    finally:
        if started:
            shutil.rmtree(home, ignore_errors=True)


def _given(url: str) -> Redis:
    """Return the server that a user has; credentials of the address are kept apart from it."""
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    username, password = (unquote(each) if each else None for each in (parts.username, parts.password))
    return Redis(bare, username, password)


def _started(server: Redis, append_only: str, lines: Sequence[str]) -> Redis:
    for attempt in range(1, START_ATTEMPTS + 1):
        (port,) = free_ports(1)
        server.url = f"{'rediss' if server.ca else 'redis'}://127.0.0.1:{port}/0"
        _configure(server, port, append_only, lines)
        try:
            server.start()
            return server
        except StartFailed as failure:
            # Between our look for a free port and the bind another process may have taken it.
            if attempt == START_ATTEMPTS or BIND_FAILURE not in str(failure):
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _configure(server: Redis, port: int, append_only: str, lines: Sequence[str]) -> None:
    home = server.directory
    assert home is not None
    settings = [
        "bind 127.0.0.1",
        f"port {0 if server.ca else port}",
        f"dir {home}",
        "daemonize no",
        'save ""',
        f"appendonly {'no' if append_only == 'no' else 'yes'}",
        f"appendfsync {'everysec' if append_only == 'no' else append_only}",
    ]
    if server.password:
        settings.append(f"requirepass {server.password}")
    if server.ca is not None:
        keys = home / "keys"
        settings += [f"tls-port {port}", "tls-auth-clients no", f"tls-ca-cert-file {server.ca}"]
        settings += [f"tls-cert-file {keys / 'apiserver.crt'}", f"tls-key-file {keys / 'apiserver.key'}"]
    path = home / "redis.conf"
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in (*settings, *lines)))


def _pong(connection: socket.socket) -> bool:
    connection.sendall(b"PING\r\n")
    return connection.recv(64).startswith(UP)


def _not_ours() -> MissingComponent:
    return MissingComponent("REDIS_URL names a server that the testbed neither stops nor starts; unset it.")
