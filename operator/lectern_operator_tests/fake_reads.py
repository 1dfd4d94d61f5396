"""A DOUBLE of the API server's lists and watches over a `FakeCluster`: a test writes down what each watch tells.

What it does not show: bookmarks by time, streams that are cut, versions that are forgotten by themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from lectern_contract import labels
from lectern_operator.clients import kinds
from lectern_operator.clients.kube import Page
from lectern_operator_tests.fake_cluster import FakeCluster

Told = tuple[str, dict[str, Any]] | Exception


class FakeReads:
    """Lists what the cluster has; each watch tells the next entry of `watches`, an error last where there is one."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.lists: list[str] = []
        self.since: list[str] = []
        self.watches: list[list[Told]] = []
        self.failing: dict[str, list[Exception]] = {}

    async def pages(self, kind: str, namespace: str | None, *, heads: bool = False) -> AsyncIterator[Page]:
        """Yield what there is, one object a page; children only with the label of an owner."""
        self.lists.append(kind)
        if self.failing.get(kind):
            raise self.failing[kind].pop(0)
        found = await self.cluster.owners(kind, namespace)
        if kind in kinds.CHILDREN:
            found = tuple(each for each in found if labels.OWNER_UID in each["metadata"].get("labels", {}))
        version = str(self.cluster.version())
        for each in found:
            yield Page(({"metadata": each["metadata"]} if heads else each,), version)
        yield Page((), version)

    async def watch(self, kind: str, namespace: str | None, since: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield the next entry of `watches`; the stream ends at its end."""
        self.since.append(since)
        for told in self.watches.pop(0):
            if isinstance(told, Exception):
                raise told
            yield told

    async def served_kinds(self) -> frozenset[str]:
        """Return the kinds that are installed."""
        if self.failing.get("discovery"):
            raise self.failing["discovery"].pop(0)
        return await self.cluster.served_kinds()
