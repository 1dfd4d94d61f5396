"""Sends the workers of a knowledge base back in the log, so that they apply again what its store has forgotten.

A store that was restored from a snapshot is older than what its workers committed. Reading again does no harm: a
document whose record is as new as the message is passed over. So a group is only ever sent backwards, never past what
it has not read, and never while somebody reads in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from lectern_contract import names
from lectern_contract.errors import ConfigurationError, DependencyError
from lectern_contract.names import Topic
from lectern_runtime.errors import GroupInUse
from lectern_runtime.moments import seconds_of
from lectern_runtime.ports import GroupState, RewindableLog, Standing

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Target:
    """How far back: to the records of the moment `since` (seconds since 1970 UTC), `by` records in each partition.

    With neither, to the beginning.
    """

    since: float | None = None
    by: int | None = None

    @classmethod
    def of(cls, *, to_start: bool, to_time: str | None, by_messages: int | None) -> Target:
        """Return what the options mean; raises `ConfigurationError` unless exactly one is given, and makes sense."""
        if to_start + (to_time is not None) + (by_messages is not None) != 1:
            raise ConfigurationError("say how far back with one of --to-start, --to-time MOMENT and --by-messages N")
        if by_messages is not None and by_messages < 1:
            raise ConfigurationError(f"--by-messages {by_messages}: this goes no step back; say 1 or more")
        return cls(None if to_time is None else seconds_of(to_time, "--to-time"), by_messages)


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one partition: it goes back to `new`, or stays (None) for a reason.

    `again` is how many messages are read again at most: a compacted log has gaps.
    """

    partition: int
    committed: int | None
    new: int | None
    again: int
    why: str = ""

    def told(self) -> str:
        """Return the step in one line."""
        stands = "nothing committed" if self.committed is None else f"committed {self.committed}"
        if self.new is None:
            return f"partition {self.partition}: {stands}, stays: {self.why}"
        note = f" ({self.why})" if self.why else ""
        return f"partition {self.partition}: {stands}{note}, new {self.new}, at most {_messages(self.again)} again"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rewind of one group would do, and who reads in the group at the moment."""

    group: str
    topic: str
    members: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def moves(self) -> Mapping[int, int]:
        """The partitions that go back, with their new offsets."""
        return {step.partition: step.new for step in self.steps if step.new is not None}

    @property
    def again(self) -> int:
        """How many messages are read again at most."""
        return sum(step.again for step in self.steps)

    def told(self) -> str:
        """Return the plan as lines."""
        lines = [f"group {self.group} on topic {self.topic}", *(step.told() for step in self.steps)]
        if self.members:
            lines.append(f"{_readers(self.members)}: it is not sent back before they are gone")
        return "".join(f"{line}\n" for line in lines)


class Rewind:
    """The group of the workers that fill one index generation of a knowledge base."""

    def __init__(self, log: RewindableLog, *, namespace: str, knowledge_base: str, generation: int) -> None:
        self._log = log
        self._knowledge_base = knowledge_base
        self._topic = names.topic(namespace, knowledge_base, Topic.DOCUMENTS)
        self._group = names.consumer_group(namespace, knowledge_base, generation)

    async def plan(self, target: Target, partitions: Collection[int] = ()) -> Plan:
        """Return what a rewind would do in these partitions, in all of them where none is named; changes nothing.

        Raises `ConfigurationError` for a partition that is not there, and what the log raises.
        """
        since_ms = None if target.since is None else max(0, int(target.since * 1000))
        state = await self._log.group_state(self._topic, group=self._group, since_ms=since_ms)
        unknown = sorted(set(partitions) - set(state.partitions))
        if unknown:
            raise ConfigurationError(
                f"--partition {unknown[0]}: topic {self._topic} has the partitions 0 to {max(state.partitions)}; "
                "name one of these"
            )
        chosen = sorted(set(partitions) or state.partitions)
        steps = tuple(_step(number, state.partitions[number], target) for number in chosen)
        return Plan(self._group, self._topic, state.members, steps)

    async def carry_out(self, plan: Plan) -> None:
        """Send the group back as planned, and look whether it stands there.

        Raises `ConfigurationError` while somebody reads in it or when it was moved since, with nothing changed, and
        `DependencyError` when it does not stand where it should.
        """
        self._check(plan, await self._log.group_state(self._topic, group=self._group))
        try:
            await self._log.set_back(self._topic, group=self._group, to=plan.moves)
        except GroupInUse as error:
            raise self._in_use(error.members) from error
        now = await self._log.group_state(self._topic, group=self._group)
        for partition, new in plan.moves.items():
            if now.partitions[partition].committed != new:
                raise DependencyError(
                    f"group {self._group} was sent back to offset {new} of partition {partition} and stands at "
                    f"{now.partitions[partition].committed}: somebody commits in it; see that no worker of "
                    f"KnowledgeBase/{self._knowledge_base} runs, and rewind again",
                    dependency="log",
                )

    def _check(self, plan: Plan, state: GroupState) -> None:
        if state.members:
            raise self._in_use(state.members)
        for step in plan.steps:
            if step.new is not None and state.partitions[step.partition].committed != step.committed:
                raise ConfigurationError(
                    f"group {self._group} was moved since it was looked at (partition {step.partition}: "
                    f"{step.committed}, now {state.partitions[step.partition].committed}); rewind again"
                )

    def _in_use(self, members: tuple[str, ...]) -> ConfigurationError:
        return ConfigurationError(
            f"group {self._group} cannot be sent back: {_readers(members)}, and would go on where they are. Set "
            f"spec.suspend of KnowledgeBase/{self._knowledge_base} to true, wait until none of its workers runs (one "
            "that was killed counts for ten seconds longer), and rewind again"
        )


async def act(
    rewind: Rewind,
    target: Target,
    partitions: Collection[int],
    *,
    dry_run: bool,
    agree: Callable[[str], bool],
    say: Callable[[str], object],
) -> bool:
    """Plan, tell, ask and carry out; return whether all is as it was asked for.

    `say` takes text with its line ends; `agree` is asked a question before anything is written. Raises what `Rewind`
    raises.
    """
    plan = await rewind.plan(target, partitions)
    say(plan.told())
    if not plan.moves:
        say("nothing to rewind\n")
        return True
    if dry_run:
        say(f"dry run, nothing was written: {_summary(plan)}\n")
        return True
    if not plan.members and not agree(f"{_summary(plan)}. Rewind?"):
        say("nothing was written\n")
        return False
    await rewind.carry_out(plan)
    say(f"rewound: {_summary(plan)}\n")
    return True


def _step(partition: int, standing: Standing, target: Target) -> Step:
    committed, beginning, end = standing.committed, standing.beginning, standing.end
    is_there = committed is not None and beginning <= committed <= end
    goes_on = committed if committed is not None and is_there else beginning
    wanted = beginning
    if target.by is not None:
        wanted = goes_on - target.by
    elif target.since is not None:
        wanted = end if standing.since is None else standing.since
    new = max(beginning, min(wanted, goes_on))
    if committed is None or committed < beginning:
        return Step(partition, committed, None, 0, "it is read from the beginning anyway")
    if new < committed:
        why = "" if is_there else f"the log ends at {end}, so that this is of an earlier life of the topic"
        return Step(partition, committed, new, goes_on - new, why)
    ahead = f"offset {wanted} lies ahead, and nothing is skipped"
    return Step(partition, committed, None, 0, ahead if wanted > committed else "it is there already")


def _summary(plan: Plan) -> str:
    return f"{len(plan.moves)} of {len(plan.steps)} partitions, at most {_messages(plan.again)} again"


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _readers(members: tuple[str, ...]) -> str:
    more = f" and {len(members) - _MOST_NAMED} more" if len(members) > _MOST_NAMED else ""
    who = "somebody reads" if not members else "1 member reads" if len(members) == 1 else f"{len(members)} members read"
    named = f" ({', '.join(members[:_MOST_NAMED])}{more})" if members else ""
    return f"{who} in it{named}"
