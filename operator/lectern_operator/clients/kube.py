"""The only place that speaks to the Kubernetes API: reads by owner, server-side apply, delete, status.

Built on `kubernetes.aio`'s ApiClient for TLS, service account tokens that are read again, and kubeconfig with exec
plugins; its dynamic client is left out, because it asks for discovery of every group and wraps each answer. kopf, which
watches, has merge patches only. Every request has a time limit; nothing is retried here: the queue does that.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from lectern_contract import labels, names
from lectern_contract.errors import DependencyError
from lectern_operator.clients import kinds
from lectern_operator.clients.errors import NotFound, NotServed, Outdated, Refused

Manifest = dict[str, Any]
REQUEST_SECONDS = 20.0
PAGE = 500
APPLY = "application/apply-patch+yaml"
Counted = Callable[[str, str, int], None]
"""Told of each answer: verb, kind, HTTP status (0 where there was none)."""


async def load(kubeconfig: Path | None) -> Configuration:
    """Return how to reach the API server: from `kubeconfig`, or from the pod's service account where None."""
    configuration = Configuration()
    if kubeconfig is not None:
        await kube_config.load_kube_config(  # type: ignore[no-untyped-call]  # the package is only partly annotated
            config_file=str(kubeconfig), client_configuration=configuration
        )
    else:
        kube_config.load_incluster_config(  # type: ignore[no-untyped-call]  # the same
            client_configuration=configuration
        )
    return configuration


@asynccontextmanager
async def connect(configuration: Configuration, *, counted: Counted = lambda *_: None) -> AsyncIterator[Kube]:
    """Open the client and close its connections at the end of the block."""
    configuration.retries = None
    configuration.client_go_retries = False
    async with ApiClient(configuration) as api:
        yield Kube(api, counted)


class Kube:
    """Reads and writes of Kubernetes objects as plain dicts.

    Raises `NotServed`, `NotFound`, `Outdated`, `Refused`, and `DependencyError` when the server is unreachable,
    overloaded or failing.
    """

    def __init__(self, api: ApiClient, counted: Counted) -> None:
        self._api = api
        self._counted = counted

    async def children(self, kind: str, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
        """Return all objects of `kind` that carry the label of `owner_uid`."""
        return await self._list(kind, namespace, {"labelSelector": f"{labels.OWNER_UID}={owner_uid}"})

    async def owners(self, kind: str, namespace: str | None) -> tuple[Manifest, ...]:
        """Return all objects of one of Lectern's kinds, of all namespaces where None."""
        return await self._list(kind, namespace, {})

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Return one object as it is now."""
        return await self._request("GET", kind, kinds.ALL[kind].path(namespace, name))

    async def apply(self, manifest: Manifest) -> Manifest:
        """Make the object say what `manifest` says, whoever else had a hand in these fields; return it."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        path = kinds.ALL[kind].path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._request("PATCH", kind, path, body=manifest, query=query, content_type=APPLY)

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

    async def _list(self, kind: str, namespace: str | None, query: Mapping[str, str]) -> tuple[Manifest, ...]:
        found: list[Manifest] = []
        path, more = kinds.ALL[kind].path(namespace), ""
        while True:
            page = {**query, "limit": str(PAGE)} | ({"continue": more} if more else {})
            try:
                answer = await self._request("GET", kind, path, query=page)
            except NotFound as error:
                raise NotServed(f"the kind {kind} is not known to the API server") from error
            found += answer["items"]
            more = answer.get("metadata", {}).get("continue", "")
            if not more:
                break
        head = {"apiVersion": kinds.ALL[kind].api_version, "kind": kind}
        return tuple({**head, **item} for item in found)

    async def _request(
        self,
        method: str,
        kind: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        status = 0
        try:
            request = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*request, _request_timeout=aiohttp.ClientTimeout(REQUEST_SECONDS))
            status = response.status
            content = await response.read()  # type: ignore[no-untyped-call]  # the same
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise DependencyError(
                f"{method} {path}: the API server gave no answer ({type(error).__name__}: {error}); it is asked again",
                dependency="kubernetes",
            ) from error
        finally:
            self._counted(method, kind, status)
        answer = _parsed(content)
        if status >= 400:
            raise _failure(f"{method} {path}", status, answer, response.headers.get("Retry-After"))
        return answer


def _parsed(content: bytes) -> Manifest:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"message": content[:500].decode(errors="replace")}


def _failure(what: str, status: int, answer: Manifest, retry_after: str | None) -> Exception:
    """Choose the error for an answer of 400 and above."""
    message = f"{what}: {answer.get('message') or answer.get('reason') or 'no reason given'} (HTTP {status})"
    match status:
        case 404:
            return NotFound(message)
        case 409 | 410:
            return Outdated(message)
        case 403 if _is_terminating(answer):
            return Outdated(message)  # what we look after goes with the namespace
        case 429 | 500 | 502 | 503 | 504 | 401:
            return DependencyError(message, dependency="kubernetes", retry_after_seconds=_seconds(answer, retry_after))
        case _:
            return Refused(message, status=status)


def _is_terminating(answer: Manifest) -> bool:
    causes = (answer.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def _seconds(answer: Manifest, header: str | None) -> float | None:
    try:
        return float(header) if header else float(answer["details"]["retryAfterSeconds"])
    except (KeyError, TypeError, ValueError):
        return None
