"""Takes our finalizer from objects whose operator is gone, so that they, and their namespace, can be deleted.

What the finalizer stood for, collections and topics, stays behind; its names are printed. Works on objects that break
every rule of their schema: only metadata is read. `lectern finalize` is the command; the chart's hook before an
uninstall runs this module by itself, because the operator's image has no command line beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lectern_contract import names
from lectern_contract.errors import ConfigurationError, DependencyError, LecternError
from lectern_contract.names import Topic
from lectern_contract.resources import GROUP, KINDS, VERSION

REQUEST_SECONDS = 20
ATTEMPTS = 5
Body = Mapping[str, Any]


class Objects(Protocol):
    """What is needed of the API server."""

    def list(self, plural: str, namespace: str | None) -> list[Body]:
        """Return the objects of a kind, of all namespaces where None; none where the kind does not exist."""
        ...

    def release(self, plural: str, body: Body, finalizers: Sequence[str]) -> bool:
        """Replace the finalizers of the very version of `body`; False when it has changed since."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which objects: of one kind and name, or all; `living` also those that nobody has deleted."""

    namespace: str | None
    kind: str | None = None
    name: str | None = None
    living: bool = False


def finalize(objects: Objects, chosen: Chosen) -> Iterator[str]:
    """Free the chosen objects; yields a line for each. Raises `ConfigurationError` when a named one is not there."""
    found = [(plural, body) for plural in _plurals(chosen.kind) for body in objects.list(plural, chosen.namespace)]
    if chosen.name is not None:
        found = [(plural, body) for plural, body in found if body["metadata"]["name"] == chosen.name]
        if not found:
            raise ConfigurationError(
                f"there is no {chosen.kind} {chosen.name} in {_where(chosen.namespace)}; see kubectl get {chosen.kind}"
            )
    for plural, body in found:
        if names.FINALIZER in (body["metadata"].get("finalizers") or ()):
            if body["metadata"].get("deletionTimestamp") or chosen.living:
                _free(objects, plural, body)
                yield _told(body)
            elif chosen.name is not None:
                raise ConfigurationError(
                    f"{plural}/{chosen.name} is not being deleted: delete it first, or add --including-live"
                )


def _free(objects: Objects, plural: str, body: Body) -> None:
    for _ in range(ATTEMPTS):
        left = [each for each in body["metadata"].get("finalizers") or () if each != names.FINALIZER]
        if objects.release(plural, body, left):
            return
        metadata = body["metadata"]
        again = [
            each for each in objects.list(plural, metadata["namespace"]) if each["metadata"]["uid"] == metadata["uid"]
        ]
        if not again:
            return  # gone meanwhile
        body = again[0]
    name = body["metadata"]["name"]
    raise DependencyError(f"{plural}/{name} changes all the time; try again", dependency="kubernetes")


def _told(body: Body) -> str:
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    topics = ", ".join(names.topic(namespace, name, each) for each in Topic)
    return (
        f"{namespace}/{name} is free; what it had outside stays there: collections {names.alias(namespace, name)}.g* "
        f"and alias {names.alias(namespace, name)} in its vector store, topics {topics} at its broker"
    )


def _plurals(kind: str | None) -> list[str]:
    if kind is None:
        return [model.plural for model in KINDS.values()]
    for name, model in KINDS.items():
        if kind.lower() in (name.lower(), model.plural, model.short_name):
            return [model.plural]
    raise ConfigurationError(f"{kind!r} is none of {', '.join(model.short_name for model in KINDS.values())}")


def _where(namespace: str | None) -> str:
    return "any namespace" if namespace is None else f"namespace {namespace}"


class _Cluster:
    """`Objects` on a cluster, by the kubeconfig or the pod's service account."""

    def __init__(self) -> None:
        try:
            from kubernetes import client, config
            from kubernetes.config.config_exception import ConfigException
        except ImportError as error:
            raise ConfigurationError(
                "finalize needs the package kubernetes: pip install 'lectern[operator]'"
            ) from error
        try:
            config.load_config()  # type: ignore[no-untyped-call]  # the package is only partly annotated
        except ConfigException as error:
            raise ConfigurationError(f"no cluster is known ({error}); set KUBECONFIG") from error
        self._api = client.CustomObjectsApi()
        self._refused: type[Any] = client.ApiException

    def list(self, plural: str, namespace: str | None) -> list[Body]:
        """Return the objects of a kind."""
        try:
            if namespace is None:
                answer = self._api.list_cluster_custom_object(GROUP, VERSION, plural, _request_timeout=REQUEST_SECONDS)
            else:
                answer = self._api.list_namespaced_custom_object(
                    GROUP, VERSION, namespace, plural, _request_timeout=REQUEST_SECONDS
                )
        except self._refused as error:
            if error.status == 404:
                return []
            raise _failed(error) from error
        except OSError as error:
            raise _failed(error) from error
        items: list[Body] = answer["items"]  # type: ignore[index]  # the package says object
        return items

    def release(self, plural: str, body: Body, finalizers: Sequence[str]) -> bool:
        """Replace the finalizers of the very version of `body`."""
        metadata = body["metadata"]
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "replace", "path": "/metadata/finalizers", "value": list(finalizers)},
        ]
        try:
            self._api.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                metadata["namespace"],
                plural,
                metadata["name"],
                patch,
                _request_timeout=REQUEST_SECONDS,
                _content_type="application/json-patch+json",
            )
        except self._refused as error:
            if error.status == 404:
                return True
            if error.status in (409, 422):
                return False
            raise _failed(error) from error
        except OSError as error:
            raise _failed(error) from error
        return True


def _failed(error: Exception) -> DependencyError:
    reason = getattr(error, "reason", None) or type(error).__name__
    return DependencyError(f"the API server did not do it ({reason}); check kubectl get kb -A", dependency="kubernetes")


def on_cluster(chosen: Chosen) -> Iterator[str]:
    """`finalize` on the cluster of the kubeconfig."""
    return finalize(_Cluster(), chosen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Free all of our objects of a namespace, or of all; return the exit status."""
    parser = argparse.ArgumentParser(prog="lectern-finalize", description="Take Lectern's finalizer from its objects.")
    parser.add_argument("--namespace", action="append", help="only this namespace; may be repeated (default: all)")
    parser.add_argument("--including-live", action="store_true", help="also objects that nobody has deleted")
    given = parser.parse_args(arguments)
    try:
        for namespace in given.namespace or [None]:
            for line in on_cluster(Chosen(namespace, living=given.including_live)):
                print(line)
    except LecternError as error:
        print(f"lectern: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
