import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench import data, embedding, ingestion, query_latency, resources, retrieval_quality, skeleton, startup
from bench.data import DataMissing
from bench.embedder_floor import Cost
from bench.embedding import Comparison
from bench.ingestion import Ingestion, Remembering, Round, Spent, Watched
from bench.query_latency import Latencies, Queries
from bench.report import Aim, Goal
from bench.startup import Start, Startup
from lectern_cli import manifests, plan
from lectern_runtime.adapters.onnx import DIMENSIONS
from lectern_runtime.ports import EmbedderInfo, Vectors


def figures(goals: Sequence[Goal]) -> dict[str, tuple[float | None, float | None, bool | None]]:
    return {goal.goal: (goal.value, goal.ratio, goal.met) for goal in goals}


def test_the_embedder_is_compared_round_by_round() -> None:
    rounds = Comparison(
        floors=(Cost(1.0, 1.0), Cost(1.0, 8.0), Cost(1.0, 1.0)),
        embedder=(Cost(2.0, 1.25), Cost(2.0, 10.0), Cost(2.0, 1.25)),
        texts=100,
    )
    assert (rounds.wall, rounds.cpu) == (0.8, 0.5)
    assert figures(rounds.goals(seed=1)) == {"embedding": (80.0, 0.8, False), "embedding-cpu": (50.0, 0.5, False)}


def test_the_rest_of_ingestion_is_what_no_call_covers_and_what_runs_without_the_model() -> None:
    one = Round(Spent(wall=10.0, cpu=20.0, embedding=9.5, chunks=7), Spent(wall=1.0, cpu=1.0, embedding=0.0, chunks=7))
    goals = Ingestion((one, one), pages=5, size=4096).goals(seed=1)
    assert figures(goals) == {"ingestion-rest": (0.05, None, True), "ingestion-rest-cpu": (0.05, None, True)}
    assert [goal.n for goal in goals] == [10, 10]


def test_a_start_is_the_median_and_its_ratio_is_to_the_bare_process() -> None:
    slow = (Start(3.0, 1.0), Start(30.0, 1.0), Start(4.0, 1.0))
    measured = Startup(empty=slow, filled=(Start(6.0, 1.0),), bare=(1.0, 3.0, 2.0), peak=700 << 20)
    assert figures(measured.goals()) == {
        "ready-empty": (4.0, 0.5, True),
        "ready-again": (6.0, pytest.approx(1 / 3), False),
        "memory-quickstart": (700.0, None, False),
    }


def test_a_burst_of_the_neighbours_spoils_one_block_and_not_the_percentile() -> None:
    quiet = [20.0] * 100
    assert query_latency.block_percentiles([*quiet[:90], *[500.0] * 10]) == [20.0, 20.0, 20.0, 20.0, 500.0]


def test_the_floor_of_a_query_is_echo_and_bare_search_of_the_same_question() -> None:
    seen = Latencies(lectern=[20.0] * 20, echo=[1.0, 3.0] * 10, bare=[9.0, 7.0] * 10, refused=2, cpu_seconds=0.5)
    goals = Queries(seen, chunks=9, peak_serving=1 << 20, peak_ingesting=300 << 20, pages=3).goals(seed=1)
    assert figures(goals) == {"query-p95": (20.0, 0.5, True), "memory-10k": (300.0, None, True)}
    assert goals[0].floor == 10.0
    assert "25.0 ms a question" in goals[0].reason


class SlowEmbedder:
    """Takes a moment for each call."""

    async def info(self) -> EmbedderInfo:
        return EmbedderInfo("model", "r", DIMENSIONS, 256, 64, 16_384)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        await asyncio.sleep(0.05)
        return np.stack([np.eye(DIMENSIONS, dtype=np.float32)[len(text)] for text in texts])

    async def tokenize(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        return [[(0, len(text))] for text in texts]

    async def close(self) -> None:
        raise AssertionError("an embedder that is only watched belongs to somebody else")


async def test_overlapping_calls_count_once_and_their_vectors_are_remembered() -> None:
    watched = Watched(SlowEmbedder())
    began = time.perf_counter()
    await asyncio.gather(watched.embed(["a", "bb"]), watched.embed(["ccc"]))
    elapsed = time.perf_counter() - began
    await watched.close()
    assert 0.04 < watched.open_seconds <= elapsed  # each call alone takes 0.05
    again = Remembering(SlowEmbedder(), watched.known)
    assert np.array_equal(await again.embed(["ccc", "a"]), (await SlowEmbedder().embed(["ccc", "a"])))
    assert again.open_seconds == 0.0
    with pytest.raises(KeyError):
        await again.embed(["never seen"])


def test_a_part_without_its_data_leaves_its_goals_unmet_with_the_reason() -> None:
    def part() -> list[Goal]:
        raise DataMissing("the test data is not there")

    goals = skeleton.attempt("a part", embedding.AIMS, part)
    assert [(goal.goal, goal.met, goal.reason) for goal in goals] == [
        (aim.goal, None, "the test data is not there") for aim in embedding.AIMS
    ]


def test_a_defect_of_a_part_is_not_hidden() -> None:
    def part() -> list[Goal]:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        skeleton.attempt("a part", ingestion.AIMS, part)


def test_without_test_data_every_goal_that_needs_it_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured = Startup(empty=(Start(1, 1),), filled=(Start(1, 1),), bare=(1.0,), peak=1)
    monkeypatch.setattr(startup, "measure", lambda *, rounds: measured)
    goals, _ = skeleton.run(skeleton.QUICK, {data.VARIABLE: str(tmp_path / "nowhere")})
    states = {goal.goal: goal.met for goal in goals}
    assert {name for name, met in states.items() if met} == {aim.goal for aim in startup.AIMS}
    assert {name for name, met in states.items() if met is None} == {
        "embedding",
        "embedding-cpu",
        "ingestion-rest",
        "ingestion-rest-cpu",
        "quality-bm25",
        "quality-dense",
        "quality-hybrid",
        "query-p95",
        "memory-10k",
    }
    assert all(data.VARIABLE in goal.reason for goal in goals if goal.met is None)


def test_every_goal_has_a_name_of_its_own() -> None:
    every: list[Aim] = [
        *startup.AIMS,
        *embedding.AIMS,
        *ingestion.AIMS,
        *retrieval_quality.AIMS,
        *query_latency.AIMS,
    ]
    assert len({aim.goal for aim in every}) == len(every)


def test_lectern_up_accepts_the_resources_of_the_benchmarks(tmp_path: Path) -> None:
    path = resources.write(tmp_path / "resources")
    (tmp_path / "pages").mkdir()
    planned = plan.make(manifests.read(path), mounts={resources.CLAIM: tmp_path / "pages"}, endpoint=None)
    assert planned.query.cache.exact is None
    assert planned.endpoint == resources.endpoint()
    assert dict(planned.knowledge_bases) == {resources.NAME: resources.knowledge_base()}
