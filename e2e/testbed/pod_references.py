"""Turns a pod into the ConfigMaps and Secrets that its containers cannot start without.

Pure; `fake_node` looks each reference up, as a kubelet does before it starts a container. Claims are the
scheduler's: a pod whose claim is missing or not bound gets no node.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Resource = Literal["configmaps", "secrets"]
Stage = Literal["mount", "environment"]

NOUNS: Mapping[Resource, str] = {"configmaps": "ConfigMap", "secrets": "Secret"}


@dataclass(frozen=True)
class Reference:
    """An object (and keys in it) that must exist: to mount a volume, or to make a container's environment."""

    resource: Resource
    name: str
    keys: tuple[str, ...]
    stage: Stage


def references(pod: Mapping[str, Any]) -> list[Reference]:
    """List what `pod` refers to, without what it marks as optional; each once, in the order of the manifest."""
    spec = pod["spec"]
    found = [reference for volume in spec.get("volumes") or [] for reference in _of_volume(volume)]
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        found.extend(_of_environment(container))
    return list(dict.fromkeys(found))


def problem(reference: Reference, namespace: str, found: Mapping[str, Any] | None) -> str | None:
    """Say in a kubelet's words what is wrong with the object that was `found` (None where there is none)."""
    noun = NOUNS[reference.resource]
    if found is None:
        return f'{noun.lower()} "{reference.name}" not found'
    held = {**(found.get("data") or {}), **(found.get("binaryData") or {})}
    absent = [key for key in reference.keys if key not in held]
    return f"couldn't find key {', '.join(absent)} in {noun} {namespace}/{reference.name}" if absent else None


def _of_volume(volume: Mapping[str, Any]) -> Iterator[Reference]:
    for source in [volume, *(volume.get("projected", {}).get("sources") or [])]:
        if config := source.get("configMap"):
            yield from _of_source("configmaps", config.get("name"), config)
        if secret := source.get("secret"):
            yield from _of_source("secrets", secret.get("secretName") or secret.get("name"), secret)


def _of_source(resource: Resource, name: str | None, source: Mapping[str, Any]) -> Iterator[Reference]:
    if name and not source.get("optional"):
        keys = tuple(item["key"] for item in source.get("items") or [])
        yield Reference(resource, name, keys, "mount")


def _of_environment(container: Mapping[str, Any]) -> Iterator[Reference]:
    for source in container.get("envFrom") or []:
        for field, resource in _FROM:
            if (ref := source.get(field)) and not ref.get("optional"):
                yield Reference(resource, ref["name"], (), "environment")
    for variable in container.get("env") or []:
        for field, resource in _KEY_REFS:
            if (ref := (variable.get("valueFrom") or {}).get(field)) and not ref.get("optional"):
                yield Reference(resource, ref["name"], (ref["key"],), "environment")


_FROM: tuple[tuple[str, Resource], ...] = (("configMapRef", "configmaps"), ("secretRef", "secrets"))
_KEY_REFS: tuple[tuple[str, Resource], ...] = (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets"))
