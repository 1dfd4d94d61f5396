"""Answers that the pods of an endpoint share in a Redis, by their exact key and for a limited time.

All of one space (an endpoint) lies in ONE hash, and each call is one script, which Redis runs alone and at once. So
two pods cannot meet halfway, and what Redis drops (a full server evicts, an operator flushes, the space expires) it
drops whole: answers without the list of what stands behind them cannot be left over. Fields, none with any text:

    run, epoch                 the server process that filled the space, and a name for this filling
    n, floor                   changes so far; an answer from before change `floor` is not kept
    c:<document>, t:<n>        number of its last change; the document of change n: the oldest is forgotten first
    remembered, oldest         how many changes are remembered, and below which number none is
    a:<key>, h:<key>           an answer, and its head: expiry in ms, place in the order, bytes, documents
    o:<place>, first, last     key of each place in the order in which answers were put
    d:<document>               keys of the answers that the document stands behind
    count, bytes               how much is kept

A server that was restarted or replaced may have lost the newest changes, and its old answers with them not forgotten:
the space says by which process (`run_id`) it was filled, and another process begins with an empty one. Redis 6 or
later.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from redis.commands.core import AsyncScript

from lectern_contract.ids import DocumentId
from lectern_contract.settings_parts import RedisSettings
from lectern_runtime.adapters.redis_answer_scripts import FORGET, GET, MARK, PUT
from lectern_runtime.adapters.redis_connection import Purpose, RedisServer
from lectern_runtime.ports import CachedAnswer

PREFIX = "lectern:answers:"
RIGHTS = f"+evalsha +script|load +ping +info +time +hget +hset +hdel +hincrby +pttl +pexpire +unlink on keys ~{PREFIX}*"
PURPOSE = Purpose("spec.cache.redis", RIGHTS)
MOST_CHANGES = 10_000
ENTRY_BYTES = 512
"""What an answer takes beside its value and its documents."""
DOCUMENT_BYTES = 160
LONGEST_SECONDS = 30 * 24 * 3600
_COUNTER_BITS = 52


class RedisAnswers:
    """The `AnswerCache` of several pods: at most `max_entries` answers and `max_bytes` bytes, the oldest go first.

    `space` names the endpoint with its namespace; spaces do not know each other. Times are of the server's clock.
    """

    def __init__(self, server: RedisServer, *, space: str, max_entries: int = 1_000, max_bytes: int = 16 << 20) -> None:
        self._server = server
        self._key = f"{PREFIX}{{{space}}}"
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._scripts = {name: server.client.register_script(text) for name, text in _SCRIPTS.items()}

    @classmethod
    def open(cls, settings: RedisSettings, *, space: str, **bounds: int) -> RedisAnswers:
        """Return the cache at the server of `settings`, which is not asked before the first call."""
        return cls(RedisServer.open(settings, PURPOSE), space=space, **bounds)

    async def get(self, key: str) -> CachedAnswer | None:
        """The answer, unless it expired or one of its documents changed; raises DependencyError."""
        found = await self._run("get", key, write=False)
        if found is None:
            return None
        value, documents = found
        return CachedAnswer(value, frozenset(DocumentId(each) for each in json.loads(documents)))

    async def mark(self) -> int:
        """The filling of the space and how many changes there were in it; raises DependencyError."""
        epoch, changes = await self._run("mark", write=True)
        return (int(epoch) << _COUNTER_BITS) + int(changes)

    async def put(self, key: str, answer: CachedAnswer, *, ttl_seconds: float, since: int) -> bool:
        """Keep the answer for `ttl_seconds` and return whether it was kept; raises DependencyError.

        It is not when one of its documents changed after `since` (or may have: the last 10,000 changes are
        remembered, and a server that began anew remembers none), nor when it is larger than the whole cache.
        """
        size = ENTRY_BYTES + len(key) + len(answer.value) + DOCUMENT_BYTES * len(answer.documents)
        if not ttl_seconds > 0 or size > self._max_bytes:
            return False
        milliseconds = max(1, round(min(ttl_seconds, LONGEST_SECONDS) * 1000))
        documents = json.dumps(sorted(answer.documents))
        bounds = (self._max_entries, self._max_bytes)
        epoch, changes = since >> _COUNTER_BITS, since & ((1 << _COUNTER_BITS) - 1)
        given = (key, epoch, changes, milliseconds, size, *bounds, documents, answer.value)
        return bool(await self._run("put", *given, write=True))

    async def forget_document(self, document: DocumentId) -> int:
        """Drop every answer that this document stands behind, in one round trip; how many there were."""
        return int(await self._run("forget", document, MOST_CHANGES, write=True))

    async def close(self) -> None:
        """Close the connections; the answers stay for the other pods."""
        await self._server.close()

    async def _run(self, name: str, *given: str | bytes | int, write: bool) -> Any:
        script: AsyncScript = self._scripts[name]
        arguments: Sequence[str | bytes | int] = (secrets.randbits(48), *given)  # the name of a new filling

        async def call() -> Any:
            return await script(keys=[self._key], args=arguments)

        return await (self._server.write(call) if write else self._server.read(call))


_SCRIPTS = {"get": GET, "mark": MARK, "put": PUT, "forget": FORGET}
