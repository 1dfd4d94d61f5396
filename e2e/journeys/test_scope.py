"""Readers of one tenant and level, in a corpus that has the same text for others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.journeys import corpus
from e2e.journeys.command import Up, up

SHARED = "The vault of Kelmorton was sealed in 1899 by the guild of salt traders."
QUESTION = "When was the vault of Kelmorton sealed?"
FOLDERS = {"a-public": "a/public", "a-internal": "a/internal", "b-public": "b/public", "b-internal": "b/internal"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """An endpoint for anonymous readers of a/public, over a corpus that has each text in four partitions."""
    laptop = corpus.laptop(tmp_path_factory.mktemp("scope"))
    laptop.apply("KnowledgeBase", partitioning={"accessLevels": ["public", "internal"]})
    laptop.apply(
        "IngestionSource",
        partition={"tenant": "b", "accessLevel": "internal"},
        partitionRules=[
            {"pathPrefix": folder + "/", "tenant": partition[0], "accessLevel": partition[2:]}
            for folder, partition in FOLDERS.items()
        ],
    )
    laptop.apply("RagEndpoint", auth={"anonymous": {"tenant": "a", "accessLevels": ["public"]}})
    for number, folder in enumerate(FOLDERS):
        laptop.write(f"{folder}/vault.md", f"# Vault\n\n{SHARED}\n\nOnly in {folder}: word{number}zebra.\n")
    laptop.write("unruled.md", f"# Vault\n\n{SHARED}\n\nOnly without a rule: word9zebra.\n")
    with up(*laptop.arguments) as running:
        yield running.settled()


def _foreign(text: str) -> list[str]:
    return [word for word in ("word1zebra", "word2zebra", "word3zebra", "word9zebra") if word in text]


def test_all_documents_are_indexed_so_that_something_could_leak(reader: Up) -> None:
    assert reader.resource("KnowledgeBase")["status"]["documents"] == {"indexed": 5, "failed": 0}


@pytest.mark.parametrize("query", [QUESTION, "word1zebra", "word2zebra word3zebra", "Only in b-internal", "*"])
def test_retrieve_query_and_chat_show_one_partition_only(reader: Up, query: str) -> None:
    hits = reader.retrieve(query, top_k=100)
    answer = reader.post("/v1/query", {"question": query, "top_k": 100})
    chat = reader.post("/v1/chat/completions", {"model": "docs", "messages": [{"role": "user", "content": query}]})
    stream = reader.post("/v1/query", {"question": query, "stream": True})

    assert {hit["partition"] for hit in hits} <= {"a/public"}
    assert {hit["uri"] for hit in hits} <= {"a-public/vault.md"}
    for response in (answer, chat, stream):
        assert response.status_code == 200, response.text
        shown = response.text.replace(query, "")
        assert _foreign(shown) == []
        assert "b-" not in shown


def test_the_own_partition_answers(reader: Up) -> None:
    answer = reader.ask(QUESTION)

    assert "1899" in answer["answer"]
    assert [citation["partition"] for citation in answer["citations"]] == ["a/public"]


@pytest.mark.parametrize(
    "filters",
    [
        {"tenant": "b"},
        {"tenant": ["a", "b"]},
        {"access_level": "internal"},
        {"accessLevel": "internal"},
        {"metadata.tenant": "b"},
        {"source": "docs"},
        {"": "b"},
        {"$or": "b"},
        {"tenant": {"not": "a"}},
        {"tenant": []},
        {"tenant": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/v1/query", "/v1/retrieve", "/v1/chat/completions"])
def test_crafted_filters_are_refused(reader: Up, path: str, filters: dict[str, object]) -> None:
    body: dict[str, object] = {"filters": filters}
    body["query" if path == "/v1/retrieve" else "question"] = QUESTION
    if path.endswith("completions"):
        message = {"role": "user", "content": QUESTION}
        body = {"model": "docs", "messages": [message], "lectern": {"filters": filters}}

    response = reader.post(path, body)

    assert 400 <= response.status_code < 500, response.text
    assert response.json()["code"]
    assert _foreign(response.text) == []


@pytest.mark.parametrize("field", ["tenant", "access_levels", "scope", "partition"])
def test_fields_that_claim_a_scope_are_refused(reader: Up, field: str) -> None:
    response = reader.post("/v1/retrieve", {"query": QUESTION, field: "b/internal"})

    assert response.status_code == 422
    assert field in response.json()["detail"]
