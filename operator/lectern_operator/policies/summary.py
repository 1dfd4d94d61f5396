"""From the verdicts on the parts to Ready, Reconciling, Stalled and SpecHonored: the same rules for all kinds.

A user reads Ready first: its reason and message are those of the first part that is not as it should be. Reconciling
and Stalled follow kstatus: Stalled when only a change of the resource or of the cluster helps, Reconciling while
waiting can help.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lectern_contract import conditions, names
from lectern_contract.conditions import Truth, Verdict
from lectern_contract.errors import ResourceInvalid
from lectern_contract.resources.reasons import CONDITIONS, ConditionType, Reason
from lectern_contract.resources.status import Condition
from lectern_operator.policies.clocks import has_been

_LISTED = 8
_LEFT_OUT = " ... "


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why nothing was applied; `stalled` when nothing but a change of the resource itself helps."""

    reason: Reason
    message: str
    stalled: bool


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the summary is made of.

    `parts` are the component conditions in the order of the kind; `refusals` what the API server would not have;
    `unread` the fields that are set and that this release does not act on; `stalled` that waiting does not help;
    `paused` children that differ from the spec and that somebody asked to be left as they are; `ready_reason` what
    Ready=True says; `advice` conditions that are shown and do not hold Ready back. An Unknown part
    whose reason is in `awaited` does not either: the resource does what it was asked to, and what is unknown is a
    matter of time.
    """

    parts: tuple[Verdict, ...]
    blocked: Blocked | None = None
    refusals: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    stalled: bool = False
    awaited: frozenset[Reason] = frozenset()
    ready_reason: Reason = Reason.ALL_COMPONENTS_READY
    ready_message: str = "everything that the resource needs is ready"
    advice: tuple[Verdict, ...] = ()
    paused: tuple[str, ...] = ()


def verdicts(situation: Situation) -> tuple[Verdict, ...]:
    """Return one verdict for every condition of the kind, in its order."""
    ready = _ready(situation)
    stalled = _stalled(situation, ready)
    return (
        ready,
        _reconciling(ready, stalled=stalled.status == "True"),
        stalled,
        _spec_honored(situation.unread, situation.paused),
        *situation.parts,
        *situation.advice,
    )


def invalid(kind: str, before: Sequence[Condition], fault: ResourceInvalid) -> tuple[Verdict, ...]:
    """Return the verdicts for a spec that breaks a rule: what runs is left alone, so its conditions stay."""
    ready = Verdict(ConditionType.READY, "False", Reason.INVALID_SPEC, f"{fault}; correct the field and apply again")
    first = {
        ConditionType.READY: ready,
        ConditionType.RECONCILING: _reconciling(ready, stalled=True),
        ConditionType.STALLED: Verdict(ConditionType.STALLED, "True", Reason.INVALID_SPEC, ready.message),
    }
    unseen = "not looked at: the spec breaks a rule"
    return tuple(
        first.get(aspect) or standing(before, aspect) or Verdict(aspect, "Unknown", Reason.UNKNOWN, unseen)
        for aspect in CONDITIONS[kind]
    )


def broken(kind: str, before: Sequence[Condition], cause: str) -> tuple[Verdict, ...]:
    """Return the verdicts where a pass fails by a defect of ours, `cause`: what runs is left alone."""
    message = (
        f"the operator cannot look after this resource as it is ({cause}) and tries again; its log says more, "
        "and taking the last change of the spec back may help"
    )
    ready = Verdict(ConditionType.READY, "Unknown", Reason.UNKNOWN, message)
    first = {
        ConditionType.READY: ready,
        ConditionType.RECONCILING: _reconciling(ready, stalled=False),
        ConditionType.STALLED: Verdict(ConditionType.STALLED, "False", Reason.STABLE, "nothing stands in the way"),
    }
    unseen = "not looked at: the pass failed"
    return tuple(
        first.get(aspect) or standing(before, aspect) or Verdict(aspect, "Unknown", Reason.UNKNOWN, unseen)
        for aspect in CONDITIONS[kind]
    )


def standing(before: Iterable[Condition], aspect: ConditionType, *, generation: int | None = None) -> Verdict | None:
    """Return what the status says of `aspect`, where it says it for this generation of the spec (None: for any).

    A reason that is none of ours, of a newer release or of somebody else, says nothing.
    """
    for each in before:
        if each.type == aspect and generation in (None, each.observed_generation) and each.reason in set(Reason):
            return Verdict(aspect, each.status, Reason(each.reason), each.message)
    return None


def carried(before: Iterable[Condition], found: Iterable[Verdict], *, generation: int, now: str) -> list[Condition]:
    """Return the conditions after `found`; a clock moves only with its status, and one that is none is set anew."""
    known = [each for each in before if has_been(each.last_transition_time, now)]
    told = [replace(each, message=shortened(each.message, conditions.MAX_MESSAGE)) for each in found]
    return list(conditions.advance(known, told, generation=generation, now=now))


def shortened(text: str, longest: int) -> str:
    """Return `text` with at most `longest` characters: what is named stands at its start, the next step at its end."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - len(_LEFT_OUT)]}{_LEFT_OUT}{text[-end:]}"


def _ready(situation: Situation) -> Verdict:
    def verdict(status: Truth, reason: Reason, message: str) -> Verdict:
        return Verdict(ConditionType.READY, status, reason, message)

    if situation.blocked is not None:
        return verdict("False", situation.blocked.reason, situation.blocked.message)
    if situation.refusals:
        more = f" (and {len(situation.refusals) - 1} more)" if len(situation.refusals) > 1 else ""
        return verdict("False", Reason.APPLY_REFUSED, f"{situation.refusals[0]}{more}")
    for wanted in ("False", "Unknown"):
        for part in situation.parts:
            if part.status == wanted and not (wanted == "Unknown" and part.reason in situation.awaited):
                return verdict(part.status, part.reason, f"{part.type}: {part.message}")
    return verdict("True", situation.ready_reason, situation.ready_message)


def _stalled(situation: Situation, ready: Verdict) -> Verdict:
    stuck = (
        (situation.blocked is not None and situation.blocked.stalled)
        or (situation.blocked is None and bool(situation.refusals))
        or ready.reason is Reason.DEPLOYMENT_FAILED
        or (ready.status == "False" and situation.stalled)
    )
    if stuck:
        return Verdict(ConditionType.STALLED, "True", ready.reason, ready.message)
    return Verdict(ConditionType.STALLED, "False", Reason.STABLE, "nothing stands in the way")


def _reconciling(ready: Verdict, *, stalled: bool) -> Verdict:
    if ready.status == "True" or stalled:
        return Verdict(ConditionType.RECONCILING, "False", Reason.STABLE, "nothing is left to do for this generation")
    return Verdict(ConditionType.RECONCILING, "True", Reason.PROGRESSING, ready.message)


def _spec_honored(unread: tuple[str, ...], paused: tuple[str, ...]) -> Verdict:
    if paused:
        message = f"{', '.join(paused[:_LISTED])} stays as it is while it carries the annotation {names.PAUSED}=true"
        return Verdict(ConditionType.SPEC_HONORED, "False", Reason.CHILD_PAUSED, message)
    if not unread:
        return Verdict(ConditionType.SPEC_HONORED, "True", Reason.AS_SPECIFIED, "every field that is set is acted on")
    named = ", ".join(unread[:_LISTED]) + (f" and {len(unread) - _LISTED} more" if len(unread) > _LISTED else "")
    return Verdict(
        ConditionType.SPEC_HONORED,
        "False",
        Reason.FIELDS_NOT_READ,
        f"this release does not act on {named}; the rest of the spec is in effect",
    )
