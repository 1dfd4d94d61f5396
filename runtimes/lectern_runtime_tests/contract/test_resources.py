"""Documents become resources: defaults, null, names of fields, and sentences that tell what to mend."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from lectern_contract import resources
from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources.common import Rule, SpecModel
from lectern_runtime_tests.contract.wrong_documents import BASES, FORBIDDEN, document


def _parse(kind: str, **changes: Any) -> resources.AnyResource:
    return resources.parse(document(kind, {path.replace("__", "."): value for path, value in changes.items()}))


def _models(annotation: Any, path: str) -> Iterator[tuple[str, type[SpecModel]]]:
    """Every model that a spec is made of, with the path of its fields."""
    if isinstance(annotation, type) and issubclass(annotation, SpecModel):
        yield path, annotation
        for name, field in annotation.model_fields.items():
            yield from _models(field.annotation, f"{path}.{field.alias or name}")
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument, path)


ALL_MODELS = [
    pytest.param(model, id=f"{kind}:{path}")
    for kind, resource in sorted(resources.KINDS.items())
    for path, model in _models(resource.model_fields["spec"].annotation, "spec")
]


@pytest.mark.parametrize("kind", BASES)
def test_a_resource_survives_a_round_trip(kind: str) -> None:
    resource = _parse(kind)
    written = resource.model_dump(mode="json", by_alias=True, exclude_none=True)
    again = resources.parse({"apiVersion": resources.API_VERSION, "kind": kind, **written})
    assert again == resource


@pytest.mark.parametrize("kind", BASES)
def test_null_means_left_out_in_known_fields_and_in_maps(kind: str) -> None:
    plain = _parse(kind)
    nulls = {f"spec.{name}": None for name in ("suspend", "resources") if name in type(plain.spec).model_fields}
    nulls |= {"status": None, "metadata.labels": None, "metadata.creationTimestamp": None}
    assert resources.parse(document(kind, nulls)) == plain


def test_null_is_left_out_of_maps_and_refused_in_lists_and_unknown_fields() -> None:
    assert _parse("IngestionSource", spec__metadata={"a": None}) == _parse("IngestionSource", spec__metadata={})
    with pytest.raises(ResourceInvalid, match=r"spec\.include\[1\]"):
        _parse("IngestionSource", spec__include=["**", None])
    with pytest.raises(ResourceInvalid, match=r"spec\.unknown: unknown field"):
        _parse("IngestionSource", spec__unknown=None)


def test_defaults_are_those_of_the_models_at_every_depth() -> None:
    changed = document("KnowledgeBase", {"spec.workers": {"maxReplicas": 2}})
    resource = resources.parse_as(resources.KnowledgeBase, changed)
    assert resource.spec.workers.max_replicas == 2
    assert resource.spec.workers.max_attempts == 3
    assert resource.spec.workers.resources.requests == {"cpu": "500m", "memory": "512Mi"}
    assert resource.spec.chunking == type(resource.spec.chunking)()


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        (
            {"spec.embedding.modle": "x"},
            "spec.embedding.modle",
            "KnowledgeBase/subject: spec.embedding.modle: unknown field; remove it, or check its spelling",
        ),
        (
            {"spec.embedding": {}},
            "spec.embedding.model",
            "KnowledgeBase/subject: spec.embedding.model: required; set it (and 1 more)",
        ),
        (
            {"spec.chunking": {"size": 100, "overlap": 60}},
            "spec.chunking.overlap",
            "KnowledgeBase/subject: spec.chunking.overlap: overlap must not be greater than half of size",
        ),
        (
            {"spec.partitioning.tenants": [{"name": "a"}, {"name": "a"}]},
            "spec.partitioning.tenants",
            "KnowledgeBase/subject: spec.partitioning.tenants: tenants must not have one name twice",
        ),
        (
            {"spec.workers.resources": {"limits": {"": "1"}}},
            "spec.workers.resources.limits",
            "KnowledgeBase/subject: spec.workers.resources.limits: key '': String should have at least 1 character",
        ),
        ({"spec": None}, "spec", "KnowledgeBase/subject: spec: required; set it"),
    ],
)
def test_a_refusal_names_resource_field_and_next_step(changes: dict[str, Any], field: str, sentence: str) -> None:
    with pytest.raises(ResourceInvalid) as refusal:
        resources.parse(document("KnowledgeBase", changes))
    assert (refusal.value.field, str(refusal.value)) == (field, sentence)
    assert refusal.value.resource == "KnowledgeBase/subject"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "apiVersion"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "apiVersion"),
        ({"apiVersion": resources.API_VERSION}, "kind"),
        ({"apiVersion": resources.API_VERSION, "kind": "Endpoint"}, "kind"),
        ({"apiVersion": resources.API_VERSION, "kind": "RagEndpoint"}, "metadata"),
        ({"apiVersion": resources.API_VERSION, "kind": "RagEndpoint", "metadata": "x"}, "metadata"),
        ({"apiVersion": resources.API_VERSION, "kind": "RagEndpoint", "metadata": {}}, "metadata.name"),
        ({"apiVersion": resources.API_VERSION, "kind": ["RagEndpoint"]}, "kind"),
    ],
)
def test_what_is_no_resource_of_ours_is_refused_by_the_field_that_shows_it(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ResourceInvalid) as refusal:
        resources.parse(body)
    assert refusal.value.field == field


def test_a_value_that_json_does_not_know_is_refused_with_the_way_out() -> None:
    with pytest.raises(ResourceInvalid, match="put dates and other special values in quotes"):
        _parse("RagEndpoint", spec__generation__revision=datetime.date(2026, 11, 21))


def test_a_document_of_another_kind_is_refused_by_who_knows_the_kind() -> None:
    with pytest.raises(ResourceInvalid, match="expected a KnowledgeBase, got 'RagEndpoint'"):
        resources.parse_as(resources.KnowledgeBase, document("RagEndpoint", {}))


@pytest.mark.parametrize("change", FORBIDDEN, ids=lambda change: f"{change.kind}-{change.name}")
def test_nothing_changed_is_always_allowed(change: Any) -> None:
    for changes in (change.before, change.after):
        same = resources.parse(document(change.kind, changes))
        resources.check_update(same, same)


def test_other_changes_are_allowed() -> None:
    old = _parse("KnowledgeBase")
    new = _parse("KnowledgeBase", spec__embedding__model="e5", spec__messaging__replicationFactor=3)
    resources.check_update(old, new)


@pytest.mark.parametrize("model", ALL_MODELS)
def test_every_rule_has_both_halves_and_blames_a_field_of_its_object(model: type[SpecModel]) -> None:
    aliases = {field.alias for field in model.model_fields.values()}
    for rule in model.rules:
        assert _halves(rule), rule
        assert rule.message
        assert rule.field.partition(".")[0] in {*aliases, ""}
        assert set(rule.members) <= aliases


def _halves(rule: Rule) -> bool:
    """CEL or a list type for the server; one predicate for Python, over time only where CEL looks back."""
    server = bool(rule.cel) != (rule.unique_by is not None)
    return server and (rule.holds is None) != (rule.kept is None) and ("oldSelf" in rule.cel) == (rule.kept is not None)


@pytest.mark.parametrize("model", ALL_MODELS)
def test_transition_rules_stand_where_the_server_can_compare_old_and_new(model: type[SpecModel]) -> None:
    """Not in items of lists: `check_update` walks objects only, and the server refuses what it cannot match."""
    for field in model.model_fields.values():
        if "tuple" in str(field.annotation):
            items = [item for _, item in _models(field.annotation, "")]
            assert not any(rule.kept for item in items for rule in item.rules)


@pytest.mark.parametrize("model", ALL_MODELS)
def test_every_field_has_a_description_and_a_camel_case_name(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert (field.description or "").endswith("."), name
        assert "_" not in (field.alias or "")
