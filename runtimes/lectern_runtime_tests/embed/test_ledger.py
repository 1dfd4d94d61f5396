"""The ledger: whatever is read, done, committed, taken away and given back, a commit never passes what is open."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lectern_runtime.embed.ledger import Ledger
from lectern_runtime.ports import Position

PARTITIONS = (0, 1, 2)
MOST = 5


def test_a_prefix_ends_before_the_first_open_message() -> None:
    ledger = Ledger(9)
    for offset in (3, 4, 7, 8):  # 5 and 6 were compacted away
        ledger.open(Position(0, offset))
    for offset in (3, 8, 4):
        ledger.settle(Position(0, offset))
    assert (ledger.to_commit(), ledger.open_messages()) == ({0: 7}, 2)


def test_what_was_committed_is_not_committed_again() -> None:
    ledger = Ledger(9)
    ledger.open(Position(0, 0))
    ledger.settle(Position(0, 0))
    ledger.committed(ledger.to_commit())
    assert ledger.to_commit() == {}


def test_a_partition_with_too_much_open_is_full_until_its_first_message_is_done() -> None:
    ledger = Ledger(2)
    for offset in range(2):
        ledger.open(Position(1, offset))
    ledger.open(Position(0, 0))
    ledger.settle(Position(1, 1))
    assert ledger.full() == {1}
    ledger.settle(Position(1, 0))
    assert ledger.full() == frozenset()


@dataclass
class Topic:
    """One partition as the log has it, and who reads it."""

    offsets: list[int] = field(default_factory=list)
    end: int = 0
    committed: int = 0
    position: int | None = 0
    """Where the ledger's own worker reads on; None while another member has the partition."""
    done: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)


class Assigned(RuleBasedStateMachine):
    """A worker with a ledger, another member, and a log that moves partitions between them."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(MOST)
        self.topics = {number: Topic() for number in PARTITIONS}

    partition = st.sampled_from(PARTITIONS)

    @rule(partition=partition, gaps=st.lists(st.integers(0, 3), min_size=1, max_size=6))
    def publish(self, partition: int, gaps: list[int]) -> None:
        topic = self.topics[partition]
        for gap in gaps:
            topic.offsets.append(topic.end + gap)
            topic.end += gap + 1

    @rule(partition=partition, most=st.integers(1, 4))
    def read(self, partition: int, most: int) -> None:
        topic = self.topics[partition]
        if topic.position is None or partition in self.ledger.full():
            return
        for offset in [each for each in topic.offsets if each >= topic.position][:most]:
            self.ledger.open(Position(partition, offset))
            topic.open.add(offset)
            topic.position = offset + 1

    @rule(partition=partition, data=st.data())
    def finish(self, partition: int, data: st.DataObject) -> None:
        """Of what was ever read, also of an assignment long gone: the work goes on after a partition is taken away."""
        topic = self.topics[partition]
        if topic.open:
            offset = data.draw(st.sampled_from(sorted(topic.open)))
            self.ledger.settle(Position(partition, offset))
            topic.open.discard(offset)
            topic.done.add(offset)

    @rule()
    def commit(self) -> None:
        """The log passes over partitions that are not ours and never goes backwards, and says neither."""
        next_offsets = self.ledger.to_commit()
        for partition, offset in next_offsets.items():
            topic = self.topics[partition]
            if topic.position is not None:
                topic.committed = max(topic.committed, offset)
        self.ledger.committed(next_offsets)

    @rule(partition=partition, share=st.floats(0, 1))
    def lose(self, partition: int, share: float) -> None:
        """Another member gets the partition and does some of it."""
        topic = self.topics[partition]
        if topic.position is None:
            return
        topic.position = None
        ahead = [each for each in topic.offsets if each >= topic.committed]
        theirs = ahead[: int(share * len(ahead))]
        topic.done.update(theirs)
        topic.committed = theirs[-1] + 1 if theirs else topic.committed

    @rule(partition=partition)
    @precondition(lambda self: any(each.position is None for each in self.topics.values()))
    def regain(self, partition: int) -> None:
        topic = self.topics[partition]
        if topic.position is None:
            topic.position = topic.committed

    @invariant()
    def no_commit_passes_what_is_not_done(self) -> None:
        for topic in self.topics.values():
            assert {each for each in topic.offsets if each < topic.committed} <= topic.done

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.ledger.open_messages() <= len(PARTITIONS) * (MOST + 3)

    def teardown(self) -> None:
        """Given time, everything is done and committed."""
        for partition, topic in self.topics.items():
            if topic.position is None:
                self.regain(partition)
            for _ in range(2 * len(topic.offsets) + 1):
                self.read(partition, 4)
                for offset in sorted(topic.open):
                    self.ledger.settle(Position(partition, offset))
                    topic.done.add(offset)
                topic.open.clear()
        self.commit()
        for topic in self.topics.values():
            assert not topic.offsets or topic.committed == topic.offsets[-1] + 1


Assigned.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAssigned = Assigned.TestCase
