"""Remembers which documents a writer may still write about that is no longer one of us, to look at them again.

A worker that is killed with a write under way cannot take back what the store applies of it later, and neither does a
write whose answer got lost say whether it is still to come. Where the document is shortened or deleted meanwhile, old
chunks are left beside its newer record. No search shows them, but they lie there. So the worker that reads a partition
on looks again at what may have been under way, once such a write must have come to its end. Pure: the clock is the
worker's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from lectern_contract.ids import DocumentId
from lectern_contract.scope import Scope
from lectern_runtime.embed.prepare import Task

LOOKS_SECONDS = (15.0, 90.0)
"""When to look: after a store that is well, and after the longest that a write is waited for (60 s) and some more."""
MOST_WATCHED = 65_536
"""Documents; beyond, those that wait longest are looked at early. One takes some 200 bytes."""
MOST_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class _Watched:
    due: float
    scope: Scope
    document: DocumentId
    version: int


class Late:
    """Documents to look at again. `window` is how many messages of a partition another reader may have had in work."""

    def __init__(self, window: int, now: Callable[[], float]) -> None:
        self._window = window
        self._now = now
        self._left: dict[int, int] = {}
        self._watched: tuple[deque[_Watched], ...] = tuple(deque() for _ in LOOKS_SECONDS)

    def __len__(self) -> int:
        return sum(map(len, self._watched))

    def taken_over(self, partitions: Iterable[int]) -> None:
        """Note partitions that another process may have read until now: what comes first of them is watched."""
        self._left |= dict.fromkeys(partitions, self._window)

    def read(self, tasks: Sequence[Task]) -> None:
        """Note what was read."""
        for task in tasks if self._left else ():
            offsets = [position.offset for position in (task.position, *task.replaced)]
            partition = task.position.partition
            left = self._left.pop(partition, 0)
            if left > len(offsets):
                self._left[partition] = left - len(offsets)
            if left:
                # The oldest message that this one replaces may be the one that somebody still writes about.
                self.watch(task.scope, task.message.document.id, task.version - task.position.offset + min(offsets))

    def watch(self, scope: Scope, document: DocumentId, version: int) -> None:
        """Look at a document again: somebody may still write `version` of it."""
        self._watched[0].append(_Watched(self._now() + LOOKS_SECONDS[0], scope, document, version))

    def due(self) -> dict[Scope, dict[DocumentId, int]]:
        """Give out some whose time has come, with the versions that may have come late, by their writer's scope."""
        now, found = self._now(), dict[Scope, dict[DocumentId, int]]()
        for look, waiting in enumerate(self._watched):
            for _ in range(MOST_AT_ONCE):
                if not waiting or (waiting[0].due > now and len(self) <= MOST_WATCHED):
                    break
                each = waiting.popleft()
                known = found.setdefault(each.scope, {})
                known[each.document] = min(each.version, known.get(each.document, each.version))
                if look + 1 < len(LOOKS_SECONDS):
                    again = each.due + LOOKS_SECONDS[look + 1] - LOOKS_SECONDS[look]
                    self._watched[look + 1].append(replace(each, due=again))
        return found
