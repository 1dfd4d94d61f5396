"""Rewinding: what is planned for each partition, what is refused, and how a worker makes up for a lost store."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from lectern_contract import settings as contract
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.messages import Deleted
from lectern_runtime.adapters.sqlite_log import SqliteLog
from lectern_runtime.errors import GroupInUse
from lectern_runtime.maintain import __main__ as program
from lectern_runtime.maintain.rewind import Rewind, Target, act
from lectern_runtime.maintain.rewind_program import agreement
from lectern_runtime.ports import GroupState, RewindableLog, Standing
from lectern_runtime_tests.pipeline import COLLECTION, Pipeline, pipeline, worker_settings

START = Target()
HEAD = "group lectern.ns.kb.g1 on topic lectern.ns.kb.documents\n"


@dataclass
class Groups:
    """A log that has one group; `meanwhile` happens before each look after the first, `spoiled` after each write."""

    partitions: dict[int, Standing]
    members: tuple[str, ...] = ()
    refuses: bool = False
    written: list[Mapping[int, int]] = field(default_factory=list)
    asked: list[int | None] = field(default_factory=list)
    meanwhile: Callable[[Groups], None] = lambda _: None
    spoiled: Callable[[Groups], None] = lambda _: None

    async def group_state(self, topic: str, *, group: str, since_ms: int | None = None) -> GroupState:
        """Return the group as it is now."""
        assert (topic, group) == ("lectern.ns.kb.documents", "lectern.ns.kb.g1")
        if self.asked:
            self.meanwhile(self)
        self.asked.append(since_ms)
        return GroupState(self.members, dict(self.partitions))

    async def set_back(self, _topic: str, *, group: str, to: Mapping[int, int]) -> None:
        """Take the offsets, or say that somebody reads."""
        if self.refuses:
            raise GroupInUse(group, ("late at 10.0.0.9",))
        self.written.append(dict(to))
        for number, offset in to.items():
            self.commit(number, offset)
        self.spoiled(self)

    def commit(self, number: int, offset: int) -> None:
        """Let somebody commit."""
        self.partitions[number] = replace(self.partitions[number], committed=offset)


def rewind_of(log: Groups) -> Rewind:
    return Rewind(cast(RewindableLog, log), namespace="ns", knowledge_base="kb", generation=1)


async def told(
    log: Groups, target: Target = START, *partitions: int, dry_run: bool = False, agrees: bool = True
) -> tuple[bool, str]:
    """What `act` returns and says, questions included."""
    said: list[str] = []

    def agree(question: str) -> bool:
        said.append(f"{question}\n")
        return agrees

    done = await act(rewind_of(log), target, partitions, dry_run=dry_run, agree=agree, say=said.append)
    return done, "".join(said)


def log(**more: Any) -> Groups:
    """Four partitions: read to the end, half way, nothing, and from a life of the topic that is over."""
    partitions = {
        0: Standing(beginning=0, end=120, committed=120, since=100),
        1: Standing(beginning=10, end=90, committed=50, since=60),
        2: Standing(beginning=0, end=7, committed=None, since=0),
        3: Standing(beginning=0, end=20, committed=500, since=20),
    }
    return Groups(partitions, **more)


# --------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize(
    ("target", "lines", "summary"),
    [
        (
            START,
            [
                "partition 0: committed 120, new 0, at most 120 messages again",
                "partition 1: committed 50, new 10, at most 40 messages again",
            ],
            "3 of 4 partitions, at most 160 messages again",
        ),
        (
            Target(since=1.5),
            [
                "partition 0: committed 120, new 100, at most 20 messages again",
                "partition 1: committed 50, stays: offset 60 lies ahead, and nothing is skipped",
            ],
            "2 of 4 partitions, at most 20 messages again",
        ),
        (
            Target(by=45),
            [
                "partition 0: committed 120, new 75, at most 45 messages again",
                "partition 1: committed 50, new 10, at most 40 messages again",
            ],
            "3 of 4 partitions, at most 85 messages again",
        ),
    ],
)
async def test_a_dry_run_tells_each_partition_and_writes_nothing(
    target: Target, lines: list[str], summary: str
) -> None:
    others = [
        "partition 2: nothing committed, stays: it is read from the beginning anyway",
        "partition 3: committed 500 (the log ends at 20, so that this is of an earlier life of the topic), new 0, "
        "at most 0 messages again",
    ]
    found = log()
    expected = HEAD + "".join(f"{line}\n" for line in [*lines, *others])
    assert await told(found, target, dry_run=True) == (True, f"{expected}dry run, nothing was written: {summary}\n")
    assert (found.written, found.asked) == ([], [1500 if target.since else None])


async def test_after_a_yes_the_chosen_partitions_go_back_and_no_other() -> None:
    found = log()
    assert await told(found, START, 1) == (
        True,
        f"{HEAD}partition 1: committed 50, new 10, at most 40 messages again\n"
        "1 of 1 partitions, at most 40 messages again. Rewind?\n"
        "rewound: 1 of 1 partitions, at most 40 messages again\n",
    )
    assert found.written == [{1: 10}]


async def test_after_a_no_nothing_is_written() -> None:
    found = log()
    done, said = await told(found, START, 1, agrees=False)
    assert (done, said.splitlines()[-1], found.written) == (False, "nothing was written", [])


async def test_a_second_time_there_is_nothing_to_do_and_nobody_is_asked() -> None:
    found = log()
    await told(found, START, 0, 3)
    assert await told(found, START, 0, 3) == (
        True,
        f"{HEAD}partition 0: committed 0, stays: it is there already\n"
        "partition 3: committed 0, stays: it is there already\nnothing to rewind\n",
    )
    assert found.written == [{0: 0, 3: 0}]


async def test_what_the_log_has_dropped_is_not_gone_back_to() -> None:
    gone = Groups({0: Standing(beginning=30, end=40, committed=3), 1: Standing(beginning=30, end=40, committed=31)})
    assert await told(gone, Target(by=5), dry_run=True) == (
        True,
        f"{HEAD}partition 0: committed 3, stays: it is read from the beginning anyway\n"
        "partition 1: committed 31, new 30, at most 1 message again\n"
        "dry run, nothing was written: 1 of 2 partitions, at most 1 message again\n",
    )


# ------------------------------------------------------------------------------------------ refusals


async def test_a_group_with_members_is_told_and_refused_without_a_question() -> None:
    read = log(members=("a at 10.0.0.1", "b at 10.0.0.2"))
    done, said = await told(read, START, 0, dry_run=True)
    assert (done, said) == (
        True,
        f"{HEAD}partition 0: committed 120, new 0, at most 120 messages again\n"
        "2 members read in it (a at 10.0.0.1, b at 10.0.0.2): it is not sent back before they are gone\n"
        "dry run, nothing was written: 1 of 1 partitions, at most 120 messages again\n",
    )
    with pytest.raises(ConfigurationError) as refused:
        await told(read, START, 0, agrees=False)
    assert str(refused.value) == (
        "group lectern.ns.kb.g1 cannot be sent back: 2 members read in it (a at 10.0.0.1, b at 10.0.0.2), and would "
        "go on where they are. Set spec.suspend of KnowledgeBase/kb to true, wait until none of its workers runs (one "
        "that was killed counts for ten seconds longer), and rewind again"
    )
    assert read.written == []


async def test_a_member_that_comes_at_the_last_moment_is_refused_by_the_log() -> None:
    with pytest.raises(ConfigurationError, match=r"1 member reads in it \(late at 10.0.0.9\)"):
        await told(log(refuses=True))


async def test_many_members_are_named_up_to_a_bound() -> None:
    with pytest.raises(ConfigurationError, match=r"7 members read in it \(m0, m1, m2, m3, m4 and 2 more\)"):
        await told(log(members=tuple(f"m{number}" for number in range(7))))


async def test_a_group_that_moved_while_a_person_thought_is_left_alone() -> None:
    found = log(meanwhile=lambda log: log.commit(1, 51))
    with pytest.raises(ConfigurationError, match=r"was moved since it was looked at \(partition 1: 50, now 51\)"):
        await told(found)
    assert found.written == []


async def test_a_group_that_does_not_stand_where_it_was_sent_is_said() -> None:
    with pytest.raises(DependencyError, match="sent back to offset 10 of partition 1 and stands at 11: somebody"):
        await told(log(spoiled=lambda log: log.commit(1, 11)))


async def test_a_partition_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError) as refused:
        await told(log(), START, 1, 9)
    assert str(refused.value) == (
        "--partition 9: topic lectern.ns.kb.documents has the partitions 0 to 3; name one of these"
    )


NONE: dict[str, Any] = {"to_start": False, "to_time": None, "by_messages": None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "say how far back with one of --to-start, --to-time MOMENT and --by-messages N"),
        ({"to_start": True, "by_messages": 3}, "say how far back with one of"),
        ({"by_messages": 0}, "--by-messages 0: this goes no step back; say 1 or more"),
        ({"to_time": "yesterday"}, "--to-time yesterday: no moment; write it like 2026-11-21T08:00:00Z"),
        ({"to_time": "2026-11-21T08:00:00"}, "--to-time 2026-11-21T08:00:00: it has no time zone"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Target.of(**{**NONE, **options})
    assert words in str(refused.value)


def test_targets_are_what_was_written() -> None:
    assert Target.of(**{**NONE, "to_start": True}) == START
    assert Target.of(**{**NONE, "by_messages": 3}) == Target(by=3)
    assert Target.of(**{**NONE, "to_time": "1970-01-01T01:00:10+01:00"}) == Target(since=10)


async def test_a_moment_before_all_moments_is_the_beginning_and_no_word_of_the_brokers() -> None:
    found = log()
    await told(found, Target(since=-0.001), dry_run=True)
    assert found.asked == [0]  # -1 would mean the end


# ------------------------------------------------------------------------------------------- workers


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    """A knowledge base with two documents, one of them changed, and one that was deleted again."""
    async with pipeline(tmp_path) as found:
        await found.worker().ensure()
        gone = await found.put("gone.md", "gone")
        await found.publish(await found.put("a.md", "first"), await found.put("b.md", "other"), gone)
        await found.publish(await found.put("a.md", "second"), Deleted(document=gone.document))
        await found.index()
        yield found


async def test_a_worker_makes_up_for_a_store_that_forgot(pipe: Pipeline) -> None:
    before, records = await pipe.points(), await pipe.records()
    await pipe.store.drop_collection(COLLECTION)
    await pipe.index()
    assert await pipe.points() == {}  # nothing comes back by itself
    rewind = Rewind(cast(SqliteLog, pipe.log), namespace="ns", knowledge_base="kb", generation=1)
    await rewind.carry_out(await rewind.plan(START))
    await pipe.index()
    assert (await pipe.points(), await pipe.records()) == (before, records)


async def test_a_worker_passes_over_what_the_store_has(pipe: Pipeline) -> None:
    before, embedded = await pipe.points(), list(pipe.embedder.embedded)
    rewind = Rewind(cast(SqliteLog, pipe.log), namespace="ns", knowledge_base="kb", generation=1)
    await rewind.carry_out(await rewind.plan(START))
    assert await pipe.log.lag("lectern.ns.kb.documents", group="lectern.ns.kb.g1") == 3
    await pipe.index()
    assert (await pipe.points(), pipe.embedder.embedded) == (before, embedded)


# ------------------------------------------------------------------------------------------- program


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """Settings of a worker of a broker that is not there."""
    away = contract.KafkaLog(
        bootstrap_servers="127.0.0.1:1",
        security_protocol="PLAINTEXT",
        sasl_mechanism=None,
        username_file=None,
        password_file=None,
        ca_file=None,
    )
    file = tmp_path / "settings.json"
    file.write_text(contract.canonical(worker_settings(log=away)))
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--to-start"], 2, "rewind asks before it writes, and there is no terminal: say --yes, or --dry-run\n"),
        (["--yes"], 2, "say how far back with one of --to-start, --to-time MOMENT and --by-messages N\n"),
        (
            ["--to-start", "--dry-run"],
            1,
            "127.0.0.1:1 cannot be reached (Connect call failed ('127.0.0.1', 1)): check that the brokers run\n",
        ),
    ],
)
def test_the_program_refuses_in_one_sentence(
    settings: str, arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["rewind", "--settings", settings, *arguments]) == status
    assert capsys.readouterr() == ("", words)


def test_at_a_terminal_a_person_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["y", " Yes ", "", "no"])
    questions: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

    def answer(question: str) -> str:
        questions.append(question)
        return next(answers)

    monkeypatch.setattr("builtins.input", answer)
    agree = agreement(yes=False, dry_run=False)
    assert [agree("Rewind?") for _ in range(4)] == [True, True, False, False]
    assert questions == ["Rewind? [y/N] "] * 4
    assert agreement(yes=True, dry_run=False)("Rewind?")
