"""The knowledge bases that were parsed last: hundreds of passes over what names one need not validate it each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lectern_contract.resources import KnowledgeBase, parse_stored

MOST = 64


class Parsed:
    """Knowledge bases by UID, each in the version that was asked for last."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, KnowledgeBase]] = {}

    def knowledge_base(self, body: Mapping[str, Any]) -> KnowledgeBase:
        """Return the knowledge base in `body`; raises `ResourceInvalid`."""
        uid, version = str(body["metadata"]["uid"]), str(body["metadata"]["resourceVersion"])
        kept = self._kept.get(uid)
        if kept is None or kept[0] != version:
            found = parse_stored(body)
            assert isinstance(found, KnowledgeBase)
            if len(self._kept) >= MOST:
                self._kept.clear()
            kept = self._kept[uid] = (version, found)
        return kept[1]
