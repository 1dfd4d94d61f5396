"""Secrets and ConfigMaps that a resource names: which object, which keys, and the field that names them.

Walks the spec, so that a new field with a reference is found without a line here; only the keys that a
`CredentialsRef` must have are said by a table, because its type does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from lectern_contract.resources import AnyResource, IngestionSource, KnowledgeBase, RagEndpoint
from lectern_contract.resources.common import ConfigMapKeyRef, CredentialsRef, S3Location, SecretKeyRef
from lectern_contract.resources.ingestion_source import SharePointSource
from lectern_contract.resources.knowledge_base import Messaging
from lectern_contract.resources.redis import Redis

_CREDENTIALS: Mapping[type[BaseModel], tuple[str, ...]] = {
    Messaging: ("username", "password"),
    Redis: ("username", "password"),
    S3Location: ("accessKeyId", "secretAccessKey"),
    SharePointSource: ("tenantId", "clientId", "clientSecret"),
}
"""Keys of the Secret behind `credentialsSecretRef`, by the object that has the field; elsewhere any key will do."""


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """One Secret or ConfigMap that `field` names; `keys` empty means that it only has to have some."""

    kind: Literal["ConfigMap", "Secret"]
    namespace: str
    name: str
    keys: tuple[str, ...]
    field: str


def references(resource: AnyResource, knowledge_bases: Mapping[str, KnowledgeBase] | None = None) -> list[Reference]:
    """Return what `resource` names, and what its pods mount of the `knowledge_bases` that it works on, in order.

    All are objects of the resource's own namespace: a pod mounts no other.
    """
    found = [*_of(resource.spec, "spec", resource.namespace)]
    if isinstance(resource, RagEndpoint):
        for name, kb in sorted((knowledge_bases or {}).items()):
            searched = (("vectorStore", kb.spec.vector_store), ("embedding.server", kb.spec.embedding.server))
            for part, model in (*searched, ("messaging", kb.spec.messaging)):
                if model is not None:
                    found += _of(model, f"KnowledgeBase/{name} spec.{part}", resource.namespace)
    if isinstance(resource, IngestionSource):
        for name, kb in sorted((knowledge_bases or {}).items()):
            found += _of(kb.spec.messaging, f"KnowledgeBase/{name} spec.messaging", resource.namespace)
            found += _of(kb.spec.blob_store, f"KnowledgeBase/{name} spec.blobStore", resource.namespace)
    return sorted(set(found))


def _of(value: object, path: str, namespace: str) -> Iterator[Reference]:
    if isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _of(item, f"{path}[{index}]", namespace)
    if not isinstance(value, BaseModel):
        return
    for name, field in type(value).model_fields.items():
        inner, inner_path = getattr(value, name), f"{path}.{field.alias or name}"
        match inner:
            case SecretKeyRef():
                yield Reference("Secret", namespace, inner.name, (inner.key,), inner_path)
            case ConfigMapKeyRef():
                yield Reference("ConfigMap", namespace, inner.name, (inner.key,), inner_path)
            case CredentialsRef():
                keys = _CREDENTIALS.get(type(value), ())
                yield Reference("Secret", namespace, inner.name, keys, inner_path)
            case _:
                yield from _of(inner, inner_path, namespace)
