"""No request, however crafted, reads what its principal may not: leaks, filters, credentials, and who makes scopes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lectern_contract.query_settings import AuthSettings
from lectern_runtime_tests.query.conftest import RETURNS
from lectern_runtime_tests.query.world import (
    ACME,
    ACME_SECRET,
    RIVAL,
    World,
    anonymous,
    calling,
    knowledge_base,
    query_settings,
)

NOBODY = AuthSettings(anonymous=None, jwt=None, api_keys_directory=None)
QUESTION = "When is a refund paid to the card?"
ROUTES = (
    ("/v1/query", {"question": QUESTION}),
    ("/v1/retrieve", {"query": QUESTION}),
    ("/v1/chat/completions", {"model": "desk", "messages": [{"role": "user", "content": QUESTION}]}),
)


@pytest.fixture
async def mixed(world: World) -> World:
    """The same text in every partition, so that only the scope can tell them apart."""
    for partition in (ACME_SECRET, RIVAL):
        await world.put("returns.md", RETURNS, partition=partition, metadata={"product": "shop", "year": 2024})
        await world.put("only-here.md", f"Refund of {partition.key} card.", partition=partition)
    return world


def partitions(body: dict[str, Any]) -> set[str]:
    found = body.get("hits") or body.get("citations") or body.get("lectern", {}).get("citations", [])
    return {each["partition"] for each in found}


@pytest.mark.parametrize(("path", "body"), ROUTES)
async def test_equal_text_of_other_tenants_and_levels_is_never_shown(
    mixed: World, path: str, body: dict[str, Any]
) -> None:
    async with calling(mixed.app()) as client:
        response = await client.post(path, json=body)
    assert partitions(response.json()) == {ACME.key}
    assert RIVAL.key not in response.text
    assert ACME_SECRET.key not in response.text


@pytest.mark.parametrize(
    ("tenant", "levels", "expected"),
    [
        ("acme", ("public",), {"acme/public"}),
        ("acme", ("secret",), {"acme/secret"}),
        ("acme", ("public", "secret"), {"acme/public", "acme/secret"}),
        ("rival", ("public", "secret"), {"rival/public"}),
        ("ACME", ("public",), set()),
        ("acme/public", ("public",), set()),
    ],
)
async def test_a_principal_sees_exactly_its_partitions(
    mixed: World, tenant: str, levels: tuple[str, ...], expected: set[str]
) -> None:
    settings = query_settings(auth=anonymous(tenant, *levels))
    async with calling(mixed.app(settings)) as client:
        body = (await client.post("/v1/retrieve", json={"query": QUESTION, "top_k": 100})).json()
    assert partitions(body) == expected


@pytest.mark.parametrize("levels", [("Public",), ("internal",), ("public ",)])
async def test_levels_that_the_corpus_does_not_know_are_denied(mixed: World, levels: tuple[str, ...]) -> None:
    settings = query_settings(auth=anonymous("acme", *levels))
    async with calling(mixed.app(settings)) as client:
        response = await client.post("/v1/query", json={"question": QUESTION})
    assert (response.status_code, response.json()["code"]) == (403, "scope_denied")


@pytest.mark.parametrize(
    "name", ["tenant", "access_level", "document_id", "kind", "metadata.product", "product.x", "PRODUCT", "*", "$or"]
)
async def test_filters_over_anything_but_declared_fields_are_refused(mixed: World, name: str) -> None:
    async with calling(mixed.app()) as client:
        response = await client.post("/v1/query", json={"question": QUESTION, "filters": {name: ["rival"]}})
    assert (response.status_code, response.json()["code"]) == (400, "filter_not_declared")


@pytest.mark.parametrize(
    ("filters", "uris"),
    [
        ({"product": "shop"}, {"returns.md"}),
        ({"product": ["shop", "depot"]}, {"returns.md", "shipping.md"}),
        ({"year": 2025}, {"shipping.md"}),
        ({"product": "shop", "year": 2025}, set()),
        ({"product": "rival/public"}, set()),
        ({"year": "2024"}, set()),
        ({"year": True}, set()),
    ],
)
async def test_filters_only_narrow(mixed: World, filters: dict[str, Any], uris: set[str]) -> None:
    async with calling(mixed.app()) as client:
        body = (await client.post("/v1/retrieve", json={"query": QUESTION, "filters": filters})).json()
    assert {hit["uri"] for hit in body["hits"]} == uris
    assert partitions(body) <= {ACME.key}


async def test_a_knowledge_base_that_does_not_declare_the_filter_gives_nothing(mixed: World) -> None:
    await mixed.index("manuals")
    await mixed.put("drill.md", RETURNS, kb="manuals", metadata={"product": "shop"})
    settings = query_settings(knowledge_bases=(knowledge_base(), knowledge_base("manuals", filterable_fields=())))
    async with calling(mixed.app(settings)) as client:
        body = (
            await client.post("/v1/retrieve", json={"query": QUESTION, "filters": {"product": "shop"}, "top_k": 100})
        ).json()
    assert {hit["knowledge_base"] for hit in body["hits"]} == {"guides"}


# ---------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(("path", "body"), ROUTES)
async def test_without_declared_anonymous_access_nobody_is_let_in(
    mixed: World, path: str, body: dict[str, Any]
) -> None:
    async with calling(mixed.app(query_settings(auth=NOBODY))) as client:
        response = await client.post(path, json=body)
        models = await client.get("/v1/models")
        health = [(await client.get(each)).status_code for each in ("/livez", "/readyz", "/metrics", "/configz", "/")]
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert models.status_code == 401
    assert health == [200] * 5
    assert mixed.embedder.calls[1:] == []  # the readiness probe alone


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30.")],
        [("Authorization", "Basic YTpi")],
        [("Authorization", "Bearer anonymous"), ("Authorization", "Bearer other")],
        [("X-API-Key", "anonymous")],
    ],
)
async def test_credentials_that_nobody_verifies_are_refused_not_ignored(
    world: World, headers: list[tuple[str, str]]
) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", json={"question": QUESTION}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "credentials_not_accepted")


@pytest.mark.parametrize("value", ["Bearer anonymous", "bearer Anonymous", " "])
async def test_a_client_that_cannot_leave_the_header_out_may_say_that_it_is_anonymous(world: World, value: str) -> None:
    async with calling(world.app()) as client:
        response = await client.post("/v1/query", json={"question": QUESTION}, headers={"Authorization": value})
    assert response.status_code == 200


# ---------------------------------------------------------------------------------------- one door

REPOSITORY = Path(__file__).resolve().parents[3]
MAKERS = ("Scope", "Scope.of_reader", "Scope.of_writer", "Principal")
ALLOWED = {
    # The owner of the data directory counts the documents of its sources; no caller of the API is involved.
    "runtimes/lectern_cli/counting.py": {"Scope.of_writer"},
    # The owner of the data directory lists documents that failed; no caller of the API is involved.
    "runtimes/lectern_cli/failures.py": {"Scope.of_writer"},
    # It stands in for a worker of the old generation: the partition is the message's.
    "runtimes/lectern_cli/withdrawal.py": {"Scope.of_writer"},
    "runtimes/lectern_contract/scope.py": {"Scope", "Scope.of_reader", "Scope.of_writer"},
    "runtimes/lectern_runtime/query/principals.py": {"Scope.of_reader", "Principal"},
    "runtimes/lectern_runtime/embed/prepare.py": {"Scope.of_writer"},
    # Somebody with a worker's settings and secrets asks whether a letter is open: the partition is the message's.
    "runtimes/lectern_runtime/maintain/dead_letters.py": {"Scope.of_writer"},
}


def sources() -> Iterator[Path]:
    for root in ("runtimes", "operator"):
        for path in sorted((REPOSITORY / root).rglob("*.py")):
            if not any(part.endswith("_tests") for part in path.parts):
                yield path


def made_in(source: str) -> set[str]:
    """Which of the makers are named in a file, called or handed on, under whatever name they were imported."""
    tree = ast.parse(source)
    local: dict[str, str] = {}
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "lectern_contract.scope":
            local.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module == "lectern_contract":
            modules.update(alias.asname or alias.name for alias in node.names if alias.name == "scope")
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("of_reader", "of_writer"):
            found.add(f"Scope.{node.attr}")
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                name = local.get(called.id, called.id if called.id == "cls" else "")
                found.add("Scope" if name == "cls" and "class Scope" in source else name)
            elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                found.add(called.attr if called.value.id in modules else "")
    return found & set(MAKERS)


def test_only_the_named_modules_make_scopes_and_principals() -> None:
    made = {path.relative_to(REPOSITORY).as_posix(): made_in(path.read_text(encoding="utf-8")) for path in sources()}
    offenders = {path: names - ALLOWED.get(path, set()) for path, names in made.items()}
    assert {path: names for path, names in offenders.items() if names} == {}
    assert made["runtimes/lectern_runtime/query/principals.py"] == {"Scope.of_reader", "Principal"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from lectern_contract.scope import Scope\nScope('t', ())", {"Scope"}),
        ("from lectern_contract.scope import Scope as S\nS('t', ())", {"Scope"}),
        ("from lectern_contract.scope import Scope\nmake = Scope.of_reader", {"Scope.of_reader"}),
        ("from lectern_contract import scope\nscope.Principal('a', 'b', frozenset())", {"Principal"}),
        ("import x\nx.y.Scope.of_writer(p)", {"Scope.of_writer"}),
        ("from starlette.types import Scope\ndef f(scope: Scope): ...", set()),
    ],
)
def test_the_lint_sees_every_way_to_make_one(source: str, expected: set[str]) -> None:
    assert made_in(source) == expected
