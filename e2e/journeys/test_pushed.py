"""A laptop whose documents are pushed: default deny, then a key, an answer from what was sent, and its deletion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from e2e.journeys import corpus
from e2e.journeys.command import Up, eventually, lectern, up
from e2e.journeys.corpus import Laptop


def pushing(laptop: Laptop) -> None:
    """A second source, to which documents are sent, beside the directory."""
    partition = {"tenant": "acme", "accessLevel": "public"}
    body = {"knowledgeBaseRef": "docs", "push": {}, "partition": partition}
    resource = {
        "apiVersion": "lectern.dev/v1alpha1",
        "kind": "IngestionSource",
        "metadata": {"name": "inbox"},
        "spec": body,
    }
    (laptop.root / "resources" / "IngestionSource-inbox.json").write_text(json.dumps(resource))


def a_key(folder: Path) -> str:
    """A key as a person makes it."""
    folder.mkdir()
    made = lectern("api-key", "--id", "feeder", "--tenant", "acme", "--access-level", "public")
    assert made.returncode == 0, made.stderr
    key, content = made.stdout.splitlines()
    (folder / "feeder").write_text(content)
    return key


def call(running: Up, method: str, path: str, key: str, **more: Any) -> httpx.Response:
    head = {"authorization": f"Bearer {key}"}
    return httpx.request(method, running.url + path, headers=head, timeout=30, trust_env=False, **more)


def done(running: Up, answer: httpx.Response, key: str) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = {}

    def ended() -> bool:
        run.update(call(running, "GET", f"/v1/runs/{answer.json()['run_id']}", key).json())
        return run["state"] not in ("queued", "running")

    eventually(ended, seconds=60, what=lambda: f"{run}\n{running.output}")
    return run


def test_nobody_pushes_until_a_key_is_made_and_what_is_pushed_is_found_until_it_is_deleted(
    laptop: Laptop, tmp_path: Path
) -> None:
    pushing(laptop)
    corpus.write_documents(laptop.documents, 2)
    sent = {"uri": "lighthouses/new.md", "text": corpus.document(30), "media_type": "text/markdown"}
    with up(*laptop.arguments) as running:
        refused = call(running, "POST", "/v1/documents", "lk_feeder_" + "x" * 43, json=sent)
        assert (refused.status_code, refused.json()["code"]) == (403, "push_not_allowed")
        assert "--api-keys" in refused.json()["detail"]
        assert running.settled().stop() == 0

    key = a_key(tmp_path / "keys")
    with up(*laptop.arguments, "--api-keys", str(tmp_path / "keys")) as running:
        running.settled()
        assert running.condition("IngestionSource", "ReceiverReady", "inbox")["status"] == "True"
        assert f"takes documents at {running.url}/v1/documents" in running.output
        assert done(running, call(running, "PUT", "/v1/documents", key, json=sent), key)["state"] == "done"
        answer = running.ask(corpus.question(30))
        assert [each["uri"] for each in answer["citations"]] == ["lighthouses/new.md"]
        assert running.stop() == 0, running.output

    with up(*laptop.arguments, "--api-keys", str(tmp_path / "keys")) as running:
        running.settled()
        eventually(lambda: "new.md" in call(running, "GET", "/v1/documents", key).text, seconds=30, what=lambda: "lost")
        gone = call(running, "DELETE", "/v1/documents", key, params={"uri": "lighthouses/new.md"})
        assert done(running, gone, key)["state"] == "done"
        assert "lighthouses/new.md" not in [hit["uri"] for hit in running.retrieve(corpus.question(30))]
        assert running.ask(corpus.question(0))["citations"][0]["uri"] == corpus.path_of(0)
        assert running.stop() == 0, running.output
