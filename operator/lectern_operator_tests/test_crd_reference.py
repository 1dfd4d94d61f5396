"""The reference pages name every field, rule, column, condition and reason that there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lectern_contract import resources
from lectern_contract.resources.reasons import CONDITIONS, REASON_TEXT, Reason
from lectern_operator import crd, reference

KINDS = sorted(resources.KINDS)


def _objects(path: str, schema: crd.Schema) -> Iterator[tuple[str, crd.Schema]]:
    """Every object of a schema with its path, lists written as `[]`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        inner, suffix = (child["items"], "[]") if "items" in child else (child, "")
        if "properties" in inner:
            yield from _objects(f"{path}.{name}{suffix}", inner)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_a_heading_for_each_object_and_a_row_for_each_field_under_it(kind: str) -> None:
    sections = {part.partition("\n")[0]: part for part in reference.page(kind).split("\n### ")}
    root = crd.root_schema(resources.KINDS[kind])["properties"]
    for top in ("spec", "status"):
        for path, schema in _objects(top, root[top]):
            rows = sections[f"`{path}`"].splitlines()
            for name, child in schema["properties"].items():
                (row,) = (row for row in rows if row.startswith(f"| `{name}` |"))
                assert row.endswith(f"| {child['description']} |")
                assert ("| required |" in row) == (name in schema.get("required", ()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_every_rule_column_condition_and_reason(kind: str) -> None:
    page, model = reference.page(kind), resources.KINDS[kind]
    root = crd.root_schema(model)["properties"]
    rules = [
        rule for _, schema in _objects("spec", root["spec"]) for rule in schema.get("x-kubernetes-validations", ())
    ]
    assert rules
    assert [rule["message"] for rule in rules if rule["message"] not in page] == []
    assert all(f"| {column.name}" in page and column.description in page for column in model.columns)
    assert all(f"`{condition.value}`" in page for condition in CONDITIONS[kind])
    assert all(f"| `{reason.value}` | {REASON_TEXT[reason]} |" in page for reason in Reason)


def test_every_reason_is_explained_in_a_sentence() -> None:
    assert set(REASON_TEXT) == set(Reason)
    assert all(text[0].isupper() or text[0] == "`" for text in REASON_TEXT.values())
    assert all(text.endswith(".") for text in REASON_TEXT.values())


def test_rows_show_type_default_and_bounds() -> None:
    corpus = reference.page("KnowledgeBase")
    assert "| `overlap` | integer | `20` | 0 to 4096 | Tokens that a chunk repeats from the one before it. |" in corpus
    assert "| `tenants` | list of object, unique by name | `[]` | at most 1000 items |" in corpus
    assert '| `accessLevels` | set of string | `["public"]` | 1 to 32 items; each at most 63 characters;' in corpus
    assert "| `chunking` | object | those of its fields |" in corpus
    assert "| `spec.chunking.overlap` | overlap must not be greater than half of size |" in corpus
    source = reference.page("IngestionSource")
    assert "| `metadata` | map of string | `{}` | at most 32 entries; keys must match `^[A-Za-z_]" in source


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_row_has_as_many_cells_as_its_head(kind: str) -> None:
    for table in reference.page(kind).split("\n\n"):
        rows = [line.replace("\\|", "") for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, table
