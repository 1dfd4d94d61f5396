"""A process that takes the children of many knowledge bases into the cache and tells, as JSON, what memory they take.

Started by `test_cache.py`: in a process by itself nothing else allocates, neither a thread of another test nor what
its collector has not freed yet.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from typing import Any

from lectern_operator.desired import knowledge_base as desired
from lectern_operator.handlers.cache import ChildCache
from lectern_operator_tests import worlds
from lectern_operator_tests.server_defaults import defaulted

RESOURCES = 200


def main() -> None:
    """Print the number of children and the bytes that one takes in the mean."""
    bodies = [json.dumps(body) for number in range(RESOURCES) for body in _children(number)]
    gc.collect()
    tracemalloc.start()
    cache = ChildCache()
    for text in bodies:
        _take(cache, text)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    json.dump({"children": len(cache), "bytes_a_child": round(taken / len(cache))}, sys.stdout)


def _take(cache: ChildCache, text: str) -> None:
    body = json.loads(text)
    cache.seen(body["kind"], body)


def _children(number: int) -> list[dict[str, Any]]:
    kb = worlds.knowledge_base()
    manifests = desired.manifests(kb, generation=1, replicas=1, scaled=True, images=worlds.IMAGES)
    for position, body in enumerate(manifests):
        body = json.loads(json.dumps(body).replace("docs", f"docs-{number}").replace("uid-kb", f"{number:036}"))
        added = {"uid": f"{number:030}{position:06}", "resourceVersion": str(number * 100 + position + 1)}
        body["metadata"] |= {**added, "creationTimestamp": "2026-11-21T12:00:00Z", "generation": 1}
        manifests[position] = defaulted(body)
    return manifests


if __name__ == "__main__":
    main()
