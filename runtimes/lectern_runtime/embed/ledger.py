"""Keeps account of which messages are done, so that only completed prefixes of partitions are committed.

The worker opens a message when it is read and settles it when it is done, in any order; what may be committed is
where the longest unbroken run of settled messages ends. Pure: no log is touched here, and a partition that was taken
away and comes back is noticed by its offsets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from lectern_runtime.ports import Position


@dataclass(slots=True)
class _Partition:
    """`waiting` holds what was read and lies not before the prefix, in order, and whether it is settled."""

    told: int
    following: int
    waiting: OrderedDict[int, bool] = field(default_factory=OrderedDict)

    @property
    def prefix(self) -> int:
        """Where reading would go on, if this process ended now, without anything open being lost."""
        return next(iter(self.waiting), self.following)


class Ledger:
    """What was read and is not committed yet, by partition: at most `most` messages of each before reading pauses."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._partitions: dict[int, _Partition] = {}

    def open(self, position: Position) -> None:
        """Note a message that was read. One that goes back says that its partition came back, to be read anew."""
        number, offset = position.partition, position.offset
        known = self._partitions.get(number)
        if known is None or offset < known.following:
            # What is read anew is committed anew: a commit in between may have been another member's to refuse.
            known = self._partitions[number] = _Partition(told=offset, following=offset)
        known.waiting[offset] = False
        known.following = offset + 1

    def settle(self, position: Position) -> None:
        """Note that nothing is left to be done for a message; one that is not open any more changes nothing."""
        known = self._partitions.get(position.partition)
        if known is None or position.offset not in known.waiting:
            return
        known.waiting[position.offset] = True
        while known.waiting and known.waiting[known.prefix]:
            known.waiting.popitem(last=False)

    def to_commit(self) -> dict[int, int]:
        """The offsets to commit, by partition, where they lie behind those of the last `committed`."""
        return {number: each.prefix for number, each in self._partitions.items() if each.prefix > each.told}

    def committed(self, next_offsets: Mapping[int, int]) -> None:
        """Note that these offsets were handed to the log."""
        for number, offset in next_offsets.items():
            known = self._partitions.get(number)
            if known is not None and known.told < offset <= known.prefix:
                known.told = offset

    def open_messages(self) -> int:
        """How many messages were read and lie not before their partition's prefix."""
        return sum(len(each.waiting) for each in self._partitions.values())

    def full(self) -> frozenset[int]:
        """Partitions of which nothing more is to be read before older messages are settled."""
        return frozenset(number for number, each in self._partitions.items() if len(each.waiting) >= self._most)
