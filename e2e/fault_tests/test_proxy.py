"""The fault proxy before a real API server: what it carries, and each thing that it breaks."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.faults.arena import Arena
from e2e.faults.proxy import FaultProxy
from e2e.faults.rules import NO_FAULTS, Delay, Errors, EventKey, Kill, Rules, WriteKey

SECONDS = 10.0
Answer = tuple[int, dict[str, Any], dict[str, str]]


@pytest.fixture
def namespace(arena: Arena) -> str:
    """Return a new namespace."""
    return arena.namespaces(1, "proxy")[0]


def ask(proxy: FaultProxy, method: str, path: str, body: object = None) -> Answer:
    """Send one request through the proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(proxy.url).port or 0, timeout=SECONDS)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), dict(answer.headers)
    finally:
        connection.close()


def config_map(name: str, value: str = "1") -> dict[str, Any]:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}}


def maps(namespace: str, name: str = "") -> str:
    """Return the URL path of ConfigMaps."""
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


class Watch:
    """A watch through the proxy, read in a thread; `events` are (type, name), `ended` when it is over."""

    def __init__(self, proxy: FaultProxy, path: str) -> None:
        version = ask(proxy, "GET", path)[1]["metadata"]["resourceVersion"]
        self._connection = http.client.HTTPConnection("127.0.0.1", urlsplit(proxy.url).port or 0, timeout=SECONDS)
        self._connection.request("GET", f"{path}?watch=true&resourceVersion={version}")
        self._answer = self._connection.getresponse()
        self.events: list[tuple[str, str]] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while line := self._answer.readline():
                event = json.loads(line)
                meaning = event["object"].get("metadata", {}).get("name") or str(event["object"].get("code"))
                self.events.append((event["type"], meaning))
        except (OSError, http.client.HTTPException, ValueError):
            pass  # cut: that is what some tests ask for
        finally:
            self._answer.close()
            self._connection.close()
            self.ended.set()

    def names(self, count: int) -> list[str]:
        """Wait until `count` events were told and return their names."""
        eventually(lambda: len(self.events) >= count)
        return [name for _, name in self.events]


@contextmanager
def watch(proxy: FaultProxy, path: str) -> Iterator[Watch]:
    """Watch a collection; the stream is cut at the end of the block."""
    found = Watch(proxy, path)
    try:
        yield found
    finally:
        proxy.rules = NO_FAULTS
        proxy.cut_watches()
        assert found.ended.wait(SECONDS)


def eventually(holds: Any) -> None:
    """Wait until `holds()`."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_without_rules_it_only_numbers(proxy: FaultProxy, namespace: str) -> None:
    assert ask(proxy, "POST", maps(namespace), config_map("a"))[0] == 201
    assert ask(proxy, "PUT", maps(namespace, "a"), config_map("a", "2"))[0] == 200
    assert ask(proxy, "PUT", maps(namespace, "a"), config_map("a", "2"))[0] == 200
    assert ask(proxy, "DELETE", maps(namespace, "a"))[0] == 200
    assert ask(proxy, "GET", maps(namespace, "a"))[0] == 404
    seen = [(str(each.key), each.status, each.effective, each.created) for each in proxy.record.writes]
    assert seen == [
        ("POST:configmaps/a#1", 201, True, True),
        ("PUT:configmaps/a#1", 200, True, False),
        ("PUT:configmaps/a#2", 200, False, False),
        ("DELETE:configmaps/a#1", 200, True, False),
    ]


@pytest.mark.parametrize(("moment", "there"), [("before", False), ("after", True)])
def test_a_kill_comes_before_or_after_the_write_and_nothing_is_forwarded_until_the_next_process(
    proxy: FaultProxy, namespace: str, moment: str, there: bool
) -> None:
    killed: list[str] = []
    proxy.revive(lambda: killed.append("it"))
    proxy.rules = Rules(kill=Kill.parse(f"{moment}:POST:configmaps/b#1"))
    assert ask(proxy, "POST", maps(namespace), config_map("a"))[0] == 201
    for name in ("b", "c"):
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(proxy, "POST", maps(namespace), config_map(name))
    assert (killed, proxy.killed.is_set()) == (["it"], True)
    proxy.rules = NO_FAULTS
    proxy.revive(lambda: None)
    found = {each["metadata"]["name"] for each in ask(proxy, "GET", maps(namespace))[1]["items"]}
    assert found - {"kube-root-ca.crt"} == ({"a", "b"} if there else {"a"})


def test_the_nth_event_is_dropped(proxy: FaultProxy, namespace: str) -> None:
    proxy.rules = Rules(drop=EventKey("configmaps", 2))
    with watch(proxy, maps(namespace)) as watched:
        for name in ("a", "b", "c"):
            ask(proxy, "POST", maps(namespace), config_map(name))
        assert watched.names(2) == ["a", "c"]
    assert [(each.name, each.fate) for each in proxy.record.told] == [("a", "told"), ("b", "dropped"), ("c", "told")]


def test_a_delayed_event_holds_back_what_follows(proxy: FaultProxy, namespace: str) -> None:
    proxy.rules = Rules(delay=Delay(EventKey("configmaps", 1), 0.5))
    with watch(proxy, maps(namespace)) as watched:
        began = time.monotonic()
        for name in ("a", "b"):
            ask(proxy, "POST", maps(namespace), config_map(name))
        assert watched.names(2) == ["a", "b"]
        assert time.monotonic() - began >= 0.5


def test_a_frozen_view_lists_the_past_and_holds_events_while_single_objects_are_as_they_are(
    proxy: FaultProxy, namespace: str
) -> None:
    ask(proxy, "POST", maps(namespace), config_map("old"))
    at = ask(proxy, "GET", maps(namespace))[1]["metadata"]["resourceVersion"]
    ask(proxy, "DELETE", maps(namespace, "old"))
    ask(proxy, "POST", maps(namespace), config_map("new"))
    proxy.rules = Rules(frozen_at=at)
    past = ask(proxy, "GET", f"{maps(namespace)}?limit=500")[1]
    assert past["metadata"]["resourceVersion"] == at
    assert {each["metadata"]["name"] for each in past["items"]} == {"old", "kube-root-ca.crt"}
    assert ask(proxy, "GET", maps(namespace, "new"))[0] == 200
    with watch(proxy, maps(namespace)) as watched:
        time.sleep(0.3)  # the time in which a view that is not frozen would have told both
        assert watched.events == []
        proxy.rules = NO_FAULTS
        assert watched.names(2) == ["old", "new"]
    proxy.rules = Rules(frozen_at=at, frozen_kinds=frozenset({"secrets"}))
    assert {each["metadata"]["name"] for each in ask(proxy, "GET", maps(namespace))[1]["items"]} == {
        "new",
        "kube-root-ca.crt",
    }


@pytest.mark.parametrize("code", [410, 500])
def test_open_watches_end_with_an_error_event(proxy: FaultProxy, namespace: str, code: int) -> None:
    with watch(proxy, maps(namespace)) as watched:
        eventually(lambda: proxy.open_watches == 1)
        proxy.break_watches(code)
        assert watched.ended.wait(SECONDS)
        assert watched.events == [("ERROR", str(code))]


def test_an_outage_answers_503_with_retry_after_and_cuts_the_watches(proxy: FaultProxy, namespace: str) -> None:
    with watch(proxy, maps(namespace)) as watched:
        eventually(lambda: proxy.open_watches == 1)
        proxy.rules = Rules(outage=True)
        assert watched.ended.wait(SECONDS)
        status, body, headers = ask(proxy, "GET", maps(namespace))
        assert (status, body["kind"], body["reason"], headers["Retry-After"]) == (
            503,
            "Status",
            "ServiceUnavailable",
            "1",
        )


def test_a_storm_of_410_refuses_every_watch_and_no_list(proxy: FaultProxy, namespace: str) -> None:
    proxy.rules = Rules(gone=True)
    with watch(proxy, maps(namespace)) as watched:
        assert watched.ended.wait(SECONDS)
        assert watched.events == [("ERROR", "410")]


def test_equal_seeds_fail_the_same_requests(proxy: FaultProxy) -> None:
    del proxy
    errors = Errors(share=0.2, seed=7)
    drawn = [errors.draw(number, write=number % 3 == 0) for number in range(3000)]
    assert drawn == [Errors(share=0.2, seed=7).draw(number, write=number % 3 == 0) for number in range(3000)]
    assert drawn != [Errors(share=0.2, seed=8).draw(number, write=number % 3 == 0) for number in range(3000)]
    assert 0.17 < sum(each is not None for each in drawn) / 3000 < 0.23
    reads = {drawn[number] for number in range(3000) if number % 3}
    assert "conflict" not in reads
    assert "lost-answer" not in reads


def test_a_lost_answer_was_carried_out(proxy: FaultProxy, namespace: str) -> None:
    seed = next(seed for seed in range(1000) if Errors(share=1.0, seed=seed).draw(1, write=True) == "lost-answer")
    proxy.rules = Rules(errors=Errors(share=1.0, seed=seed))
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(proxy, "POST", maps(namespace), config_map("a"))
    proxy.rules = NO_FAULTS
    assert ask(proxy, "GET", maps(namespace, "a"))[0] == 200


def test_a_request_before_retry_after_is_noted(proxy: FaultProxy, namespace: str) -> None:
    proxy.rules = Rules(outage=True)
    ask(proxy, "GET", maps(namespace, "a"))
    ask(proxy, "GET", maps(namespace, "b"))
    proxy.rules = NO_FAULTS
    ask(proxy, "GET", maps(namespace, "a"))
    time.sleep(1.0)  # what Retry-After asked for
    ask(proxy, "GET", maps(namespace, "b"))
    assert [each.path for each in proxy.record.hurries] == [maps(namespace, "a")]
    assert proxy.record.asked_to_wait == 2


def test_rules_are_read_back_from_their_lines() -> None:
    for kill in (
        Kill("before", WriteKey("PATCH", "deployments/docs-worker", 1)),
        Kill("after", WriteKey("PUT", "knowledgebases/docs/status", 12)),
        Kill("after", WriteKey("DELETE", "configmaps/docs-worker-*", 1)),
    ):
        assert Kill.parse(str(kill)) == kill
    assert EventKey.parse(str(EventKey("pods", 4))) == EventKey("pods", 4)
