"""The only place that speaks to the Kubernetes API: reads, lists, watches, server-side apply, delete, status.

Built on `kubernetes.aio`'s ApiClient for TLS, service account tokens that are read again, and kubeconfig with exec
plugins. Its requests are left out, because they copy and write bodies slowly, and its dynamic client, because it asks
for discovery of every group and wraps each answer. kopf, which watches our own kinds, has merge patches only. Every
request has a time limit; nothing is retried here: the queue does that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration
from pydantic_core import to_json

from lectern_contract import labels, names
from lectern_contract.errors import DependencyError
from lectern_operator.clients import answers, kinds
from lectern_operator.clients.apply_body import CONTENT_TYPE, apply_body
from lectern_operator.clients.errors import NotFound, NotServed, Outdated, Refused
from lectern_operator.clients.pace import Pace
from lectern_operator.facts import Fact, Known, Unknown

Manifest = dict[str, Any]
REQUEST_SECONDS = 20.0
PAGE = 250
WATCH_SECONDS = 290
SILENCE_SECONDS = 70.0
"""A watch that tells nothing for so long is dead: the API server sends a bookmark about every minute."""
NEVER = "1"
"""A version that no object of a cluster that runs has: it was given out before the first namespace."""
HEADS = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
Counted = Callable[[str, str, int], None]
"""Told of each answer: verb, kind, HTTP status (0 where there was none)."""
Fence = Callable[[], None]
"""Asked before every write but that of the Lease itself; raises where this process must not write."""
_UNFENCED = frozenset({"Lease"})
_OVERLOADED = frozenset({429, 503})


async def load(kubeconfig: Path | None) -> Configuration:
    """Return how to reach the API server: from `kubeconfig`, or from the pod's service account where None."""
    configuration = Configuration()
    if kubeconfig is not None:
        await kube_config.load_kube_config(  # type: ignore[no-untyped-call]  # the package is only partly annotated
            config_file=str(kubeconfig), client_configuration=configuration
        )
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
    else:
        kube_config.load_incluster_config(  # type: ignore[no-untyped-call]  # the same
            client_configuration=configuration
        )
    return configuration


@asynccontextmanager
async def connect(
    configuration: Configuration, *, counted: Counted = lambda *_: None, fence: Fence = lambda: None
) -> AsyncIterator[Kube]:
    """Open the client and close its connections at the end of the block."""
    async with ApiClient(configuration) as api:
        # each watch holds a connection; requests are bounded by their pace
        connector = aiohttp.TCPConnector(limit=0, ssl=api.rest_client.ssl_context)
        # else aiohttp reads ~/.netrc before each request
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
            yield Kube(api, session, counted, fence)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `version` is that of the whole list."""

    items: tuple[Manifest, ...]
    version: str


class Kube:
    """Reads and writes of Kubernetes objects as plain dicts.

    Raises `NotServed`, `NotFound`, `Outdated`, `Refused`, and `DependencyError` when the server is unreachable,
    overloaded or failing.
    """

    def __init__(
        self, api: ApiClient, session: aiohttp.ClientSession, counted: Counted, fence: Fence = lambda: None
    ) -> None:
        self._api = api
        self._session = session
        self._way = _way(api.configuration)
        self._counted = counted
        self._fence = fence
        self._pace = Pace()

    async def children(self, kind: str, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
        """Return all objects of `kind` that carry the label of `owner_uid`."""
        return await self._list(kind, namespace, {"labelSelector": f"{labels.OWNER_UID}={owner_uid}"})

    async def owners(self, kind: str, namespace: str | None) -> tuple[Manifest, ...]:
        """Return all objects of one of Lectern's kinds, of all namespaces where None."""
        return await self._list(kind, namespace, {})

    async def owner(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object of Lectern's kinds."""
        return await self.get(kind, namespace, name)

    async def naming(self, namespace: str, name: str) -> tuple[Manifest, ...]:
        """Return the objects of Lectern's kinds, in any namespace, whose spec names that KnowledgeBase."""
        found = []
        for kind in ("IngestionSource", "RagEndpoint"):
            for body in await self.owners(kind, None):
                spec, where = body["spec"], body["metadata"]["namespace"]
                named = {*spec.get("knowledgeBaseRefs", ()), spec.get("knowledgeBaseRef")}
                if f"{namespace}/{name}" in named or (where == namespace and name in named):
                    found.append(body)
        return tuple(found)

    async def lost(self, observed: Manifest) -> None:
        """Do nothing: nothing is remembered here."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object as it is now."""
        return await self._request("GET", kind, kinds.ALL[kind].path(namespace, name))

    async def apply(self, manifest: Manifest) -> Manifest:
        """Make the object say what `manifest` says, whoever else had a hand in these fields; return it."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        path = kinds.ALL[kind].path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._request(
            "PATCH", kind, path, body=apply_body(manifest), query=query, content_type=CONTENT_TYPE
        )

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply `manifest` where there is no object of that name yet, and return it; `Outdated` when there is one.

        One request instead of a look and an apply. An apply that names a version is a conflict unless the object has
        that very version, and makes the object where there is none: the version is not looked at then. A Secret is
        created: the operator has the right to make one and none to change one.
        """
        if manifest["kind"] == "Secret":
            return await self.create(manifest)
        return await self.apply({**manifest, "metadata": {**manifest["metadata"], "resourceVersion": NEVER}})

    async def hold(self, manifest: Manifest) -> None:
        """Apply `manifest` as `names.SCALING_MANAGER`, unless somebody has set its fields to something else."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        path = kinds.ALL[kind].path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": names.SCALING_MANAGER}
        try:
            await self._request("PATCH", kind, path, body=apply_body(manifest), query=query, content_type=CONTENT_TYPE)
        except Outdated:
            return  # a conflict: whoever set the fields keeps them without us

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object and return it; `Outdated` when there is one of that name."""
        kind = manifest["kind"]
        path = kinds.ALL[kind].path(manifest["metadata"]["namespace"])
        return await self._request("POST", kind, path, body=manifest, query={"fieldManager": names.FIELD_MANAGER})

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object in the version that `manifest` was read in; `Outdated` when it has changed since."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        path = kinds.ALL[kind].path(metadata["namespace"], metadata["name"])
        return await self._request("PUT", kind, path, body=manifest, query={"fieldManager": names.FIELD_MANAGER})

    async def delete(self, observed: Manifest) -> None:
        """Delete the very object that was observed, and what it owns; one that is gone already is no error."""
        kind, metadata = observed["kind"], observed["metadata"]
        path = kinds.ALL[kind].path(metadata["namespace"], metadata["name"])
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"]},
        }
        try:
            await self._request("DELETE", kind, path, body=options)
        except (NotFound, Outdated):
            return  # gone, or another object of that name by now: not ours to delete

    async def write_status(self, observed: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Replace the status of `observed`, unless the object has changed since; return it."""
        kind, metadata = observed["kind"], observed["metadata"]
        path = kinds.ALL[kind].path(metadata["namespace"], metadata["name"], "status")
        body = {**observed, "status": status}
        return await self._request("PUT", kind, path, body=body, query={"fieldManager": names.FIELD_MANAGER})

    async def served(self, kind: str) -> Fact[bool]:
        """Say whether the API server knows `kind`, as its discovery says now."""
        try:
            return Known(kind in await self.served_kinds())
        except (DependencyError, Refused) as error:
            return Unknown(str(error))

    async def served_kinds(self) -> frozenset[str]:
        """Return the names of all kinds of the table that the API server knows."""
        answer = await self._request("GET", "discovery", "/apis", accept=DISCOVERY)
        core = {kind.name for kind in kinds.ALL.values() if not kind.group}
        if answer.get("kind") == "APIGroupDiscoveryList":
            return frozenset(core | _discovered(answer))
        found = {version["groupVersion"] for group in answer["groups"] for version in group["versions"]}
        wanted = sorted({kind.api_version for kind in kinds.ALL.values()} & found)
        for api_version in wanted:  # a server before 1.30: one request for each group
            listed = await self._request("GET", "discovery", f"/apis/{api_version}")
            plurals = {each["name"] for each in listed["resources"]}
            core |= {k.name for k in kinds.ALL.values() if k.api_version == api_version and k.plural in plurals}
        return frozenset(core)

    async def pages(self, kind: str, namespace: str | None, *, heads: bool = False) -> AsyncIterator[Page]:
        """Yield all objects of `kind`, of children those with the label of an owner, in pages; `heads`: metadata only.

        Raises `Outdated` when the list takes so long that the server has forgotten its beginning.
        """
        async for page in self._pages(kind, namespace, _labelled(kind), accept=HEADS if heads else "application/json"):
            yield page

    async def watch(self, kind: str, namespace: str | None, since: str) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield type and object of each event after the version `since`, until the server ends the stream.

        Raises `Outdated` when the server has forgotten `since`, `DependencyError` when it falls silent or fails.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": since} | _labelled(kind)
        path = kinds.ALL[kind].path(namespace)
        patience = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=SILENCE_SECONDS)
        query["timeoutSeconds"] = str(WATCH_SECONDS)
        head = {"apiVersion": kinds.ALL[kind].api_version, "kind": kind}
        response = await self._send("GET", kind, path, query=query, patience=patience)
        try:
            async for line in _lines(response):
                event = answers.parsed(line)
                body = event.get("object") or {}
                if event.get("type") == "ERROR":
                    raise answers.failure(f"watch {path}", int(body.get("code") or 500), body, None)
                yield str(event.get("type")), {**head, **body}
        except (aiohttp.ClientError, OSError) as error:
            raise _unanswered(f"watch {path}", error) from error
        finally:
            response.close()

    async def _list(self, kind: str, namespace: str | None, query: Mapping[str, str]) -> tuple[Manifest, ...]:
        return tuple([item async for page in self._pages(kind, namespace, query) for item in page.items])

    async def _pages(
        self, kind: str, namespace: str | None, query: Mapping[str, str], *, accept: str = "application/json"
    ) -> AsyncIterator[Page]:
        path, more = kinds.ALL[kind].path(namespace), ""
        head = {"apiVersion": kinds.ALL[kind].api_version, "kind": kind}
        while True:
            page = {**query, "limit": str(PAGE)} | ({"continue": more} if more else {})
            try:
                answer = await self._request("GET", kind, path, query=page, accept=accept)
            except NotFound as error:
                raise NotServed(f"the kind {kind} is not known to the API server") from error
            metadata = answer.get("metadata", {})
            yield Page(
                tuple({**item, **head} for item in answer.get("items") or ()), str(metadata.get("resourceVersion", ""))
            )
            more = metadata.get("continue", "")
            if not more:
                return

    async def _request(
        self,
        method: str,
        kind: str,
        path: str,
        *,
        body: Mapping[str, Any] | str | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Manifest:
        if method != "GET" and kind not in _UNFENCED:
            self._fence()
        async with self._pace.turn(urgent=kind in _UNFENCED):
            response = await self._send(
                method, kind, path, body=body, query=query, content_type=content_type, accept=accept
            )
            try:
                return answers.parsed(await response.read())
            except (aiohttp.ClientError, OSError) as error:
                raise _unanswered(f"{method} {path}", error) from error

    async def _send(
        self,
        method: str,
        kind: str,
        path: str,
        *,
        body: Mapping[str, Any] | str | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        patience: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """Send one request and return its answer unread; raises for a status of 400 and above."""
        status = 0
        try:
            head = {"Accept": accept, "Content-Type": content_type, **self._api.default_headers}
            await self._api.update_params_for_auth(head, None, ["BearerToken"], path, method, None)
            response = await self._session.request(
                method,
                self._api.configuration.host + path,
                params=query,
                data=body if body is None or isinstance(body, str) else to_json(body, fallback=dict),
                headers=head,
                timeout=patience or aiohttp.ClientTimeout(REQUEST_SECONDS),
                **self._way,
            )
            status = response.status
            content = await response.read() if status >= 400 else b""
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise _unanswered(f"{method} {path}", error) from error
        finally:
            self._counted(method, kind, status)
        if status < 400:
            return response
        answer, asked = answers.parsed(content), response.headers.get("Retry-After")
        if status in _OVERLOADED and (pause := answers.seconds(answer, asked)) is not None:
            self._pace.asked_to_wait(pause)
        raise answers.failure(f"{method} {path}", status, answer, asked)


def _proxy(host: str) -> str | None:
    """Return the proxy that the environment names for `host`."""
    url = urlsplit(host)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def _way(configuration: Configuration) -> dict[str, Any]:
    """Return what aiohttp is told of proxy and server name, where the configuration has them."""
    found = {
        "proxy": configuration.proxy,
        "proxy_headers": configuration.proxy_headers,
        "server_hostname": configuration.tls_server_name,
    }
    return {name: value for name, value in found.items() if value}


def _labelled(kind: str) -> dict[str, str]:
    """Return the query for what may be ours: children carry the label of their owner."""
    return {"labelSelector": labels.OWNER_UID} if kind in kinds.CHILDREN else {}


def _discovered(answer: Manifest) -> set[str]:
    """Return the kinds of the table in one answer of aggregated discovery."""
    resources = {
        (group["metadata"]["name"], version["version"], resource["resource"])
        for group in answer["items"]
        for version in group.get("versions", ())
        for resource in version.get("resources", ())
    }
    return {kind.name for kind in kinds.ALL.values() if (kind.group, kind.version, kind.plural) in resources}


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, however long."""
    parts: list[bytes] = []
    async for chunk in response.content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            whole = b"".join((*parts, line))
            parts.clear()
            if whole:
                yield whole
        if rest:
            parts.append(rest)


def _unanswered(what: str, error: Exception) -> DependencyError:
    return DependencyError(
        f"{what}: the API server gave no answer ({type(error).__name__}: {error}); it is asked again",
        dependency="kubernetes",
    )
