"""Sources on the cluster of the kubeconfig: what their resources say, and what their workers' metrics add.

Metrics are read through the API server, which needs the right to proxy to pods and a way into the network of the
pods; where one of them is missing, lag and freshness are not known and everything else is told nevertheless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lectern_cli import cron, exposition, sources
from lectern_cli.sources import Extra, Source
from lectern_contract import labels, names
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.names import Role
from lectern_contract.resources import GROUP, VERSION, IngestionSource

REQUEST_SECONDS = 20
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

    objects: Any
    core: Any
    refused: type[Any]

    def sources(self, namespace: str | None) -> Sequence[Body]:
        """Return the IngestionSources."""
        plural = IngestionSource.plural
        if namespace is None:
            answer = self._asked(
                self.objects.list_cluster_custom_object, GROUP, VERSION, plural, _request_timeout=REQUEST_SECONDS
            )
        else:
            answer = self._asked(
                self.objects.list_namespaced_custom_object,
                GROUP,
                VERSION,
                namespace,
                plural,
                _request_timeout=REQUEST_SECONDS,
            )
        items: list[Body] = answer["items"]
        return items

    def workers(self, namespace: str, knowledge_base: str) -> Sequence[str]:
        """Return the names of the running workers."""
        listed = self._asked(
            self.core.list_namespaced_pod,
            namespace,
            label_selector=f"{labels.ROLE}={Role.WORKER.value}",
            _request_timeout=REQUEST_SECONDS,
        )
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
        answer = self._asked(
            self.core.connect_get_namespaced_pod_proxy_with_path,
            f"{pod}:{names.RUNTIME_PORT}",
            namespace,
            "metrics",
            _preload_content=False,
            _request_timeout=METRICS_SECONDS,
        )
        return bytes(answer.data).decode(errors="replace")

    def annotate(self, namespace: str, name: str, annotations: Mapping[str, str]) -> Body:
        """Set annotations of an IngestionSource."""
        body: Body = self._asked(
            self.objects.patch_namespaced_custom_object,
            GROUP,
            VERSION,
            namespace,
            IngestionSource.plural,
            name,
            {"metadata": {"annotations": dict(annotations)}},
            _request_timeout=REQUEST_SECONDS,
            _content_type="application/merge-patch+json",
        )
        return body

    def _asked(self, call: Any, *arguments: Any, **options: Any) -> Any:
        from urllib3.exceptions import HTTPError

        try:
            return call(*arguments, **options)
        except self.refused as error:
            if error.status == 404 and call.__name__.startswith("patch"):
                raise ConfigurationError(f"there is no IngestionSource {arguments[4]} in {arguments[2]}") from error
            if error.status == 404 and "list" in call.__name__:
                raise ConfigurationError("the cluster does not know Lectern's kinds: install them first") from error
            reason = f"{error.status} {error.reason}"
            raise DependencyError(f"the API server answers {reason}", dependency="kubernetes") from error
        except (OSError, HTTPError) as error:
            reason = type(error).__name__
            raise DependencyError(f"the API server does not answer ({reason})", dependency="kubernetes") from error


def live() -> Cluster:
    """The cluster of the kubeconfig; raises `ConfigurationError` when there is none."""
    try:
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException
    except ImportError as error:
        raise ConfigurationError("a cluster needs the package kubernetes: pip install 'lectern[operator]'") from error
    try:
        config.load_config()  # type: ignore[no-untyped-call]  # the package is only partly annotated
    except ConfigException as error:
        raise ConfigurationError(f"no cluster is known ({error}); set KUBECONFIG") from error
    return _Live(client.CustomObjectsApi(), client.CoreV1Api(), client.ApiException)
