"""Objects are let go one by one or all, only what is being deleted, and what stays behind is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lectern_cli.finalize import Body, Chosen, finalize
from lectern_contract import names
from lectern_contract.errors import ConfigurationError, DependencyError


class Objects:
    """Knowledge bases in memory; `stubborn` ones change before every write."""

    def __init__(self, *bodies: dict[str, Any], stubborn: bool = False) -> None:
        self.bodies = list(bodies)
        self.stubborn = stubborn

    def list(self, plural: str, namespace: str | None) -> list[Body]:
        """Return those of a namespace."""
        if plural != "knowledgebases":
            return []
        return [body for body in self.bodies if namespace in (None, body["metadata"]["namespace"])]

    def release(self, plural: str, body: Body, finalizers: Sequence[str]) -> bool:
        """Replace the finalizers."""
        if self.stubborn:
            return False
        (found,) = [each for each in self.bodies if each["metadata"]["uid"] == body["metadata"]["uid"]]
        found["metadata"]["finalizers"] = list(finalizers)
        return True


def kb(name: str, *, deleted: bool = True, namespace: str = "team") -> dict[str, Any]:
    """Return a knowledge base with our finalizer and another one, and nothing else in it."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}"}
    metadata["finalizers"] = [names.FINALIZER, "example.com/other"]
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    return {"metadata": metadata}


def finalizers(objects: Objects) -> list[list[str]]:
    """Return the finalizers of every object."""
    return [body["metadata"]["finalizers"] for body in objects.bodies]


FREE, HELD = ["example.com/other"], [names.FINALIZER, "example.com/other"]


def test_a_named_object_is_freed_and_what_stays_is_said() -> None:
    objects = Objects(kb("docs"), kb("other"))
    (line,) = finalize(objects, Chosen("team", "kb", "docs"))
    assert finalizers(objects) == [FREE, HELD]
    assert line.startswith("team/docs is free")
    assert "team.docs.g*" in line
    assert "lectern.team.docs.documents" in line


def test_all_of_a_namespace_are_freed_but_the_living() -> None:
    objects = Objects(kb("a"), kb("b", deleted=False), kb("c", namespace="else"))
    assert len(list(finalize(objects, Chosen("team")))) == 1
    assert finalizers(objects) == [FREE, HELD, HELD]
    assert len(list(finalize(objects, Chosen(None, living=True)))) == 2
    assert finalizers(objects) == [FREE, FREE, FREE]


def test_a_living_object_is_not_freed_by_mistake() -> None:
    with pytest.raises(ConfigurationError, match="delete it first, or add --including-live"):
        list(finalize(Objects(kb("docs", deleted=False)), Chosen("team", "kb", "docs")))


@pytest.mark.parametrize(("kind", "words"), [("kb", "there is no kb docs in namespace team"), ("pod", "none of isrc")])
def test_what_is_not_there_is_said(kind: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        list(finalize(Objects(), Chosen("team", kind, "docs")))


def test_an_object_that_changes_all_the_time_ends_after_some_attempts() -> None:
    with pytest.raises(DependencyError, match="try again"):
        list(finalize(Objects(kb("docs"), stubborn=True), Chosen("team")))
