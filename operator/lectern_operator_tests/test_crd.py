"""Models become definitions that the API server takes, and every word that a model cannot say there is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml
from pydantic import Field, StringConstraints

from lectern_contract import resources
from lectern_contract.resources.common import NAME_LENGTH, Rule, SpecModel, not_above, unique
from lectern_operator import crd
from lectern_operator_tests.crd_structure import structural_problems

KINDS = sorted(resources.KINDS)
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def knowledge_base() -> dict[str, Any]:
    """One definition that tests copy: making it takes a while."""
    return crd.definition("KnowledgeBase")


@pytest.mark.parametrize("kind", KINDS)
def test_a_definition_has_no_structural_problem(kind: str) -> None:
    assert structural_problems(crd.definition(kind)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_committed_definition_is_what_the_models_say(kind: str) -> None:
    path = f"crds/{resources.KINDS[kind].plural}.yaml"
    assert (REPOSITORY / path).read_text() == crd.files()[path], "run `make generate`"


@pytest.mark.parametrize("kind", KINDS)
def test_equal_models_give_equal_bytes_and_the_text_is_the_definition(kind: str) -> None:
    text = crd.text(kind)
    assert crd.text(kind) == text
    assert yaml.safe_load(text) == crd.definition(kind)
    assert "&id" not in text


def test_a_definition_names_its_kind_in_every_way() -> None:
    definition = crd.definition("KnowledgeBase")
    assert definition["metadata"] == {"name": "knowledgebases.lectern.dev"}
    assert definition["spec"]["names"] == {
        "kind": "KnowledgeBase",
        "listKind": "KnowledgeBaseList",
        "plural": "knowledgebases",
        "singular": "knowledgebase",
        "shortNames": ["kb"],
        "categories": ["lectern"],
    }
    (version,) = definition["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]] == [
        "Ready", "Reason", "Model", "Generation", "Message", "Age",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_has_a_budget_and_conditions_merge_by_type(kind: str) -> None:
    root = crd.root_schema(resources.KINDS[kind])
    (rule,) = root["x-kubernetes-validations"]
    assert f"size(self.metadata.name) <= {NAME_LENGTH}" in rule["rule"]
    conditions = root["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


class _Inner(SpecModel):
    """Inner object."""

    low: int = Field(default=1, ge=0, le=9, description="Low.")
    high: int = Field(default=2, ge=0, le=9, description="High.")

    rules: ClassVar[tuple[Rule, ...]] = (not_above("low", "high"),)


class _Named(SpecModel):
    """Named item."""

    name: Annotated[str, StringConstraints(max_length=5)] = Field(description="Name.")


class _Everything(SpecModel):
    """One field of every sort."""

    optional_number: int | None = Field(default=None, gt=0, lt=10, description="Optional.")
    only_word: Literal["One"] = Field(default="One", description="Constant.")
    inner: _Inner = Field(default_factory=lambda: _Inner(high=5), description="Nested, with a default of its own.")
    absent: _Inner | None = Field(default=None, description="Nested, and absent without a default.")
    items: tuple[_Named, ...] = Field(default=(), max_length=3, description="Items by name.")
    labels: dict[
        Annotated[str, StringConstraints(pattern="^[a-z]+$")], Annotated[str, StringConstraints(max_length=5)]
    ] = Field(default_factory=dict, max_length=2, description="Map with a pattern.")

    rules: ClassVar[tuple[Rule, ...]] = (unique("items", "name"),)


def test_every_sort_of_field_becomes_what_the_api_server_reads() -> None:
    inner = {
        "type": "object",
        "properties": {
            "low": {"type": "integer", "description": "Low.", "default": 1, "minimum": 0, "maximum": 9},
            "high": {"type": "integer", "description": "High.", "default": 2, "minimum": 0, "maximum": 9},
        },
        "x-kubernetes-validations": [
            {"rule": "self.low <= self.high", "message": "low must not be greater than high", "fieldPath": ".low"}
        ],
    }
    assert crd.structural(_Everything) == {
        "type": "object",
        "description": "One field of every sort.",
        "properties": {
            "optionalNumber": {
                "type": "integer",
                "description": "Optional.",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 10,
                "exclusiveMaximum": True,
            },
            "onlyWord": {"type": "string", "description": "Constant.", "default": "One", "enum": ["One"]},
            "inner": inner | {"description": "Nested, with a default of its own.", "default": {"low": 1, "high": 5}},
            "absent": inner | {"description": "Nested, and absent without a default."},
            "items": {
                "type": "array",
                "description": "Items by name.",
                "default": [],
                "maxItems": 3,
                "items": {
                    "type": "object",
                    "description": "Named item.",
                    "properties": {"name": {"type": "string", "description": "Name.", "maxLength": 5}},
                    "required": ["name"],
                },
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "labels": {
                "type": "object",
                "description": "Map with a pattern.",
                "default": {},
                "maxProperties": 2,
                "additionalProperties": {"type": "string", "maxLength": 5},
                "x-kubernetes-validations": [
                    {"rule": "self.all(key, key.matches(r'^[a-z]+$'))", "message": "keys must match ^[a-z]+$"}
                ],
            },
        },
    }


class _Pair(SpecModel):
    """A tuple of two types."""

    pair: tuple[int, str] = Field(description="Pair.")


class _Mixed(SpecModel):
    """A union of two types."""

    mixed: int | str = Field(description="Number or text.")


class _Anything(SpecModel):
    """A value of any type."""

    anything: Any = Field(description="Anything.")


class _Endless(SpecModel):
    """An object that contains itself."""

    child: _Endless | None = Field(default=None, description="Itself.")


class _OpenMap(SpecModel):
    """A map without bounds of its keys."""

    labels: dict[str, str] = Field(default_factory=dict, max_length=4, description="Labels.")


class _LongMap(SpecModel):
    """A map without an end."""

    labels: dict[Annotated[str, StringConstraints(pattern="^a$")], str] = Field(description="Labels.")


class _Distinct(SpecModel):
    """A Python set."""

    words: frozenset[str] = Field(description="Words.")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_Pair, "_Pair.pair: a structural schema has no prefixItems"),
        (_Mixed, "_Mixed.mixed: a union of several types"),
        (_Anything, "_Anything.anything: no type"),
        (_Endless, "the model contains itself"),
        (_OpenMap, "_OpenMap.labels: an object needs fields, or typed values and keys"),
        (_LongMap, "_LongMap.labels: a map needs max_length"),
        (_Distinct, "_Distinct.words: a structural schema has no uniqueItems"),
    ],
)
def test_what_a_structural_schema_cannot_say_is_refused_with_its_place(model: type[SpecModel], words: str) -> None:
    with pytest.raises(crd.NotStructural) as refusal:
        crd.structural(model)
    assert words in str(refusal.value)


def _spec(definition: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields: dict[str, Any] = spec["properties"]
    return fields


@pytest.mark.parametrize(
    ("field", "fault", "words"),
    [
        ("suspend", {"type": None}, "spec.suspend: type is None"),
        ("suspend", {"nullable": True}, "nullable is not allowed"),
        ("suspend", {"default": "no"}, "spec.suspend default: 'no' is no boolean"),
        ("suspend", {"description": ""}, "spec.suspend: no description"),
        ("embedding", {"additionalProperties": False}, "additionalProperties beside properties"),
        ("embedding", {"required": ["modle"]}, "modle is required and does not exist"),
        ("embedding", {"x-kubernetes-validations": [{"rule": "self.modle", "message": "x"}]}, "names modle"),
        ("allowedNamespaces", {"maxItems": None, "uniqueItems": True}, "uniqueItems is not allowed"),
        ("allowedNamespaces", {"x-kubernetes-list-type": "map"}, "the keys of a map list"),
        ("deletionPolicy", {"enum": []}, "enum is empty"),
        ("deletionPolicy", {"pattern": r"^\S+$"}, "does not mean the same"),
        ("deletionPolicy", {"pattern": "^(?=a)b$"}, "does not mean the same"),
        ("deletionPolicy", {"default": "Forget"}, "'Forget' is not one of"),
    ],
)
def test_the_checker_sees_what_is_wrong(
    field: str, fault: dict[str, Any], words: str, knowledge_base: dict[str, Any]
) -> None:
    definition = copy.deepcopy(knowledge_base)
    _spec(definition)[field] |= fault
    assert any(words in problem for problem in structural_problems(definition))


def test_the_checker_asks_for_bounds_on_all_that_a_user_writes(knowledge_base: dict[str, Any]) -> None:
    definition = copy.deepcopy(knowledge_base)
    fields = _spec(definition)
    del fields["allowedNamespaces"]["maxItems"]
    del fields["embedding"]["properties"]["model"]["maxLength"]
    del fields["embedding"]["properties"]["dimensions"]["maximum"]
    assert structural_problems(definition) == [
        "spec.embedding.model: no maxLength",
        "spec.embedding.dimensions: no maximum",
        "spec.allowedNamespaces: no maxItems",
    ]
