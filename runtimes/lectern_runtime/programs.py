"""What the mains of the runtimes share: their settings file, their port, their exit statuses.

Each main composes its own adapters; here are only the steps before that, with one sentence for each fault.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import TypeVar

from lectern_contract import settings
from lectern_contract.errors import ConfigurationError, DependencyError, LecternError, SettingsInvalid
from lectern_contract.settings import ConnectorSettings, QuerySettings, ReceiverSettings, WorkerSettings

EXIT_STOPPED, EXIT_FAILED, EXIT_CONFIGURATION = 0, 1, 2
"""Done as asked; a fault of the world; a fault of the configuration or the data directory."""

MOST_CONNECTIONS = 1_000
"""Of one HTTP server, idle ones included; beyond it answers 503, so that dawdlers cannot use up the descriptors."""

_OTHER = "choose another --port or --host"
_NEXT_STEPS = {
    errno.EADDRINUSE: "stop what listens there or choose another --port",
    errno.EACCES: "choose a --port from 1024 on",
    errno.EADDRNOTAVAIL: "choose a --host of this machine, such as 127.0.0.1",
}

S = TypeVar("S", ConnectorSettings, ReceiverSettings, WorkerSettings, QuerySettings)


def exit_status(error: LecternError) -> int:
    """The exit status of a program that `error` ends."""
    return EXIT_FAILED if isinstance(error, DependencyError) else EXIT_CONFIGURATION


def load_settings(path: Path, model: type[S]) -> S:
    """The settings in the file; raises `SettingsInvalid` when it is not there, damaged, or of another runtime."""
    try:
        loaded = settings.load(path.read_bytes())
    except OSError as error:
        raise SettingsInvalid(f"{path}: {error.strerror}; name the settings file with --settings") from error
    if not isinstance(loaded, model):
        wanted = model.model_fields["runtime"].default
        raise SettingsInvalid(f"{path} holds the settings of a {loaded.runtime}; this program is the {wanted} runtime")
    return loaded


def listening(host: str, port: int) -> socket.socket:
    """A bound socket; raises `ConfigurationError` when the address is none, or the port is taken or not allowed."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigurationError(
            f"--host {host}: not an address of this machine: {error.strerror}; use 127.0.0.1, or 0.0.0.0 for all"
        ) from error
    # asyncio turns Nagle's algorithm off only where the protocol is named: without it an answer waits 40 ms
    server = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(address)
        server.listen()
    except OSError as error:
        server.close()
        raise ConfigurationError(
            f"port {port} of {host} cannot be used: {error.strerror}; {_NEXT_STEPS.get(error.errno or 0, _OTHER)}"
        ) from error
    return server
