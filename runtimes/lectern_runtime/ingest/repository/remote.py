"""How git reaches one remote: the environment it runs in and the credentials, which are read anew for each command.

Used by `checkout.py` and `blobs.py`. Credentials lie in files of a private directory that only git and ssh read: they
are in no argument, no address and no error. git offers a password to the host of `spec.git.url` and to no other.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lectern_contract.errors import ConfigurationError
from lectern_contract.source_settings import GitSource
from lectern_runtime.ingest.connector import SourceUnavailable, Throttle
from lectern_runtime.ingest.repository import faults
from lectern_runtime.ingest.repository.program import Ended, Git
from lectern_runtime.ingest.retries import Retries

COMMAND_SECONDS = 900.0
"""One exchange with the remote, as a whole."""
STALL_SECONDS = 30
STALL_BYTES = 100
"""An https remote that sends fewer bytes a second than this for `STALL_SECONDS` is given up."""
CONNECT_SECONDS = 15
MAX_SECRET_BYTES = 1 << 16
_CREDENTIALS = "spec.git.credentialsSecretRef"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the Secret holds: a user with a password, or a key with the hosts it is for; all empty without one."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ssh_key: str = field(default="", repr=False)
    known_hosts: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Remote:
    """The remote of `source`. `home` is a private directory; `protocols` and `ssh` are replaced in tests only."""

    source: GitSource
    home: Path
    throttle: Throttle
    retries: Retries
    protocols: str = "https:ssh"
    ssh: str = "ssh"
    seconds: float = COMMAND_SECONDS

    async def prepare(self, directory: Path) -> Git:
        """Make an empty repository at `directory` that knows the remote."""
        git = Git(self._environment(), directory)
        await asyncio.to_thread(directory.mkdir, parents=True)
        ended = await git.run(("init", "--quiet", "--bare", "--template=", "."), seconds=self.seconds)
        if ended.status:
            raise faults.fault("a private repository", ended.errors)
        # Not by arguments: those are seen by all who may list processes.
        await asyncio.to_thread(_append, directory / "config", _repository_config(self.source.url))
        return git

    async def ask(
        self,
        git: Git,
        arguments: Sequence[str],
        *,
        what: str,
        given: bytes = b"",
        file_bytes: int | None = None,
        expected: Callable[[Ended], bool] = lambda _: False,
    ) -> Ended:
        """Run a command that talks to the remote, again after a passing fault; one that is `expected` to fail may.

        Raises `SourceUnavailable`, or `ConfigurationError` for credentials that do not fit the address.
        """

        async def attempt() -> Ended:
            secrets = await asyncio.to_thread(self._write)
            await self.throttle()
            try:
                ended = await git.run(arguments, seconds=self.seconds, given=given, file_bytes=file_bytes)
            except TimeoutError as error:
                raise faults.silent(what, self.seconds) from error
            if ended.status and not expected(ended):
                raise faults.fault(what, ended.errors, hidden=(secrets.username, secrets.password))
            return ended

        return await self.retries.call(attempt)

    # ------------------------------------------------------------------------------ what git is told

    def _environment(self) -> dict[str, str]:
        ssh = (
            f"{self.ssh} -F /dev/null -i {self._quoted('key')} -o IdentitiesOnly=yes -o BatchMode=yes "
            f"-o UserKnownHostsFile={self._quoted('known_hosts')} -o GlobalKnownHostsFile=/dev/null "
            "-o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o ForwardAgent=no -o ControlMaster=no "
            f"-o ConnectTimeout={CONNECT_SECONDS} -o ServerAliveInterval=10 -o ServerAliveCountMax=3"
        )
        return {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "TMPDIR": str(self.home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.home / "config"),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "false",
            "SSH_ASKPASS": "false",
            "GIT_ALLOW_PROTOCOL": self.protocols,
            "GIT_SSH_COMMAND": ssh,
            "GIT_SSH_VARIANT": "ssh",
        }

    def _quoted(self, name: str) -> str:
        return shlex.quote(str(self.home / name))

    def _write(self) -> Secrets:
        """Write configuration and credentials as they are now."""
        secrets = self._read_secrets()
        lines = list(_CONFIG)
        if self.source.ca_file is not None:
            lines += ["[http]", f"sslCAInfo = {_config_text(self.source.ca_file)}"]
        if secrets.password:
            address = urlsplit(self.source.url)
            offer = f'!f() {{ test "$1" = get && cat {self._quoted("password")}; }}; f'
            lines += [f"[credential {_config_text(f'https://{address.netloc}')}]", f"helper = {_config_text(offer)}"]
            _private(self.home / "password", f"username={secrets.username}\npassword={secrets.password}\n")
        if secrets.ssh_key:
            _private(self.home / "key", secrets.ssh_key.rstrip() + "\n")
            _private(self.home / "known_hosts", secrets.known_hosts.rstrip() + "\n")
        _private(self.home / "config", "\n".join(lines) + "\n")
        return secrets

    def _read_secrets(self) -> Secrets:
        directory = self.source.credentials_directory
        over_https = self.source.url.startswith(("https:", "file:", "http:"))
        if directory is None:
            if over_https:
                return Secrets()
            raise ConfigurationError(
                f"spec.git.url names ssh and {_CREDENTIALS} no Secret; name one with sshKey and knownHosts"
            )
        if over_https:
            found = Secrets(username=_line(directory, "username"), password=_line(directory, "password"))
            missing = [name for name, text in (("username", found.username), ("password", found.password)) if not text]
        else:
            found = Secrets(ssh_key=_text(directory, "sshKey"), known_hosts=_text(directory, "knownHosts"))
            pairs = (("sshKey", found.ssh_key), ("knownHosts", found.known_hosts))
            missing = [name for name, text in pairs if not text.strip()]
        if missing:
            raise ConfigurationError(
                f"the Secret of {_CREDENTIALS} lacks {' and '.join(missing)}, which a remote by "
                f"{'https' if over_https else 'ssh'} needs; add it"
            )
        return found


_CONFIG = (
    "[core]",
    "hooksPath = /dev/null",
    "bigFileThreshold = 16m",
    "deltaBaseCacheLimit = 16m",
    "[gc]",
    "auto = 0",
    "[maintenance]",
    "auto = false",
    "[pack]",
    "threads = 1",
    "[protocol]",
    "version = 2",
    "[fetch]",
    "recurseSubmodules = false",
    "negotiationAlgorithm = noop",
    "[http]",
    "sslVerify = true",
    "followRedirects = initial",
    f"lowSpeedLimit = {STALL_BYTES}",
    f"lowSpeedTime = {STALL_SECONDS}",
)


def _repository_config(url: str) -> str:
    return (
        '[remote "origin"]\n'
        f"url = {_config_text(url)}\n"
        "promisor = true\n"
        "partialCloneFilter = blob:none\n"
        "[extensions]\n"
        "partialClone = origin\n"
    )


def _config_text(text: str) -> str:
    """Quote a value, or the name of a section, as git's configuration files want it."""
    if re.search(r"[\n\r\0]", text):
        raise ConfigurationError("spec.git holds a line break; remove it")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)
    # An extension is only read in this version of the format.
    path.write_text(path.read_text().replace("repositoryformatversion = 0", "repositoryformatversion = 1"))


def _private(path: Path, text: str) -> None:
    """Replace a file at once: a program that starts meanwhile reads the old one or the new one."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _line(directory: str, name: str) -> str:
    text = _text(directory, name).strip("\r\n")
    if re.search(r"[\n\r\0]", text):
        raise ConfigurationError(f"{name} in the Secret of {_CREDENTIALS} has several lines; write one")
    return text


def _text(directory: str, name: str) -> str:
    try:
        with Path(directory, name).open("rb") as stream:
            return stream.read(MAX_SECRET_BYTES).decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        raise SourceUnavailable(
            f"{name} in the Secret of {_CREDENTIALS} cannot be read ({type(error).__name__}); correct it"
        ) from error
