"""What is asked is what runs: every leaf of every resource reaches a setting or a manifest, or is named as pending.

The samples in config/samples/full set every field; each leaf in turn gets another valid value, and something that a
pod or the cluster sees has to change.
"""

from __future__ import annotations

import ast
import json
from functools import cache
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from lectern_contract import (
    collection,
    pending,
    query_settings,
    query_wiring,
    resources,
    settings,
    source_settings,
    topics,
)
from lectern_contract.errors import ConfigurationError
from lectern_contract.generation import index_identity
from lectern_contract.resources import AnyResource, IngestionSource, KnowledgeBase, RagEndpoint, parse_as
from lectern_operator.desired import connector, rag_endpoint, receiver
from lectern_operator.desired import knowledge_base as desired
from lectern_operator.desired.connector import AskedRun
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.policies import collection as collection_policy
from lectern_operator.policies import deletion
from lectern_operator.policies import ingestion_source as source_policy
from lectern_operator.policies import knowledge_base as policy
from lectern_operator.policies import rag_endpoint as endpoint_policy
from lectern_operator_tests import leaves, worlds
from lectern_operator_tests.leaves import Change

PENDING_LEAVES = 56
"""How many leaves nothing acts on. It only falls: lower it when a field is acted on."""
UNREAD_SETTINGS = 20
"""How many settings no runtime reads. It only falls, too."""

Outputs = dict[str, str]


def outputs(resource: AnyResource) -> Outputs:
    """Return all that a pod or the cluster sees of `resource`, by what it is."""
    match resource:
        case KnowledgeBase():
            return _of_knowledge_base(resource)
        case IngestionSource():
            return _of_source(resource)
        case RagEndpoint():
            return _of_endpoint(resource)


def _of_knowledge_base(kb: KnowledgeBase) -> Outputs:
    found: Outputs = {"identity": index_identity(kb.spec), "held": str(deletion.held(kb))}
    if kb.spec.vector_store is not None:
        wanted = collection.collection(kb, generation=1, dimensions=kb.spec.embedding.dimensions)
        found["collection"] = repr((wanted, collection.shard_keys(kb)))
    found["topics"] = repr(topics.topics(kb))
    found["deleted outside"] = repr(collection_policy.deletion(kb, store=Unknown("not read")))
    for keda in (True, False):
        planned = policy.plan(kb, policy.Observed(children={}, pods=(), keda=Known(value=keda)))
        manifests = desired.manifests(
            kb,
            generation=planned.generation,
            replicas=planned.replicas,
            scaled=planned.scaled,
            topics={} if planned.topics else None,
            images=worlds.IMAGES,
        )
        found[f"manifests with KEDA {keda}"] = json.dumps(manifests, sort_keys=True)
    asking = parse_as(RagEndpoint, worlds.changed(worlds.ENDPOINT, knowledgeBaseRefs=[kb.name]))
    feeding = parse_as(IngestionSource, worlds.changed(worlds.SOURCE, knowledgeBaseRef=kb.name))
    found["query settings"] = settings.canonical(query_wiring.query_settings(asking, {kb.name: kb}))
    found["connector"] = _or_error(lambda: connector.manifests(feeding, kb, run=AskedRun("1"), images=worlds.IMAGES))
    return found


def _of_source(source: IngestionSource) -> Outputs:
    kb = _known_knowledge_bases().get(source.spec.knowledge_base_ref)
    if kb is None:
        return {"missing": source.spec.knowledge_base_ref}
    try:
        made = connector if source.spec.push is None else receiver
        digest: Fact[str] = Known(made.settings_digest(source, kb))
    except ConfigurationError as error:
        digest = Unknown(str(error))
    observed = source_policy.Observed(children={}, pods=(), jobs=(), knowledge_base=Known(kb))
    planned = source_policy.plan(source, observed, digest, now="2026-11-21T00:00:00Z")
    return {"plan": repr(planned), "manifests": _or_error(lambda: _made_of_source(source, kb, planned))}


def _made_of_source(source: IngestionSource, kb: KnowledgeBase, planned: source_policy.Plan) -> list[dict[str, Any]]:
    if source.spec.push is not None:
        return receiver.manifests(source, kb, images=worlds.IMAGES)
    run = AskedRun("1") if planned.start else None
    return connector.manifests(source, kb, run=run, held=planned.held, images=worlds.IMAGES)


def _of_endpoint(endpoint: RagEndpoint) -> Outputs:
    known = _known_knowledge_bases()
    facts: dict[str, Fact[KnowledgeBase | None]] = {
        name: Known(known.get(name)) for name in endpoint.spec.knowledge_base_refs
    }
    found: Outputs = {}
    for keda in (True, False):
        observed = endpoint_policy.Observed(children={}, pods=(), knowledge_bases=facts, keda=Known(value=keda))
        planned = endpoint_policy.plan(endpoint, observed)
        found[f"plan with KEDA {keda}"] = repr(planned)
        if planned.blocked is None:
            manifests = rag_endpoint.manifests(
                endpoint,
                planned.knowledge_bases,
                replicas=planned.replicas,
                generators=planned.generators,
                scaled=planned.scaled,
                images=worlds.IMAGES,
            )
            found[f"manifests with KEDA {keda}"] = json.dumps(manifests, sort_keys=True)
    return found


def _or_error(make: Any) -> str:
    try:
        return json.dumps(make(), sort_keys=True)
    except ConfigurationError as error:
        return str(error)


@cache
def _known_knowledge_bases() -> dict[str, KnowledgeBase]:
    found = [resources.parse(document) for document in worlds.samples("full")]
    return {each.name: each for each in found if isinstance(each, KnowledgeBase)} | {"docs": worlds.knowledge_base()}


@cache
def all_changes() -> tuple[Change, ...]:
    """Return every leaf of every base, changed: the full samples and what their unions and overrides hide."""
    full = worlds.samples("full")
    managed = next(each for each in full if each["kind"] == "KnowledgeBase" and "managed" in _server(each))
    variants = [
        *_endpoints_without_claims(full),
        worlds.changed(managed, embedding__server__managed__modelCache={"size": "5Gi", "storageClassName": "fast"}),
        worlds.changed(managed, embedding__server__managed__startupSeconds=None),
        *(tolerating(document) for document in full if "tolerations" in json.dumps(document)),
    ]
    return tuple(change for document in (*full, *variants) for change in leaves.changes(document))


def _endpoints_without_claims(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the endpoints of managed servers with claims of their own and a fixed number of model servers."""
    changes: dict[str, Any] = {"generation__scaling": None}
    for part in ("generation", "reranker"):
        changes[f"{part}__server__managed__modelCache__claimName"] = None
        changes[f"{part}__server__managed__modelCache__offline"] = None
    return [
        worlds.changed(document, **changes)
        for document in documents
        if document["kind"] == "RagEndpoint" and "managed" in document["spec"]["generation"]["server"]
    ]


def tolerating(document: Any) -> Any:
    """Return a copy of `document` whose tolerations have no value, so that their operator can change."""
    if isinstance(document, list):
        return [tolerating(item) for item in document]
    if isinstance(document, dict):
        return {
            key: [{"key": "gpu", "operator": "Exists"}] if key == "tolerations" else tolerating(value)
            for key, value in document.items()
        }
    return document


def _server(document: dict[str, Any]) -> dict[str, Any]:
    server: dict[str, Any] = document["spec"]["embedding"]["server"]
    return server


@cache
def read_leaves() -> dict[str, frozenset[str]]:
    """Return by kind the leaves whose change alters an output."""
    found: dict[str, set[str]] = {kind: set() for kind in resources.KINDS}
    known: dict[int, Outputs] = {}
    for change in all_changes():
        kind = change.before["kind"]
        if change.path in found[kind]:
            continue
        if (before := known.get(id(change.before))) is None:
            before = known[id(change.before)] = outputs(resources.parse(change.before))
        if before != outputs(resources.parse(change.after)):
            found[kind].add(change.path)
    return {kind: frozenset(paths) for kind, paths in found.items()}


@cache
def model_leaves(kind: str) -> frozenset[str]:
    """Return the leaves that documents of `kind` may have."""
    spec = resources.KINDS[kind].model_fields["spec"].annotation
    assert isinstance(spec, type)
    return frozenset(leaves.of_model(spec))


def is_pending(kind: str, path: str) -> bool:
    """Say whether `path` is an entry of the table, or below one."""
    return any(path == entry or path.startswith((f"{entry}.", f"{entry}[]")) for entry in pending.PENDING[kind])


@pytest.mark.parametrize("kind", resources.KINDS)
def test_every_leaf_is_changed_at_least_once(kind: str) -> None:
    seen = {change.path for change in all_changes() if change.before["kind"] == kind}
    assert sorted(model_leaves(kind) - seen) == []


@pytest.mark.parametrize("kind", resources.KINDS)
def test_a_leaf_that_changes_nothing_is_named_as_pending(kind: str) -> None:
    unread = model_leaves(kind) - read_leaves()[kind]
    assert sorted(path for path in unread if not is_pending(kind, path)) == []


@pytest.mark.parametrize("kind", resources.KINDS)
def test_what_is_named_as_pending_changes_nothing(kind: str) -> None:
    assert sorted(path for path in read_leaves()[kind] if is_pending(kind, path)) == []


@pytest.mark.parametrize("kind", resources.KINDS)
def test_every_entry_of_the_table_is_a_part_of_the_spec(kind: str) -> None:
    stray = [
        entry
        for entry in pending.PENDING[kind]
        if not any(path == entry or path.startswith((f"{entry}.", f"{entry}[]")) for path in model_leaves(kind))
    ]
    assert stray == []


def test_the_number_of_pending_leaves_only_falls() -> None:
    count = sum(is_pending(kind, path) for kind in resources.KINDS for path in model_leaves(kind))
    assert count == PENDING_LEAVES, "a new field must be acted on; where one more is acted on, lower PENDING_LEAVES"


def test_unread_names_what_is_set_and_nothing_else() -> None:
    by_name = {resource.name: resource for resource in map(resources.parse, worlds.samples("full", "minimal"))}
    assert pending.unread(by_name["helpdesk"]) == (
        "spec.evaluation",
        "spec.generation",
    )
    minimal = [resources.parse(document) for document in worlds.samples("minimal")]
    assert [pending.unread(resource) for resource in minimal] == [(), (), ()]


def test_every_settings_field_is_read_by_a_runtime_or_named() -> None:
    read = _attributes_of_runtimes()
    unread = {path for path, name in _settings_fields() if name not in read}
    assert sorted(unread - set(pending.UNREAD_SETTINGS)) == []
    assert sorted(set(pending.UNREAD_SETTINGS) - unread) == [], "these are read by now: remove them from the table"
    assert len(unread) == UNREAD_SETTINGS, "lower UNREAD_SETTINGS"


def _settings_fields() -> list[tuple[str, str]]:
    """Every field of every settings model; a discriminator (a literal of one value) is read by pydantic itself."""
    found = []
    refused = [each for each in get_args(get_args(source_settings.SourceSettings)[0]) if not _has_connector(each)]
    models = {
        key: each
        for key, each in {**vars(settings), **vars(source_settings), **vars(query_settings)}.items()
        if each not in refused
    }
    for name, model in models.items():
        if isinstance(model, type) and issubclass(model, BaseModel) and not name.startswith("_"):
            for field_name, field in model.model_fields.items():
                if field.is_required():
                    found.append((f"{name}.{field_name}", field_name))
    return found


def _has_connector(source: type[BaseModel]) -> bool:
    """Say whether a run can read this kind of source; where it cannot, it refuses the settings with a sentence."""
    kind = source.model_fields["kind"].default
    registry = worlds.ROOT / "runtimes" / "lectern_runtime" / "ingest" / "connectors" / "__init__.py"
    return f'"{kind}":' in registry.read_text()


@cache
def _attributes_of_runtimes() -> frozenset[str]:
    """Return every attribute name that the code of the runtimes and of the command line reads."""
    files = [
        file for name in ("lectern_runtime", "lectern_cli") for file in (worlds.ROOT / "runtimes" / name).rglob("*.py")
    ]
    trees = [ast.parse(file.read_text()) for file in files]
    return frozenset(
        node.attr
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    )
