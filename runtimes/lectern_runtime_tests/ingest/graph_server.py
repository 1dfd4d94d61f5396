"""A double of Microsoft Graph on loopback, of recorded shape: it stands for the vendor, and is not the vendor.

It refuses what Microsoft refuses: a secret or a token that it does not know, an old or a wrong delta token, a download
with a token or without its ticket. Pages are small; changes name the folders above them, as the vendor's do, and say
nothing of what lies in a folder that was renamed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from lectern_runtime_tests.ingest.web_server import listening

TENANT, CLIENT, SECRET = "tenant-1", "client-1", "s3cr3t~value"
SITE, LIBRARY, ROOT = "contoso.test,1,2", "b!library", "root-item"
PAGE = 3
EVERYBODY = [{"grantedToV2": {"siteGroup": {"id": "4", "displayName": "Visitors"}}}]


@dataclass
class GraphServer:
    """The state of the library, which tests read and change while it runs.

    `failures` are answers that come before any other: a status, a code, and headers. `download` is where bytes are.
    `outdated` is what a list says before it says what is so. `turning` makes the second page lead to itself.
    """

    port: int = 0
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, bytes] = field(default_factory=dict)
    permissions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    oldest: int = 0
    tokens: set[str] = field(default_factory=set)
    failures: list[tuple[int, str, Mapping[str, str]]] = field(default_factory=list)
    broken: bool = False
    turning: bool = False
    download: str = ""
    outdated: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    seen: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    numbers: int = 0

    def __post_init__(self) -> None:
        self.items[ROOT] = {"id": ROOT, "name": "root", "root": {}, "folder": {"childCount": 0}}
        self.permissions["root"] = list(EVERYBODY)
        self.log.append(ROOT)

    def url(self, path: str = "") -> str:
        """An address below the server."""
        return f"http://127.0.0.1:{self.port}{path}"

    # ------------------------------------------------------------------------------- what people do

    def folder(self, name: str, parent: str = ROOT, **facts: Any) -> str:
        """A new folder; returns its id."""
        return self._made(name, parent, {"folder": {"childCount": 0}}, **facts)

    def file(self, name: str, data: bytes, parent: str = ROOT, **facts: Any) -> str:
        """A new file; returns its id."""
        made = self._made(name, parent, {"file": {"mimeType": "text/markdown"}}, **facts)
        self.edit(made, data)
        return made

    def edit(self, item: str, data: bytes | None = None, **facts: Any) -> None:
        """Change the bytes or the facts of an item; the folders above it are touched."""
        self.numbers += 1
        found = self.items[item]
        found |= {"eTag": f'"{item},{self.numbers}"', **facts}
        if data is not None:
            self.data[item] = data
            found |= {"size": len(data), "cTag": f'"c:{item},{self.numbers}"'}
        self._log(item)

    def own_readers(self, item: str, *names: str) -> None:
        """Give an item readers of its own."""
        self.permissions[item] = [{"grantedToV2": {"siteGroup": {"id": name}}} for name in names]
        self.edit(item, shared={"scope": "users"})

    def remove(self, item: str) -> None:
        """Remove an item with all in it."""
        above = self.items[item]["parentReference"]["id"]
        for each in [each for each, found in self.items.items() if _parent(found) == item]:
            self.items.pop(each)
        self.items.pop(item)
        self.items[above]["folder"]["childCount"] -= 1
        self.log.append(item)

    def _made(self, name: str, parent: str, kind: dict[str, Any], **facts: Any) -> str:
        self.numbers += 1
        item = f"01ITEM{self.numbers}"
        self.items[item] = {"id": item, "name": name, "parentReference": {"id": parent, "driveId": LIBRARY}, **kind}
        self.items[parent]["folder"]["childCount"] += 1
        self.edit(item, **facts)
        return item

    def _log(self, item: str) -> None:
        self.log.append(item)
        while (item := _parent(self.items[item])) in self.items:
            self.log.append(item)

    # -------------------------------------------------------------------------------- what it answers

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as the vendor does."""
        self.asked.append(request.path_qs)
        self.seen.append((request.path, dict(request.headers)))
        if self.broken:
            return _refusal(503, "serviceNotAvailable")
        if self.failures:
            status, code, headers = self.failures.pop(0)
            return _refusal(status, code, headers)
        if request.path == f"/{TENANT}/oauth2/v2.0/token":
            return await self._give_token(request)
        if request.path.startswith("/download/"):
            return self._download(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _refusal(401, "InvalidAuthenticationToken")
        path = request.path.removeprefix("/v1.0")
        if path in ("/sites/contoso.test:/sites/docs", "/sites/contoso.test"):
            return web.json_response({"id": SITE, "name": "docs"})
        if path == f"/sites/{SITE}/drives":
            return web.json_response({"value": [{"id": "b!other", "name": "Other"}, {"id": LIBRARY, "name": "Docs"}]})
        if path == f"/drives/{LIBRARY}/root/delta":
            return self._delta(request)
        return self._item(path.removeprefix(f"/drives/{LIBRARY}/items/"))

    async def _give_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        expected = {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scope": self.url("/.default"),
        }
        if dict(form) != expected:
            return web.json_response({"error": "invalid_client", "error_description": SECRET}, status=401)
        self.tokens.add(token := f"token-{len(self.tokens)}-{time.monotonic_ns()}")
        return web.json_response({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _delta(self, request: web.Request) -> web.Response:
        token = request.query.get("token", "all-0-0")
        kind, _, rest = token.partition("-")
        since, _, skipped = rest.partition("-")
        if kind not in ("all", "since") or not (since.isdigit() and skipped.isdigit()):
            return _refusal(400, "invalidRequest")
        if kind == "since" and int(since) < self.oldest:
            return _refusal(410, "resyncRequired", {"Location": self.url("/v1.0/elsewhere")})
        named = list(self.items) if kind == "all" else list(dict.fromkeys(self.log[int(since) :]))
        start, base = int(skipped), self.url(f"/v1.0/drives/{LIBRARY}/root/delta")
        nodes = [*self.outdated, *(self._named(each) for each in reversed(named))]
        page: dict[str, Any] = {"value": nodes[start : start + PAGE]}
        if self.turning and start:
            page["@odata.nextLink"] = f"{base}?token={kind}-{since}-{start}"
        elif start + PAGE < len(nodes):
            page["@odata.nextLink"] = f"{base}?token={kind}-{since}-{start + PAGE}"
        else:
            page["@odata.deltaLink"] = f"{base}?token=since-{len(self.log)}-0"
        return web.json_response(page)

    def _named(self, item: str) -> dict[str, Any]:
        found = self.items.get(item)
        return found if found is not None else {"id": item, "deleted": {"state": "deleted"}, "size": 0}

    def _item(self, path: str) -> web.Response:
        item, _, verb = path.partition("/")
        found = self.items.get(ROOT if item == "root" else item)
        if found is None:
            return _refusal(404, "itemNotFound")
        if verb == "permissions":
            return web.json_response({"value": self.permissions.get(item, EVERYBODY)})
        if verb != "content":
            return web.json_response(found)
        if item not in self.data:
            return _refusal(400, "notSupported")
        place = self.download or self.url("/download/{}?tempauth=ticket")
        return web.Response(status=302, headers={"Location": place.format(item)})

    def _download(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers or request.query.get("tempauth") != "ticket":
            return _refusal(401, "unauthenticated")
        return web.Response(body=self.data[request.path.rpartition("/")[2]], content_type="application/octet-stream")


def _parent(item: Mapping[str, Any]) -> str:
    return str(item.get("parentReference", {}).get("id", ""))


def _refusal(status: int, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"code": code, "message": "m"}}, status=status, headers=headers)


@asynccontextmanager
async def serving() -> AsyncIterator[GraphServer]:
    """The double, until the block ends."""
    server = GraphServer()
    async with listening(server.answer) as server.port:
        yield server
