"""What `lectern rewind` reads of a cluster: the knowledge base, the way to its brokers, the pods of its workers."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from lectern_cli import api_server
from lectern_cli.api_server import ApiServer
from lectern_contract import names, resources, wiring
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.names import Role
from lectern_contract.resources import GROUP, VERSION, KnowledgeBase
from lectern_contract.settings import KafkaLog

Body = Mapping[str, Any]
_AFTER_SECONDS = 3600
"""How long a Job stays after its end, for its output to be read."""
_OF_A_SERVER = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle")


class Cluster(Protocol):
    """What is needed of the API server; what is not there is `ConfigurationError`, its faults `DependencyError`."""

    def knowledge_base(self, namespace: str, name: str) -> Body:
        """Return the KnowledgeBase."""
        ...

    def secret(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the data of a Secret, in base64."""
        ...

    def workers(self, namespace: str, knowledge_base: str) -> Body:
        """Return the Deployment of the workers."""
        ...


def read(cluster: Cluster, namespace: str, name: str) -> KnowledgeBase:
    """Return the knowledge base as this release reads it; raises `ConfigurationError` for one without a broker."""
    found = resources.parse_stored(cluster.knowledge_base(namespace, name))
    if not isinstance(found, KnowledgeBase) or found.spec.messaging is None:
        raise ConfigurationError(
            f"KnowledgeBase/{name} has no spec.messaging, so that no broker has a group of it; for one that "
            "`lectern up` runs, name its resources with -f and its --data-dir"
        )
    return found


def active_generation(kb: KnowledgeBase) -> int:
    """Return the number of the index generation that answers; raises `ConfigurationError` when there is none."""
    if kb.status.active_generation is None:
        raise ConfigurationError(
            f"KnowledgeBase/{kb.name} has no status.activeGeneration: it has no index yet, or its status was lost; "
            "name the generation with --generation"
        )
    return kb.status.active_generation


@contextmanager
def log_settings(cluster: Cluster, kb: KnowledgeBase) -> Iterator[KafkaLog]:
    """Yield how this machine reaches the brokers of `kb`; its secrets lie in a directory of their own meanwhile."""
    messaging = kb.spec.messaging
    settings = wiring.log_settings(kb.spec, Role.WORKER)
    assert messaging is not None, "`read` gives none without"
    assert isinstance(settings, KafkaLog)
    wanted = []
    if (login := messaging.credentials_secret_ref) is not None:
        wanted += [("username_file", login.name, "username"), ("password_file", login.name, "password")]
    if (ca := messaging.ca_secret_ref) is not None:
        wanted += [("ca_file", ca.name, ca.key)]
    with TemporaryDirectory(prefix="lectern-rewind-") as directory:  # nobody else may look into it
        files = {
            field: _written(Path(directory) / field, _value(cluster, kb, secret, key)) for field, secret, key in wanted
        }
        yield settings.model_copy(update=files)


def job(deployment: Body, knowledge_base: str, arguments: Sequence[str]) -> Body:
    """Return a Job that rewinds where the workers would run: with their image, settings, secrets and network.

    `arguments` are those of `python -m lectern_runtime.maintain rewind`.
    """
    template = deployment["spec"]["template"]
    main = template["spec"]["containers"][0]
    container = {key: value for key, value in main.items() if key not in _OF_A_SERVER}
    container |= {"command": ["python", "-m", "lectern_runtime.maintain"], "args": ["rewind", *arguments]}
    spec = {key: value for key, value in template["spec"].items() if key != "topologySpreadConstraints"}
    metadata = template["metadata"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{knowledge_base}-rewind-",
            "namespace": deployment["metadata"]["namespace"],
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _AFTER_SECONDS,
            "template": {
                "metadata": {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)},
                "spec": spec | {"restartPolicy": "Never", "containers": [container]},
            },
        },
    }


def _written(path: Path, value: bytes) -> str:
    path.touch(mode=0o600)
    path.write_bytes(value)
    return str(path)


def _value(cluster: Cluster, kb: KnowledgeBase, secret: str, key: str) -> bytes:
    try:
        data = cluster.secret(kb.namespace, secret)
    except DependencyError as error:
        raise DependencyError(
            f"Secret {secret} of KnowledgeBase/{kb.name} cannot be read: {error}; ask for the right to read it, or "
            "let a Job do it: --as-job",
            dependency="kubernetes",
        ) from error
    try:
        return base64.b64decode(data[key], validate=True)
    except (KeyError, binascii.Error):
        raise ConfigurationError(
            f"Secret {secret} has no key {key}, which spec.messaging of KnowledgeBase/{kb.name} names; add it"
        ) from None


@dataclass(frozen=True)
class _Live:
    """`Cluster` by the kubeconfig."""

    server: ApiServer

    def knowledge_base(self, namespace: str, name: str) -> Body:
        """Return the KnowledgeBase."""
        found: Body = self.server.asked(
            self.server.objects.get_namespaced_custom_object,
            GROUP,
            VERSION,
            namespace,
            KnowledgeBase.plural,
            name,
            absent=f"there is no KnowledgeBase {name} in namespace {namespace}; see kubectl get kb -A",
        )
        return found

    def secret(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the data of a Secret."""
        absent = f"there is no Secret {name} in namespace {namespace}, which spec.messaging names; make it"
        found = self.server.asked(self.server.core.read_namespaced_secret, name, namespace, absent=absent)
        return dict(found.data or {})

    def workers(self, namespace: str, knowledge_base: str) -> Body:
        """Return the Deployment of the workers."""
        name = names.child(knowledge_base, Role.WORKER)
        answer = self.server.asked(
            self.server.apps.read_namespaced_deployment,
            name,
            namespace,
            absent=f"there is no Deployment {name} in namespace {namespace}: is the operator there?",
            _preload_content=False,
        )
        found: Body = json.loads(answer.data)
        return found


def live() -> Cluster:
    """The cluster of the kubeconfig; raises `ConfigurationError` when there is none."""
    return _Live(api_server.connect())
