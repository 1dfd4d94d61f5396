from pathlib import Path

import numpy as np
import pytest
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    Modifier,
    Point,
    SparseVector,
    UpdateOperation,
)

from bench.data import DataMissing
from bench.ingest import __main__ as command
from bench.ingest import chunking, equality, excerpts, freshness, history, memory, pages, poison, running, throughput
from bench.ingest.chunking import PUBLISHED, Question, Scores, Setting
from bench.ingest.excerpts import Piece, Worth, worth
from bench.ingest.history import History
from bench.ingest.indexing import Pass
from bench.ingest.pages import Change
from bench.ingest.running import Look, WorkerStuck
from bench.ingest.stub_embedder import NOT_FINITE, OVERLOADED, StubEmbedder, digests
from lectern_contract.collection import DENSE, SPARSE
from lectern_contract.messages import DeadLetter, DocumentRef, Put
from lectern_runtime.errors import EmbedderFailed

# ---------------------------------------------------------------------------------------- excerpts


def test_a_chunk_that_holds_half_of_an_excerpt_is_scored_by_hand() -> None:
    # 100 characters are wanted, 200 are read, 50 of them are wanted; the chunk 100 to 300 alone holds any of it,
    # and the 50 that no chunk holds count against omega: 50 / (200 + 50).
    chunk = Piece("a", 100, 300)
    assert worth("a", [(50, 150)], [chunk], [chunk, Piece("a", 400, 500)]) == Worth(
        recall=0.5, precision=0.25, precision_omega=0.2, iou=50 / 250
    )


def test_what_overlapping_chunks_repeat_counts_against_precision_and_once_for_recall() -> None:
    # Wanted 0 to 100; read 0 to 100 and 50 to 150, 200 characters, 100 of them different and wanted.
    retrieved = [Piece("a", 0, 100), Piece("a", 50, 150)]
    assert worth("a", [(0, 100)], retrieved, retrieved) == Worth(
        recall=1.0, precision=0.5, precision_omega=100 / 150, iou=0.5
    )


def test_a_chunk_of_another_text_is_read_and_finds_nothing() -> None:
    mine = Piece("a", 0, 100)
    assert worth("a", [(0, 100)], [Piece("b", 0, 100)], [mine]) == Worth(
        recall=0.0, precision=0.0, precision_omega=1.0, iou=0.0
    )


def test_two_excerpts_in_two_chunks_with_one_of_them_missed() -> None:
    # Wanted 10 + 30; retrieved a chunk of 50 with the first; the other chunk holds the second.
    chunks = [Piece("a", 0, 50), Piece("a", 50, 150), Piece("a", 150, 250)]
    assert worth("a", [(20, 30), (60, 90)], chunks[:1], chunks) == Worth(
        recall=10 / 40, precision=10 / 50, precision_omega=40 / 150, iou=10 / 80
    )


def test_spans_that_touch_or_overlap_are_one_and_empty_ones_are_none() -> None:
    assert excerpts.union([(5, 9), (0, 3), (3, 4), (7, 12), (6, 6)]) == [(0, 4), (5, 12)]


def test_a_question_for_which_nothing_was_read_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was retrieved"):
        worth("a", [(0, 1)], [], [])


# ---------------------------------------------------------------------------------------- chunking


def test_the_best_chunks_of_all_texts_are_judged_for_each_question() -> None:
    pieces = [Piece("a", 0, 10), *(Piece("b", 10 * each, 10 * each + 10) for each in range(6))]
    vectors = np.zeros((7, 8), np.float32)
    vectors[np.arange(7), np.arange(7)] = 1.0
    asked = [Question("a", "which?", ((0, 10),))]
    first, last = np.array([[7, 6, 5, 4, 3, 2, 1, 0]], np.float32), np.array([[0, 1, 2, 3, 4, 5, 6, 0]], np.float32)
    assert [chunking.judged(pieces, vectors, asked, row)[0].recall for row in (first, last)] == [1.0, 0.0]


def test_the_setting_furthest_below_its_published_figure_is_judged() -> None:
    def scored(recall: float) -> Scores:
        return Scores(Worth(recall, 0.05, 0.2, 0.05), 10, 150.0, 0.4)

    found = {
        chunking.SHIPPED: scored(0.8),
        Setting("Recursive", 200, 0): scored(0.757),
        Setting("Fixed", 250, 125): scored(0.6),
    }
    assert [(goal.value, goal.met) for goal in chunking.goals(found, 9)] == [(0.8, True), (60 / 82.4, False)]


def test_a_figure_stands_beside_the_published_one() -> None:
    scored = Scores(Worth(0.8, 0.06, 0.25, 0.059), 10, 150.0, 0.4)
    assert scored.told(PUBLISHED[Setting("Fixed", 200, 0)]) == (
        "recall 80.0% (deviation 40.0%), precision 6.0%, omega 25.0%, IoU 5.9%; 10 chunks of 150 tokens; "
        "published TokenText 200/0: 76.6 / 4.1 / 19.1 / 4.1"
    )


# ---------------------------------------------------------------------------------------- equality


def shard(directory: Path, *points: Point) -> Path:
    """A store on disk with one collection that holds the points."""
    place = directory / "collections" / "c" / "shard"
    place.mkdir(parents=True)
    config = EdgeConfig(
        vectors={DENSE: EdgeVectorParams(size=2, distance=Distance.Cosine)},
        sparse_vectors={SPARSE: EdgeSparseVectorParams(modifier=Modifier.Idf)},
    )
    made = EdgeShard.create(str(place), config)
    made.update(UpdateOperation.upsert_points(list(points)))
    made.flush()
    made.close()
    return directory


def chunk(number: int, *, text: str = "some text", x: float = 1.0, version: int = 1, weight: float = 0.5) -> Point:
    payload = {"kind": "chunk", "uri": "a.md", "number": number, "text": text, "version": version}
    return Point(number, {DENSE: [x, 1.0], SPARSE: SparseVector([7], [weight])}, payload)


def record(number: int, state: str, version: int = 1) -> Point:
    return Point(number, {}, {"kind": "record", "uri": "a.md", "state": state, "version": version})


def compared(directory: Path, one: list[Point], other: list[Point]) -> list[str]:
    left, right = (equality.read(shard(directory / name, *points), "c") for name, points in (("l", one), ("r", other)))
    return list(equality.differences(left, right))


def test_other_versions_and_records_of_deleted_documents_are_no_difference(tmp_path: Path) -> None:
    one = [chunk(1, version=1), record(8, "Indexed"), record(9, "Deleted")]
    assert compared(tmp_path, one, [chunk(1, version=5), record(8, "Indexed", 5)]) == []


def test_every_kind_of_difference_is_told(tmp_path: Path) -> None:
    one = [chunk(1), chunk(2), chunk(3), chunk(4), record(8, "Indexed")]
    other = [chunk(2, text="other"), chunk(3, x=0.9), chunk(4, weight=0.6), chunk(5), record(8, "Failed")]
    assert compared(tmp_path, one, other) == [
        "a.md, chunk 1 is only in the first",
        "a.md, chunk 2 differs in text",
        "a.md, chunk 3 differs in its vector",
        "a.md, chunk 4 differs in the weights of its terms",
        "a.md, chunk 5 is only in the second",
        "a.md differs in state",
    ]


def test_a_chunk_that_a_deleted_document_left_behind_is_a_difference(tmp_path: Path) -> None:
    assert compared(tmp_path, [chunk(1), record(9, "Deleted")], [record(9, "Deleted")]) == [
        "a.md, chunk 1 is only in the first"
    ]


def test_a_vector_that_was_made_to_length_one_again_is_no_difference(tmp_path: Path) -> None:
    assert compared(tmp_path, [chunk(1, x=0.5)], [chunk(1, x=0.5 + 1e-7)]) == []


def test_a_few_differences_are_named_and_the_others_counted() -> None:
    assert equality.told(list("abcdefg")) == "a; b; c; d; e; and 2 more"


# ----------------------------------------------------------------------------------------- history


def test_changes_are_applied_to_files_as_they_are_told(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for name in ("gone", "old/moved", "same", "other"):
        pages.write(before / f"{name}.md", name.encode())
    for name, text in (("new/moved", "old/moved"), ("same", "same"), ("other", "changed"), ("added", "added")):
        pages.write(after / f"{name}.md", text.encode())
    changes = [
        Change("D", "gone.md", "x"),
        Change("R", "new/moved.md", "old/moved.md"),
        Change("M", "other.md", "x"),
        Change("A", "added.md", "x"),
    ]
    pages.apply(changes, before, after)
    assert pages.same_files(before, after)


def test_a_page_outside_of_its_root_is_refused() -> None:
    with pytest.raises(DataMissing, match="outside of their root"):
        pages.harmless("../up.md")


def test_missing_pages_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"2\.11\.tar\.xz is not there"):
        pages.unpack(tmp_path, pages.BEFORE, tmp_path / "pages")


def test_a_second_pass_and_the_changes_are_judged_by_their_bounds() -> None:
    first, again = Pass(100, 0, 1000, 1000, 50.0, 40.0), Pass(1, 0, 1000, 2, 2.0, 3.0)
    changed, fresh = Pass(30, 5, 1100, 550, 20.0, 20.0), Pass(110, 0, 1100, 1100, 55.0, 45.0)
    found = History(first, again, changed, fresh, ("a.md differs in state",))
    assert [(goal.goal, goal.value, goal.met) for goal in found.goals()] == [
        ("second-pass-embedded", 3.0, False),
        ("second-pass", 0.04, True),
        ("second-pass-cpu", 0.075, False),
        ("history-equal", 1.0, False),
        ("history-embedded", 0.5, True),
    ]


# ------------------------------------------------------------------------------ rates, memory, poison


def look(indexed: int, *, time: float = 0.0, cpu: float = 0.0, memory: int = 0) -> Look:
    return Look(time, cpu, memory, {"indexed": indexed})


def test_a_rate_is_of_what_was_done_between_two_looks() -> None:
    rate = throughput.between(look(100, time=10.0, cpu=5.0), look(700, time=20.0, cpu=9.0))
    assert (rate.documents, rate.a_second, rate.a_cpu_second) == (600, 60.0, 150.0)


def test_memory_is_compared_between_a_fifth_and_the_end() -> None:
    sizes = {0: 10, 200: 100, 240: 110, 250: 120, 600: 300, 950: 118, 1000: 122}
    found = memory.of([look(done, memory=size) for done, size in sizes.items()], 1000)
    assert (found.early, found.late, found.most, round(found.growth, 4)) == (110, 120, 300, 0.0909)


def test_memory_that_nobody_looked_at_in_time_is_not_measured() -> None:
    with pytest.raises(WorkerStuck, match="nobody looked"):
        memory.of([look(0), look(1000)], 1000)


def test_documents_are_counted_by_how_they_ended() -> None:
    exposition = (
        "# TYPE rag_ingestion_events_total counter\n"
        'rag_ingestion_events_total{source="a",status="indexed"} 3.0\n'
        'rag_ingestion_events_total{source="b",status="indexed"} 4.0\n'
        'rag_ingestion_events_total{source="a",status="failed"} 1.0\n'
    )
    assert running.counts(exposition) == {"indexed": 7, "failed": 1}


def put(uri: str) -> Put:
    document = DocumentRef(namespace="n", knowledge_base="k", tenant="t", access_level="public", source="s", uri=uri)
    return Put(document=document, sha256="0" * 64, size=1, media_type="text/plain")


def letter(uri: str, *, stage: str = "parse", offset: int = 0, detail: str = "it is broken") -> DeadLetter:
    return DeadLetter(
        message=put(uri),
        stage=stage,
        reason="Corrupt",
        detail=detail,
        attempts=1,
        origin_partition=0,
        origin_offset=offset,
    )


def test_letters_that_are_missing_doubled_mistaken_or_of_the_healthy_are_told() -> None:
    said = [f"poison/{name}" for name in ("pdf-1", "pdf-2", "nan-3", "nan-4", "bomb-5")]
    found = [
        letter(said[0], offset=1),
        letter(said[2], offset=3),
        *(letter(said[3], stage="embed", offset=4),) * 2,
        letter(said[4], offset=5, detail=""),
        letter("documents/1.md", offset=9),
    ]
    assert poison.faults(found, {uri: put(uri) for uri in said}) == [
        "documents/1.md is healthy and has a letter",
        "poison/pdf-2 has 0 letters",
        "poison/nan-3: given up in stage parse, not embed (Corrupt)",
        "poison/nan-4 has 2 letters",
        "poison/bomb-5: a letter without a reason",
    ]


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(each) for each in range(1, 101)]
    assert [freshness.percentile(values, each) for each in (50, 95, 99, 100)] == [50.0, 95.0, 99.0, 100.0]


def test_freshness_of_nothing_meets_nothing() -> None:
    assert [goal.met for goal in freshness.Freshness(10.0).goals()] == [False, False]


# -------------------------------------------------------------------------------------------- stub


def test_vectors_of_the_stub_are_of_length_one_and_equal_for_equal_texts() -> None:
    made = digests(["a", "b", "a"])
    assert np.allclose(np.linalg.norm(made, axis=1), 1)
    assert (made[0] == made[2]).all()
    assert not (made[0] == made[1]).all()


async def test_the_stub_fails_at_marked_texts_until_it_is_well(tmp_path: Path) -> None:
    stub = StubEmbedder.open(well_when=tmp_path / "well")
    with pytest.raises(EmbedderFailed):
        await stub.embed(["word", OVERLOADED])
    ill = await stub.embed(["word", NOT_FINITE])
    (tmp_path / "well").touch()
    well = await stub.embed([OVERLOADED, NOT_FINITE])
    await stub.close()
    assert np.isfinite(ill).all(axis=1).tolist() == [True, False]
    assert np.isfinite(well).all()


# ----------------------------------------------------------------------------------------- command


def test_parts_are_measured_in_their_order_whatever_order_they_are_asked_in() -> None:
    assert command.chosen(["B6", "history"]) == ["history", "B6"]
    assert command.chosen([]) == list(command.PARTS)


def test_a_part_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.chosen(["B9"])
    assert "B9: there are throughput" in capsys.readouterr().err


def test_without_data_every_goal_of_a_part_is_unmet_with_the_reason(tmp_path: Path) -> None:
    bench = command.Bench(command.QUICK, {"LECTERN_BENCH_DATA": str(tmp_path / "none")})
    goals = command.attempt("history", bench)
    assert [goal.goal for goal in goals] == [aim.goal for aim in history.AIMS]
    assert {goal.met for goal in goals} == {None}
    assert all("the test data is not at" in goal.reason for goal in goals)
