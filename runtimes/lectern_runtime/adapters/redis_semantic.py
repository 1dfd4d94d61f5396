"""Finds, in a Redis 8, the answered questions nearest to one that is asked: pointers into the exact answer cache.

A vector set holds no answer, only the key under which `redis_answers` may still have one, and what the content gate
must compare. So expiry, changed documents and restarts are the exact cache's business alone: a pointer whose answer is
gone is a miss, and is taken out by whoever finds that. Losing a vector set loses hits and nothing else.

There is one vector set for each prefix (knowledge bases with their generations, scope, model, prompt): readers of
different scopes never search the same one, and no filter is trusted to keep them apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lectern_contract.settings_parts import RedisSettings
from lectern_runtime.adapters.redis_connection import Purpose, RedisServer
from lectern_runtime.query import content_gate

PREFIX = "lectern:questions:"
PURPOSE = Purpose(
    "spec.cache.redis",
    "+evalsha +script|load +ping +command +vadd +vsim +vrem +vcard +vrandmember +pttl +pexpire +multi +exec "
    f"on keys ~{PREFIX}*",
)
CANDIDATES = 8
EFFORT = 100
"""Vectors that a search keeps in sight (EF): more finds nearer ones and takes longer."""
SEPARATOR = " "

_ADD = """
local set, most, ttl = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('VADD', set, 'FP32', ARGV[3], ARGV[4], 'Q8')
for _ = 1, 32 do
  if redis.call('VCARD', set) <= most then break end
  local other = redis.call('VRANDMEMBER', set)
  if other ~= ARGV[4] then redis.call('VREM', set, other) end
end
if redis.call('PTTL', set) < ttl then redis.call('PEXPIRE', set, ARGV[2]) end
return redis.call('VCARD', set)
"""


@dataclass(frozen=True, slots=True)
class Pointer:
    """An answered question: the key of its answer, how near it is (cosine), and the element that says so."""

    key: str
    cosine: float
    element: str


class RedisQuestions:
    """Answered questions by their vectors, at most `max_entries` of each prefix; one at random goes when it is full."""

    def __init__(self, server: RedisServer, *, space: str, threshold: float, max_entries: int = 1_000) -> None:
        self._server = server
        self._space = f"{PREFIX}{{{space}}}:"
        self._threshold = threshold
        self._max_entries = max_entries
        self._add = server.client.register_script(_ADD)

    @classmethod
    def open(cls, settings: RedisSettings, *, space: str, threshold: float, max_entries: int = 1_000) -> RedisQuestions:
        """Return the tier at the server of `settings`; `threshold` is a cosine."""
        return cls(RedisServer.open(settings, PURPOSE), space=space, threshold=threshold, max_entries=max_entries)

    async def supported(self) -> bool:
        """Whether the server has vector sets (Redis 8); raises DependencyError."""
        found = await self._server.read(self._command("COMMAND INFO", "VSIM"))
        return bool(found) and all(found)

    async def near(self, prefix: str, vector: NDArray[np.float32], question: str) -> Sequence[Pointer]:
        """Answered questions at least as near as the threshold that pass the content gate, nearest first."""
        signature = content_gate.signature(question)
        asked = ("VSIM", self._space + prefix, "FP32", _packed(vector))
        found = await self._server.read(self._command(*asked, "WITHSCORES", "COUNT", CANDIDATES, "EF", EFFORT))
        pointers = []
        for element, score in _pairs(found):
            key, _, other = element.partition(SEPARATOR)
            cosine = 2.0 * score - 1.0  # Redis says (1 + cos) / 2
            if cosine >= self._threshold and content_gate.signatures_agree(signature, other):
                pointers.append(Pointer(key, cosine, element))
        return pointers

    async def add(
        self, prefix: str, key: str, vector: NDArray[np.float32], question: str, *, ttl_seconds: float
    ) -> int:
        """Point from the question to the answer under `key`; how many pointers the prefix has now."""
        element = f"{key}{SEPARATOR}{content_gate.signature(question)}"
        arguments = (self._max_entries, max(1, round(ttl_seconds * 1000)), _packed(vector), element)

        async def call() -> int:
            return int(await self._add(keys=[self._space + prefix], args=arguments))

        return await self._server.write(call)

    async def drop(self, prefix: str, pointer: Pointer) -> None:
        """Take out a pointer whose answer is gone."""
        await self._server.write(self._command("VREM", self._space + prefix, pointer.element))

    async def close(self) -> None:
        """Close the connections; the pointers stay for the other pods."""
        await self._server.close()

    def _command(self, *parts: str | bytes | int) -> Callable[[], Awaitable[Any]]:
        client: Any = self._server.client  # the library types no command that it has no method for
        return lambda: client.execute_command(*parts)


def _packed(vector: NDArray[np.float32]) -> bytes:
    return vector.astype("<f4").tobytes()


def _pairs(found: object) -> list[tuple[str, float]]:
    """Elements with their scores, as a list (RESP 2) or a map (RESP 3) tells them."""
    if isinstance(found, dict):
        return [(element.decode(), float(score)) for element, score in found.items()]
    assert isinstance(found, list)
    return [(element.decode(), float(score)) for element, score in zip(found[::2], found[1::2], strict=True)]
