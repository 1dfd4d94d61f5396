"""Sources on the cluster of the kubeconfig: what their resources say, and what their workers' metrics add.

Metrics are read through the API server, which needs the right to proxy to pods and a way into the network of the
pods; where one of them is missing, lag and freshness are not known and everything else is told nevertheless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lectern_cli import api_server, cron, exposition, sources
from lectern_cli.api_server import ApiServer
from lectern_cli.sources import Extra, Source
from lectern_contract import labels, names
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.names import Role
from lectern_contract.resources import GROUP, VERSION, IngestionSource

METRICS_SECONDS = 5
MOST_PODS = 20
"""Workers of one knowledge base that are asked; of more nobody says how much waits."""
Body = Mapping[str, Any]


class Cluster(Protocol):
    """What is needed of the API server; its faults are `DependencyError`."""

    def sources(self, namespace: str | None) -> Sequence[Body]:
        """Return the IngestionSources of a namespace, of all where None."""
        ...

    def workers(self, namespace: str, knowledge_base: str) -> Sequence[str]:
        """Return the names of the running workers of a knowledge base."""
        ...

    def metrics(self, namespace: str, pod: str) -> str:
        """Return the metrics of a pod."""
        ...

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str]) -> Body:
        """Set annotations of an IngestionSource and return it."""
        ...


def tell(cluster: Cluster, namespace: str | None, *, now: datetime) -> list[Source]:
    """Every source of `namespace`, or of all where None."""
    asked: dict[tuple[str, str], list[str] | str] = {}
    found = []
    for body in cluster.sources(namespace):
        place = (body["metadata"]["namespace"], body["spec"]["knowledgeBaseRef"])
        if place not in asked:
            asked[place] = _metrics(cluster, *place)
        found.append(sources.of(body, _extra(body, asked[place], now)))
    return found


def _extra(body: Body, metrics: list[str] | str, now: datetime) -> Extra:
    spec = body["spec"]
    moment, unknown = None, {}
    if spec.get("schedule") and not spec.get("suspend"):
        try:
            upcoming = cron.upcoming(spec["schedule"], spec.get("timeZone", "Etc/UTC"), now)
            moment = upcoming.isoformat().replace("+00:00", "Z") if upcoming is not None else None
        except ConfigurationError as error:
            unknown["nextRun"] = str(error)
    if isinstance(metrics, str):
        return Extra(moment, metrics, metrics, unknown)
    fresh = exposition.freshness(metrics, body["metadata"]["name"])
    return Extra(moment, exposition.lag(metrics), fresh, unknown)


def _metrics(cluster: Cluster, namespace: str, knowledge_base: str) -> list[str] | str:
    """The metrics of all workers of a knowledge base; a text says why they are not known."""
    whose = f"the workers of KnowledgeBase/{knowledge_base}"
    try:
        pods = cluster.workers(namespace, knowledge_base)
        if not pods:
            return f"no pod of {whose} runs that could say"
        if len(pods) > MOST_PODS:
            return f"{whose} are more than the {MOST_PODS} that are asked"
        return [cluster.metrics(namespace, pod) for pod in pods]
    except DependencyError as error:
        return f"{whose} could not be asked: {error}"


@dataclass(frozen=True)
class _Live:
    """`Cluster` by the kubeconfig."""

    server: ApiServer

    def sources(self, namespace: str | None) -> Sequence[Body]:
        """Return the IngestionSources."""
        absent = "the cluster does not know Lectern's kinds: install them first"
        where = (GROUP, VERSION) if namespace is None else (GROUP, VERSION, namespace)
        objects = self.server.objects
        listing = objects.list_cluster_custom_object if namespace is None else objects.list_namespaced_custom_object
        items: list[Body] = self.server.asked(listing, *where, IngestionSource.plural, absent=absent)["items"]
        return items

    def workers(self, namespace: str, knowledge_base: str) -> Sequence[str]:
        """Return the names of the running workers."""
        selector = f"{labels.ROLE}={Role.WORKER.value}"
        listed = self.server.asked(self.server.core.list_namespaced_pod, namespace, label_selector=selector)
        beginning = f"{names.child(knowledge_base, Role.WORKER)}-"
        return sorted(
            pod.metadata.name
            for pod in listed.items
            if pod.metadata.name.startswith(beginning)
            and pod.metadata.name.removeprefix(beginning).count("-") == 1  # else of a base whose name begins like this
            and pod.status.phase == "Running"
            and pod.metadata.deletion_timestamp is None
        )

    def metrics(self, namespace: str, pod: str) -> str:
        """Return the metrics of a pod, through the API server."""
        answer = self.server.asked(
            self.server.core.connect_get_namespaced_pod_proxy_with_path,
            f"{pod}:{names.RUNTIME_PORT}",
            namespace,
            "metrics",
            _preload_content=False,
            _request_timeout=METRICS_SECONDS,
        )
        return bytes(answer.data).decode(errors="replace")

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str]) -> Body:
        """Set annotations of an IngestionSource."""
        body: Body = self.server.asked(
            self.server.objects.patch_namespaced_custom_object,
            GROUP,
            VERSION,
            namespace,
            IngestionSource.plural,
            name,
            {"metadata": {"annotations": dict(annotations)}},
            absent=f"there is no IngestionSource {name} in {namespace}",
            _content_type="application/merge-patch+json",
        )
        return body


def live() -> Cluster:
    """The cluster of the kubeconfig; raises `ConfigurationError` when there is none."""
    return _Live(api_server.connect())
