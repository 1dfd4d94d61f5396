from collections import Counter

import pytest

from bench.operator import __main__ as command
from bench.operator import population, scale, stub_children
from bench.operator.scale import Scale
from bench.report import Goal
from e2e.faults.scenarios import World

WORLD = World(vector_store="http://store", broker="broker:9092")


def measured() -> Scale:
    found = Scale(count=200, cycles=1000, cold_seconds=10.0, restart_seconds=5.0, cycle_seconds=100.0)
    found.newcomers, found.queued = [0.5] * 19 + [12.0], [100.0] * 20
    found.empty_megabytes, found.full_megabytes = 80.0, 120.0
    found.cycle_megabytes = [90.0, 100.0, 101.0, 102.0, 103.0, 104.0, 104.0, 104.0, 105.0, 104.0]
    return found


def judged(goals: list[Goal]) -> list[tuple[float | None, bool | None]]:
    return [(None if goal.value is None else round(goal.value, 2), goal.met) for goal in goals]


def test_every_figure_of_scale_is_judged_by_its_bound() -> None:
    assert judged(measured().goals()) == [
        (20.0, False),
        (120.0, True),
        (0.0, True),
        (5.0, True),
        (0.5, True),
        (80.0, True),
        (4.0, True),
    ]


def test_resources_that_never_got_ready_are_no_rate() -> None:
    found = measured()
    found.cold_seconds, found.not_ready, found.restart_seconds = None, 3, None
    cold, _, _, restart, *_ = found.goals()
    assert (cold.value, cold.met, cold.reason) == (0.0, False, "3 not Ready in time, 0 calls of the API server")
    assert restart.met is False


def test_newcomers_that_met_no_resync_are_not_measured() -> None:
    found = measured()
    found.newcomers, found.queued = [], []
    assert found.goals()[4].met is None


def test_a_phase_that_failed_leaves_what_the_others_measured() -> None:
    found = measured()
    found.failures["cycles"] = "TimeoutError: "
    *others, growth = found.goals()
    assert growth == scale.GROWTH.unmeasured("TimeoutError: ")
    assert len(judged(others)) == 6


def test_the_memory_allowed_grows_with_the_resources() -> None:
    assert [scale.memory_aim(count).limit for count in (0, 2048)] == [150.0, 210.0]


@pytest.mark.parametrize(("values", "p95"), [([3.0], 3.0), ([*map(float, range(1, 21))], 19.0)])
def test_a_percentile_is_one_of_the_values(values: list[float], p95: float) -> None:
    assert scale.percentile(values, 95) == p95


def test_calls_are_counted_by_verb_and_kind() -> None:
    metrics = {
        'lectern_operator_api_calls_total{code="200",kind="ConfigMap",verb="PATCH"}': 2.0,
        'lectern_operator_api_calls_total{code="409",kind="ConfigMap",verb="PATCH"}': 1.0,
        'lectern_operator_reconciles_total{kind="RagEndpoint",result="done"}': 7.0,
    }
    assert scale.calls(metrics) == Counter({"PATCH ConfigMap": 3})


def test_a_population_has_its_knowledge_bases_first_and_every_reference_in_its_namespace() -> None:
    crowd = population.population(50, ("a", "b"), WORLD, "http://embedder")
    bases = {(namespace, document["metadata"]["name"]) for namespace, document in crowd.documents[:4]}
    named = {
        (namespace, name)
        for namespace, document in crowd.documents[4:]
        for name in document["spec"].get("knowledgeBaseRefs", [document["spec"].get("knowledgeBaseRef")])
    }
    assert (len(crowd), bases, named <= bases) == (50, {(at, f"kb-{n}") for at in "ab" for n in (0, 1)}, True)
    assert len({(at, document["kind"], document["metadata"]["name"]) for at, document in crowd.documents}) == 50


def test_the_stub_tells_a_child_to_be_well_once() -> None:
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 3}}
    told = stub_children.deployment_status(deployment)
    assert told is not None
    assert stub_children.deployment_status({**deployment, "status": told}) is None
    done = stub_children.job_status({"status": {}})
    assert done is not None
    assert stub_children.job_status({"status": done}) is None
    ready = stub_children.scaled_object_status({})
    assert ready is not None
    assert stub_children.scaled_object_status({"status": ready}) is None


def test_a_goal_that_does_not_exist_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.options(["A9"], quick=True)
    assert "A9: there are A6 and A7" in capsys.readouterr().err
