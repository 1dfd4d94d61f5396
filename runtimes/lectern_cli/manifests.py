"""A directory of YAML files to resources, the way `kubectl apply -f` reads it.

The first step of `lectern up`: every fault is reported with file, document and next step, before
anything is started. Documents of other API groups (a PersistentVolumeClaim, a ConfigMap) are kept
aside: they mean something to Kubernetes, not to Lectern.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lectern_contract.errors import ConfigurationError, ResourceInvalid
from lectern_contract.resources import GROUP, AnyResource, IngestionSource, KnowledgeBase, RagEndpoint, parse

MAX_FILE_BYTES = 4 * 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Manifests:
    """What was read: our resources by name, and how many documents of other groups were passed over."""

    knowledge_bases: dict[str, KnowledgeBase]
    sources: dict[str, IngestionSource]
    endpoints: dict[str, RagEndpoint]
    others: tuple[str, ...]


def read(path: Path) -> Manifests:
    """The resources in the file or directory `path` (with its sub-directories).

    Raises `ConfigurationError` for a path that is not there, a file that is not YAML, an invalid or
    doubled resource, and a reference to nothing.
    """
    resources: dict[tuple[str, str, str], tuple[AnyResource, str]] = {}
    others: list[str] = []
    for where, document in _documents(path):
        if not _is_ours(document, where):
            others.append(f"{document.get('kind')} in {where}")
            continue
        try:
            resource = parse(document)
        except ResourceInvalid as error:
            raise ConfigurationError(f"{where}: {error}") from error
        key = (resource.kind_name, resource.namespace, resource.name)
        if key in resources:
            raise ConfigurationError(
                f"{where}: {resource.kind_name}/{resource.name} is already defined in {resources[key][1]}; "
                "rename one of them or remove it"
            )
        resources[key] = (resource, where)
    found = [resource for resource, _ in resources.values()]
    if not found:
        raise ConfigurationError(f"{path}: no resource of {GROUP} in it; see config/samples/quickstart for an example")
    manifests = Manifests(
        knowledge_bases={r.name: r for r in found if isinstance(r, KnowledgeBase)},
        sources={r.name: r for r in found if isinstance(r, IngestionSource)},
        endpoints={r.name: r for r in found if isinstance(r, RagEndpoint)},
        others=tuple(others),
    )
    _check_one_namespace(found)
    _check_references(manifests)
    return manifests


def _documents(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for file in _files(path):
        try:
            text = file.read_text(encoding="utf-8")
            documents = list(yaml.safe_load_all(text))
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{file}: not UTF-8 text; save it as UTF-8") from error
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{file}: not valid YAML: {yaml_fault(error)}") from error
        except OSError as error:
            raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
        for number, document in enumerate(documents, start=1):
            where = f"{file}" if len(documents) == 1 else f"{file}, document {number}"
            if document is None:
                continue
            if not isinstance(document, Mapping):
                raise ConfigurationError(
                    f"{where}: expected a resource (a mapping with apiVersion and kind), found {_a(document)}"
                )
            yield where, document


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConfigurationError(f"{path}: no such file or directory; name the directory with your resources")
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not files:
        raise ConfigurationError(f"{path}: no {', '.join(SUFFIXES)} file in it; put your resources there")
    for file in files:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ConfigurationError(f"{file}: larger than {MAX_FILE_BYTES} bytes; a manifest should not be")
    return files


def _is_ours(document: Mapping[str, Any], where: str) -> bool:
    api_version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        raise ConfigurationError(f"{where}: apiVersion and kind are missing; every resource starts with both")
    return api_version.partition("/")[0] == GROUP


def yaml_fault(error: yaml.YAMLError) -> str:
    """What is wrong with a YAML text, in one line: place and problem."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "cannot be read"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark is not None else str(problem)


def _a(value: object) -> str:
    return {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a boolean"}.get(
        type(value), type(value).__name__
    )


def _check_one_namespace(found: list[AnyResource]) -> None:
    namespaces = sorted({resource.namespace for resource in found})
    if len(namespaces) > 1:
        raise ConfigurationError(
            f"the resources are in several namespaces ({', '.join(namespaces)}); the embedded mode runs one at a time"
        )


def _check_references(manifests: Manifests) -> None:
    known = ", ".join(sorted(manifests.knowledge_bases)) or "none"
    for source in manifests.sources.values():
        if source.spec.knowledge_base_ref not in manifests.knowledge_bases:
            raise ConfigurationError(
                f"IngestionSource/{source.name}: spec.knowledgeBaseRef names {source.spec.knowledge_base_ref!r}, "
                f"which does not exist (there is: {known}); create it or correct the name"
            )
    for endpoint in manifests.endpoints.values():
        for name in endpoint.spec.knowledge_base_refs:
            if name not in manifests.knowledge_bases:
                raise ConfigurationError(
                    f"RagEndpoint/{endpoint.name}: spec.knowledgeBaseRefs names {name!r}, which does not exist "
                    f"(there is: {known}); create it or correct the name"
                )
