"""Speaks Microsoft Graph for one document library: its items, what changed since a link, readers, and bytes.

Used by the sharePoint connector. Bytes come from an address of their own that Graph hands out: it is asked without a
token, and only where it lies in the public internet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field

from lectern_contract.source_settings import SharePointSource
from lectern_runtime.ingest.cloud.rest import REDIRECTS, Refusal, Rest
from lectern_runtime.ingest.cloud.session import Session, Token
from lectern_runtime.ingest.connector import Means, SourceUnavailable
from lectern_runtime.ingest.retries import Retries

MAX_PAGES = 1_000
MAX_SECRET_BYTES = 1 << 14
MAX_READER_PAGES = 100
MAX_READERS = 5_000
"""More readers of one item are not asked for: where they count, it is taken for restricted."""
_SECRET = "spec.sharePoint.credentialsSecretRef"  # noqa: S105 -- the field that names it
_SELECT = "id,name,parentReference,file,folder,root,deleted,size,cTag,eTag,shared"
# Only what has readers of its own is told as shared, and a change of readers is told as a change.
_PREFER = "hierarchicalsharing, deltashowsharingchanges, deltashowremovedasdeleted, deltatraversepermissiongaps"


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _Reference(_Model):
    id: str = ""


class _Folder(_Model):
    children: int = Field(default=0, alias="childCount")


class _File(_Model):
    media_type: str = Field(default="", alias="mimeType")


class Node(_Model):
    """A file, a folder, or what was one; `shared` is there where it has readers of its own."""

    id: str = Field(min_length=1)
    name: str = ""
    parent: _Reference = Field(default=_Reference(), alias="parentReference")
    file: _File | None = None
    folder: _Folder | None = None
    root: dict[str, object] | None = None
    deleted: dict[str, object] | None = None
    size: int | None = None
    content_tag: str = Field(default="", alias="cTag")
    tag: str = Field(default="", alias="eTag")
    shared: dict[str, object] | None = None


class Nodes(_Model):
    """One page; `following` is the next one's address, `link` asks for what changes after the last page."""

    value: tuple[Node, ...]
    following: str = Field(default="", alias="@odata.nextLink")
    link: str = Field(default="", alias="@odata.deltaLink")


class _Named(_Model):
    id: str = Field(min_length=1)
    name: str = ""


class _Libraries(_Model):
    value: tuple[_Named, ...]
    following: str = Field(default="", alias="@odata.nextLink")


class _Identity(_Model):
    id: str | None = None
    login: str | None = Field(default=None, alias="loginName")


_Identities = dict[str, _Identity | None]


class _Permission(_Model):
    granted: _Identities | None = Field(default=None, alias="grantedToV2")
    among: tuple[_Identities, ...] | None = Field(default=None, alias="grantedToIdentitiesV2")


class _Permissions(_Model):
    value: tuple[_Permission, ...]
    following: str = Field(default="", alias="@odata.nextLink")


@dataclass(frozen=True, slots=True)
class Clients:
    """Connections to Graph and its token endpoint, and others to where bytes are."""

    api: httpx.AsyncClient
    downloads: httpx.AsyncClient


class Graph:
    """The API as the application of `source` sees it; `clients` are their owner's to close."""

    def __init__(self, source: SharePointSource, means: Means, clients: Clients, retries: Retries) -> None:
        self._source, self._means, self._clients, self._retries = source, means, clients, retries
        self._root = source.graph_url.rstrip("/")
        rest = self._rest("Microsoft Graph", self._root, clients.api)
        self._session = Session(rest, self._token, means.clock, {"Prefer": _PREFER})

    async def library(self) -> str:
        """The id of the source's library. Raises `SourceUnavailable` where there is none of its name."""
        site = urlsplit(self._source.site_url)
        path = site.path.strip("/")
        place = f"{site.netloc}:/{quote(path)}" if path else site.netloc
        try:
            found = await self._session.json(_Named, f"{self._root}/sites/{place}", {"$select": "id,name"})
            libraries = await self._libraries(found.id)
        except Refusal as refusal:
            raise SourceUnavailable(
                f"the site of spec.sharePoint.siteUrl cannot be read ({refusal}); correct it, or grant the application "
                "Sites.Read.All (or Sites.Selected for this site)"
            ) from refusal
        for library in libraries:
            if library.name == self._source.library:
                return library.id
        names = ", ".join(sorted(each.name for each in libraries)[:10]) or "none"
        raise SourceUnavailable(
            f"the site has no library {self._source.library!r} (it has {names}); correct spec.sharePoint.library"
        )

    async def delta(self, library: str, link: str) -> Nodes:
        """The first page of what changed since `link`, of everything where it is empty. Raises `Refusal`."""
        if link:
            return await self._session.json(Nodes, link)
        return await self._session.json(Nodes, f"{self._items(library)[:-6]}/root/delta", {"$select": _SELECT})

    async def following(self, page: Nodes) -> Nodes:
        """The page after `page`. Raises `Refusal`."""
        return await self._session.json(Nodes, page.following)

    async def node(self, library: str, node: str) -> Node:
        """One item. Raises `Refusal`."""
        return await self._session.json(Node, self._item(library, node), {"$select": _SELECT})

    async def readers(self, library: str, node: str) -> frozenset[str]:
        """Who may read an item, as Graph names them, at least `MAX_READERS` of more. Raises `Refusal`."""
        found: set[str] = set()
        url = f"{self._item(library, node)}/permissions"
        for _ in range(MAX_READER_PAGES):
            page = await self._session.json(_Permissions, url)
            for permission in page.value:
                for identities in (permission.granted or {}, *(permission.among or ())):
                    found |= {f"{kind}:{each.id or each.login}" for kind, each in identities.items() if each}
            if not page.following or len(found) > MAX_READERS:
                break
            url = page.following
        return frozenset(found)

    async def data(self, library: str, node: str, *, limit: int) -> bytes:
        """A file's bytes, at most one more than `limit`. Raises `Refusal`."""
        try:
            return await self._session.data(f"{self._item(library, node)}/content", limit=limit)
        except Refusal as refusal:
            if refusal.status not in REDIRECTS or not refusal.location:
                raise
            location = refusal.location
        parts = urlsplit(location)
        download = self._rest("SharePoint's download", f"{parts.scheme}://{parts.netloc}", self._clients.downloads)
        return await download.data(location, headers={}, limit=limit)

    # ------------------------------------------------------------------------------------ parts

    async def _libraries(self, site: str) -> Sequence[_Named]:
        found: list[_Named] = []
        url = f"{self._root}/sites/{quote(site, safe=',')}/drives"
        async for page in self._pages(url):
            found += page.value
        return found

    async def _pages(self, url: str) -> AsyncIterator[_Libraries]:
        for _ in range(MAX_PAGES):
            page = await self._session.json(_Libraries, url)
            yield page
            if not page.following or page.following == url:
                return
            url = page.following

    def _items(self, library: str) -> str:
        return f"{self._root}/drives/{quote(library, safe='!')}/items"

    def _item(self, library: str, node: str) -> str:
        return f"{self._items(library)}/{quote(node, safe='!')}"

    async def _token(self) -> Token:
        tenant, client, secret = await asyncio.gather(
            *(
                asyncio.to_thread(_secret, path, name)
                for path, name in (
                    (self._source.tenant_id_file, "tenantId"),
                    (self._source.client_id_file, "clientId"),
                    (self._source.client_secret_file, "clientSecret"),
                )
            )
        )
        login = self._source.login_url.rstrip("/")
        graph = urlsplit(self._root)
        form = {
            "grant_type": "client_credentials",
            "client_id": client,
            "client_secret": secret,
            "scope": f"{graph.scheme}://{graph.netloc}/.default",
        }
        rest = self._rest("Microsoft's token endpoint", login, self._clients.api)
        try:
            return await rest.json(Token, f"{login}/{quote(tenant, safe='')}/oauth2/v2.0/token", headers={}, form=form)
        except Refusal as refusal:
            raise SourceUnavailable(
                f"Microsoft gives the application no token ({refusal}); see that its secret has not ended, or correct "
                f"the Secret of {_SECRET}"
            ) from refusal

    def _rest(self, name: str, root: str, client: httpx.AsyncClient) -> Rest:
        return Rest(name, root, client, self._means.throttle, self._means.clock, self._retries, code=_code)


def _code(answer: object) -> str:
    """The code of an answer in Graph's shape, or the error of a token endpoint."""
    error = answer.get("error") if isinstance(answer, dict) else None
    code = error.get("code") if isinstance(error, dict) else error
    return code if isinstance(code, str) else ""


def _secret(path: str, name: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(MAX_SECRET_BYTES).decode("ascii").strip()
    except (OSError, UnicodeError) as error:
        raise SourceUnavailable(
            f"{name} in the Secret of {_SECRET} cannot be read ({type(error).__name__}); correct it"
        ) from error
    if not text:
        raise SourceUnavailable(f"{name} in the Secret of {_SECRET} is empty; correct it")
    return text
