import json
from pathlib import Path

import pytest

from bench import report
from bench.report import Aim, Goal, Report

FAST = Aim("fast", "time of it", "<=", 5.0, "s")
GOOD = Aim("good", "quality of it", ">=", 0.9)
NEAR = Aim("near", "speed of it", ">=", 0.9, "/s", of_floor=True)


def of(*goals: Goal, quick: bool = False) -> Report:
    return Report(target="bench-thing", goals=goals, machine={"cores": 2, "packages": {}}, quick=quick)


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (FAST.measured(5.0), True),
        (FAST.measured(5.01), False),
        (GOOD.measured(0.9), True),
        (GOOD.measured(0.89), False),
        (NEAR.measured(1.0, floor=1.1, ratio=0.91), True),
        (NEAR.measured(100.0, floor=200.0, ratio=0.5), False),
        (FAST.measured(float("nan")), False),
        (GOOD.measured(float("nan")), False),
        (FAST.unmeasured("there is no disk"), None),
    ],
)
def test_a_goal_is_met_up_to_and_with_its_bound_and_never_by_what_is_no_number(goal: Goal, met: bool | None) -> None:
    assert goal.met is met


def test_a_share_of_a_floor_needs_the_ratio() -> None:
    with pytest.raises(ValueError, match="goal near is a share of its floor"):
        NEAR.measured(100.0, floor=200.0)


def test_a_bound_says_what_it_is_compared_with() -> None:
    assert [aim.bound for aim in (FAST, GOOD, NEAR)] == ["<= 5", ">= 0.9", ">= 0.9 of floor"]


@pytest.mark.parametrize(
    ("goals", "status", "verdict"),
    [
        ((FAST.measured(1), GOOD.measured(1)), 0, "bench-thing: 2 of 2 goals met"),
        ((FAST.measured(1), GOOD.measured(0)), 1, "bench-thing: 1 of 2 goals met"),
        ((FAST.measured(1), GOOD.unmeasured("no data")), 1, "bench-thing: 1 of 2 goals met"),
        ((), 1, "bench-thing: 0 of 0 goals met"),
    ],
)
def test_the_exit_status_is_0_only_when_every_goal_is_met(goals: tuple[Goal, ...], status: int, verdict: str) -> None:
    assert (of(*goals).exit_status, of(*goals).verdict) == (status, verdict)


def test_the_file_holds_every_goal_with_all_its_fields(tmp_path: Path) -> None:
    goals = (FAST.measured(2.5, floor=1.0, ratio=0.4, n=5, seed=1, reason="slowest 3 s"), GOOD.unmeasured("no data"))
    path = report.write(of(*goals, quick=True), tmp_path / "new")
    content = json.loads(path.read_text())
    assert path == tmp_path / "new" / "bench-thing.json"
    assert content["machine"] == {"cores": 2, "packages": {}}
    assert (content["quick"], content["note"]) == (True, report.QUICK_NOTE)
    assert content["goals"] == [
        {
            "goal": "fast",
            "figure": "time of it",
            "value": 2.5,
            "unit": "s",
            "bound": "<= 5",
            "floor": 1.0,
            "ratio": 0.4,
            "n": 5,
            "seed": 1,
            "met": True,
            "reason": "slowest 3 s",
        },
        {
            "goal": "good",
            "figure": "quality of it",
            "value": None,
            "unit": "",
            "bound": ">= 0.9",
            "floor": None,
            "ratio": None,
            "n": None,
            "seed": None,
            "met": None,
            "reason": "no data",
        },
    ]


def test_what_is_no_number_is_null_in_the_file(tmp_path: Path) -> None:
    content = json.loads(report.write(of(FAST.measured(float("inf"))), tmp_path).read_text())
    assert (content["goals"][0]["value"], content["goals"][0]["met"]) == (None, False)


def test_the_table_has_a_line_for_each_goal_and_the_remarks_below() -> None:
    lines = report.table([FAST.measured(2.5, n=3, reason="slowest 3 s"), NEAR.measured(28, floor=30, ratio=0.93)])
    assert [line.split() for line in lines.splitlines() if not line.startswith("-")] == [
        ["goal", "figure", "value", "bound", "floor", "ratio", "n", "met"],
        ["fast", "time", "of", "it", "2.5", "s", "<=", "5", "s", "-", "-", "3", "yes"],
        ["near", "speed", "of", "it", "28", "/s", ">=", "0.9", "of", "floor", "30", "/s", "0.930", "-", "yes"],
        ["fast:", "slowest", "3", "s"],
    ]


def test_the_verdict_is_the_last_line_that_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.finish(of(GOOD.measured(0.5)), tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "bench-thing: 0 of 1 goals met"


def test_a_sample_says_that_it_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.finish(of(GOOD.measured(1), quick=True), tmp_path)
    assert report.QUICK_NOTE in capsys.readouterr().out


def test_the_machine_is_described() -> None:
    described = report.machine(["pytest", "no-such-package"])
    assert described["packages"] == {"pytest": pytest.__version__, "no-such-package": None}
    assert {"processor", "cores", "usable_cores", "memory_mib", "load_average", "system", "python"} < set(described)
    assert isinstance(described["memory_mib"], int)
    assert described["memory_mib"] > 0


@pytest.mark.parametrize(("value", "quick"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)])
def test_quick_is_what_the_environment_says(value: str | None, quick: bool) -> None:
    assert report.is_quick({} if value is None else {"QUICK": value}) is quick
