"""A double of Google Drive's API on loopback, of recorded shape: it stands for the vendor, and is not the vendor.

It refuses what Google refuses: a token it did not give, a page token it does not know, a query it cannot read, a
service account that it does not know. Pages are small, so that every list has several.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lectern_runtime_tests.ingest.web_server import listening

EMAIL = "reader@project.iam.test"
FOLDER, DOCUMENT = "application/vnd.google-apps.folder", "application/vnd.google-apps.document"
SHORTCUT = "application/vnd.google-apps.shortcut"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ROOT = "root-folder"
PAGE = 3
EXPORT_LIMIT = 10_000_000
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@cache
def key() -> tuple[str, rsa.RSAPublicKey]:
    """The service account's private key as PEM, and the public one."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode(), private.public_key()


@dataclass
class DriveServer:
    """The state of the cloud, which tests read and change while it runs.

    `failures` are answers that come before any other: a status, a reason, and headers. `turning` makes the second page
    of every list lead to itself.
    """

    port: int = 0
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    oldest: int = 0
    tokens: set[str] = field(default_factory=set)
    pages: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[int, str, Mapping[str, str]]] = field(default_factory=list)
    broken: bool = False
    incomplete: bool = False
    turning: bool = False
    asked: list[str] = field(default_factory=list)
    numbers: int = 0

    def __post_init__(self) -> None:
        self.files[ROOT] = {"id": ROOT, "name": "root", "mimeType": FOLDER, "trashed": False, "permissionIds": ["all"]}

    def url(self, path: str = "") -> str:
        """An address below the server."""
        return f"http://127.0.0.1:{self.port}{path}"

    def key_file(self) -> str:
        """The service account's key, as Google writes it."""
        return json.dumps(
            {
                "type": "service_account",
                "client_email": EMAIL,
                "private_key": key()[0],
                "private_key_id": "1",
                "token_uri": self.url("/token"),
            }
        )

    # ------------------------------------------------------------------------------- what people do

    def folder(self, name: str, parent: str = ROOT, **facts: Any) -> str:
        """A new folder; returns its id."""
        return self._made(name, parent, FOLDER, b"", **facts)

    def file(self, name: str, data: bytes, parent: str = ROOT, media_type: str = "text/markdown", **facts: Any) -> str:
        """A new file; returns its id."""
        return self._made(name, parent, media_type, data, **facts)

    def edit(self, file_id: str, data: bytes | None = None, **facts: Any) -> None:
        """Change the bytes or the facts of a file."""
        found = self.files[file_id]
        found["version"] = str(int(found["version"]) + 1) if "version" in found else "1"
        found.update(facts)
        if data is not None:
            self.data[file_id] = data
            if not found["mimeType"].startswith("application/vnd.google-apps."):
                found |= {"size": str(len(data)), "md5Checksum": hashlib.md5(data, usedforsecurity=False).hexdigest()}
        self.log.append(file_id)

    def remove(self, file_id: str) -> None:
        """Remove a file, or a folder with all in it; of what was in it nothing is told."""
        for each in [each for each, found in self.files.items() if found.get("parents") == [file_id]]:
            self._forget(each)
        self._forget(file_id)
        self.log.append(file_id)

    def _forget(self, file_id: str) -> None:
        for each in [each for each, found in self.files.items() if found.get("parents") == [file_id]]:
            self._forget(each)
        del self.files[file_id]
        self.data.pop(file_id, None)

    def _made(self, name: str, parent: str, media_type: str, data: bytes, **facts: Any) -> str:
        self.numbers += 1
        file_id = f"id-{self.numbers}"
        self.files[file_id] = {"id": file_id, "name": name, "mimeType": media_type, "parents": [parent]}
        self.files[file_id] |= {"trashed": False, "permissionIds": ["all"], "version": "1"}
        self.edit(file_id, data if media_type != FOLDER else None, **facts)
        return file_id

    # -------------------------------------------------------------------------------- what it answers

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as the vendor does."""
        self.asked.append(request.path_qs)
        if self.broken:
            return _refusal(503, "backendError")
        if self.failures:
            status, reason, headers = self.failures.pop(0)
            return _refusal(status, reason, headers)
        if request.path == "/token":
            return await self._give_token(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _refusal(401, "authError")
        path = request.path.removeprefix("/drive/v3")
        if path == "/files":
            return self._list(request)
        if path == "/changes/startPageToken":
            return web.json_response({"startPageToken": str(len(self.log))})
        if path == "/changes":
            return self._changes(request)
        return self._file(request, path.removeprefix("/files/"))

    async def _give_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        try:
            claims = jwt.decode(str(form["assertion"]), key()[1], ["RS256"], audience=self.url("/token"))
        except jwt.PyJWTError:
            return web.json_response({"error": "invalid_grant", "error_description": "no"}, status=400)
        if form["grant_type"] != _GRANT or claims["iss"] != EMAIL or not claims["scope"].endswith("drive.readonly"):
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.tokens.add(token := f"token-{len(self.tokens)}-{time.monotonic_ns()}")
        return web.json_response({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _list(self, request: web.Request) -> web.Response:
        wanted = re.fullmatch(r"'((?:[^'\\]|\\.)*)' in parents and trashed = false", request.query.get("q", ""))
        if wanted is None or request.query.get("includeItemsFromAllDrives") != "true":
            return _refusal(400, "invalid")
        parent = re.sub(r"\\(.)", r"\1", wanted[1])
        if parent not in self.files:
            return _refusal(404, "notFound")
        found = [each for each in self.files.values() if each.get("parents") == [parent] and not each["trashed"]]
        start = self._start(request, f"list-{parent}-")
        if start is None:
            return _refusal(400, "invalid")
        page: dict[str, Any] = {"files": found[start : start + PAGE], "incompleteSearch": self.incomplete}
        if start + PAGE < len(found):
            page["nextPageToken"] = self._page_token(f"list-{parent}-{start + PAGE}", start + PAGE)
        if self.turning:
            page["nextPageToken"] = request.query.get("pageToken") or page["nextPageToken"]
        return web.json_response(page)

    def _changes(self, request: web.Request) -> web.Response:
        token = request.query["pageToken"]
        if not token.isdigit() or int(token) > len(self.log):
            return _refusal(400, "invalid")
        start = int(token)
        if start < self.oldest:
            return _refusal(410, "gone")
        page: dict[str, Any] = {"changes": [self._change(each) for each in self.log[start : start + PAGE]]}
        page |= (
            {"nextPageToken": str(start + PAGE)}
            if start + PAGE < len(self.log)
            else {"newStartPageToken": str(len(self.log))}
        )
        if self.turning:
            page.pop("newStartPageToken", None)
            page["nextPageToken"] = token
        return web.json_response(page)

    def _change(self, file_id: str) -> dict[str, Any]:
        found = self.files.get(file_id)
        change: dict[str, Any] = {"changeType": "file", "fileId": file_id, "removed": found is None}
        return change | ({"file": found} if found is not None else {})

    def _file(self, request: web.Request, path: str) -> web.Response:
        file_id, _, verb = path.partition("/")
        found = self.files.get(file_id)
        if found is None:
            return _refusal(404, "notFound")
        google = found["mimeType"].startswith("application/vnd.google-apps.")
        if verb == "export":
            if not google or request.query["mimeType"] != DOCX:
                return _refusal(403, "fileNotExportable")
            if len(self.data[file_id]) > EXPORT_LIMIT:
                return _refusal(403, "exportSizeLimitExceeded")
            return web.Response(body=self.data[file_id], content_type=DOCX)
        if request.query.get("alt") != "media":
            return web.json_response(found)
        if google:
            return _refusal(403, "fileNotDownloadable")
        return web.Response(body=self.data[file_id], content_type=found["mimeType"])

    def _start(self, request: web.Request, prefix: str) -> int | None:
        token = request.query.get("pageToken")
        return 0 if token is None else self.pages.get(token) if token.startswith(prefix) else None

    def _page_token(self, token: str, start: int) -> str:
        self.pages[token] = start
        return token


def _refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"error": {"code": status, "message": "m", "errors": [{"domain": "global", "reason": reason}]}}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def serving() -> AsyncIterator[DriveServer]:
    """The double, until the block ends."""
    server = DriveServer()
    async with listening(server.answer) as server.port:
        yield server
