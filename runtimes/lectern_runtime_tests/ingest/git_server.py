"""A git remote on loopback for tests: git's own `http-backend` behind a small HTTPS server, and what it serves.

The server speaks the whole smart protocol, since git itself answers; passwords and certificate are those of a test.
"""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

USERNAME, PASSWORD = "reader", "pa ss:w/ö%rd"
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.test",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.test",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


@dataclass
class Repository:
    """A repository with a work tree, so that a test writes files and pushes commits by committing them."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> Repository:
        """A repository with one empty commit on `main` that answers partial clones."""
        root.mkdir(parents=True)
        made = cls(root)
        made.git("init", "--quiet", "--initial-branch=main", ".")
        for setting in ("uploadpack.allowFilter=true", "core.quotePath=false", "core.compression=0"):
            made.git("config", *setting.split("="))
        made.git("commit", "--quiet", "--allow-empty", "--message=empty")
        return made

    def git(self, *arguments: str) -> str:
        """Run git in the work tree and return what it prints."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root.parent), **_ENVIRONMENT}
        done = subprocess.run(
            ("git", *arguments), cwd=self.root, env=environment, capture_output=True, check=True, timeout=60
        )
        return done.stdout.decode().strip()

    def write(self, files: Mapping[str, bytes | None], message: str = "change") -> str:
        """Commit these files, of which those that are None are removed, and return the commit's id."""
        for name, data in files.items():
            path = self.root / name
            if data is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        self.git("add", "--all", "--force", ".")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")


@dataclass
class GitServer:
    """The server's state, which tests read and change while it runs.

    `failures` are statuses that the next requests are answered with; `moved` is where everything is redirected to.
    `cut` is how many bytes of a pack are sent, where it is not 0.
    """

    root: Path
    port: int = 0
    scheme: str = "https"
    passwords: bool = False
    failures: list[int] = field(default_factory=list)
    moved: str = ""
    cut: int = 0
    hang: threading.Event | None = None
    hanging: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    authorized: list[str] = field(default_factory=list)

    @property
    def exchanges(self) -> int:
        """How many git commands talked to the server: each begins by asking what it has."""
        return sum("/info/refs" in path for path in self.authorized)

    def url(self, repository: str = "repository", host: str = "localhost") -> str:
        """The remote's address."""
        return f"{self.scheme}://{host}:{self.port}/{repository}/.git"


@contextmanager
def serving(root: Path, *, tls: ssl.SSLContext | None, address: str = "127.0.0.1") -> Iterator[GitServer]:
    """Serve the repositories below `root` at `address`, until the block ends."""
    state = GitServer(root, scheme="https" if tls else "http")
    handler = type("Handler", (_Handler,), {"state": state})
    with _Server((address, 0), handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            if state.hang is not None:
                state.hang.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off, as one that is killed does, is no fault of a test."""


class _Handler(BaseHTTPRequestHandler):
    state: ClassVar[GitServer]
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self._body())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the signature is http.server's
        """Tests read `asked`."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, body: bytes) -> None:
        state = self.state
        state.asked.append(self.path)
        if state.hang is not None:
            state.hanging.set()
            state.hang.wait(30)
        if state.failures:
            return self._say(state.failures.pop(0), {}, b"")
        if state.moved:
            return self._say(302, {"Location": state.moved + self.path}, b"")
        expected = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        if state.passwords and self.headers.get("Authorization") != expected:
            return self._say(401, {"WWW-Authenticate": 'Basic realm="test"'}, b"")
        state.authorized.append(self.path)
        return self._backend(body)

    def _backend(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(self.state.root),
            "GIT_PROJECT_ROOT": str(self.state.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ("git", "http-backend"), input=body, env=environment, capture_output=True, check=False, timeout=60
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        status = int(headers.pop("Status", "200 OK").split()[0])
        if self.state.cut and path.endswith("/git-upload-pack") and b"PACK" in content:
            content = content[: content.index(b"PACK") + self.state.cut]
        self._say(status, headers, content)

    def _say(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True
