"""Tests of the Qdrant double as a process: what outlives a restart and a crash, freezing, its refusals and bounds.

What it answers like a real server is told by `e2e/qdrant_contract`; here is what only the double has to keep.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.testbed.errors import StartFailed
from e2e.testbed.qdrant_double import QdrantDouble, app, qdrant_double
from e2e.testbed.qdrant_double.shards import MOST_OPEN
from e2e.testbed_tests.eventually import eventually

KEY = "a-key-that-nobody-may-see"
FREEZE_SECONDS = 0.5


@pytest.fixture
def http(qdrant: QdrantDouble) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=qdrant.url, timeout=20) as client:
        yield client


def made(http: httpx.Client, name: str = "c", *keys: str) -> None:
    """Make a collection with a dense vector, an index and these shard keys."""
    body = {
        "vectors": {"dense": {"size": 2, "distance": "Dot"}},
        "sparse_vectors": {"sparse": {"modifier": "idf"}},
        "sharding_method": "custom",
        "metadata": {"generation": 1},
    }
    result(http.put(f"/collections/{name}", json=body))
    for key in keys:
        result(http.put(f"/collections/{name}/shards", json={"shard_key": key}))
    index = {"field_name": "tenant", "field_schema": {"type": "keyword", "is_tenant": True}}
    result(http.put(f"/collections/{name}/index", params={"wait": "true"}, json=index))


def written(http: httpx.Client, *ids: int, key: str = "k", name: str = "c") -> None:
    """Write points and wait until they are acknowledged."""
    points = [
        {
            "id": id_,
            "vector": {"dense": [float(id_), 0.0], "sparse": {"indices": [id_], "values": [1.0]}},
            "payload": {"tenant": "t"},
        }
        for id_ in ids
    ]
    body = {"points": points, "shard_key": key}
    result(http.put(f"/collections/{name}/points", params={"wait": "true"}, json=body))


def ids_of(http: httpx.Client, key: str | None = None, name: str = "c") -> list[int]:
    body = {"limit": 1000} | ({} if key is None else {"shard_key": key})
    return [each["id"] for each in result(http.post(f"/collections/{name}/points/scroll", json=body))["points"]]


def result(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def until_active(http: httpx.Client) -> None:
    """Wait until no shard of the collection is Partial."""

    def states() -> set[str]:
        return {shard["state"] for shard in result(http.get("/collections/c/cluster"))["local_shards"]}

    eventually(states, lambda found: found == {"Active"}, seconds=20)


def state(http: httpx.Client) -> dict[str, Any]:
    """Everything that must outlive a restart."""
    return {
        "collection": result(http.get("/collections/c")),
        "aliases": result(http.get("/aliases")),
        "keys": result(http.get("/collections/c/shards")),
        "cluster": result(http.get("/collections/c/cluster")),
        "points": result(http.post("/collections/c/points/scroll", json={"with_payload": True, "with_vector": True}))[
            "points"
        ],
    }


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_state_outlives_the_end_of_the_process(qdrant: QdrantDouble, http: httpx.Client, end: str) -> None:
    made(http, "c", "k", "l")
    written(http, 1, 2)
    written(http, 3, key="l")
    alias = {"create_alias": {"collection_name": "c", "alias_name": "a"}}
    result(http.post("/collections/aliases", json={"actions": [alias]}))
    result(http.put("/collections/c/shards", json={"shard_key": "p", "initial_state": "Partial"}))
    before = state(http)
    if end == "kill":
        qdrant.kill()
        qdrant.start()
    else:
        qdrant.restart()
    assert state(http) == before


def test_kill_in_the_middle_of_writes_loses_no_acknowledged_point(qdrant: QdrantDouble, http: httpx.Client) -> None:
    made(http, "c", "k")
    acknowledged: list[int] = []

    def write() -> None:
        with httpx.Client(base_url=qdrant.url, timeout=20) as own:
            for id_ in range(100_000):
                try:
                    written(own, id_)
                except httpx.TransportError:
                    return
                acknowledged.append(id_)

    writer = threading.Thread(target=write)
    writer.start()
    eventually(lambda: len(acknowledged), lambda count: count > 30, seconds=20)
    qdrant.kill()
    writer.join(timeout=20)
    qdrant.start()
    stored = ids_of(http)
    # The write that was under way may have been done; nothing else may differ.
    assert (stored[: len(acknowledged)], len(stored) - len(acknowledged) in {0, 1}) == (acknowledged, True)


def test_transfer_goes_on_after_a_kill(qdrant: QdrantDouble, http: httpx.Client) -> None:
    made(http, "c", "k")
    written(http, 1, 2)
    result(http.put("/collections/c/shards", json={"shard_key": "t", "initial_state": "Partial"}))
    change = {"replicate_points": {"from_shard_key": "k", "to_shard_key": "t"}}
    result(http.post("/collections/c/cluster", json=change))
    begun = result(http.get("/collections/c/cluster"))
    qdrant.kill()
    qdrant.start()

    until_active(http)
    assert (len(begun["shard_transfers"]), [shard["state"] for shard in begun["local_shards"]]) == (
        1,
        ["Active", "Partial"],
    )
    assert (ids_of(http, "t"), result(http.get("/collections/c/cluster"))["shard_transfers"]) == ([1, 2], [])


def test_deleted_key_ends_its_transfer_and_no_other(http: httpx.Client) -> None:
    made(http, "c", "k")
    written(http, 1)
    for key in ("t", "u"):
        result(http.put("/collections/c/shards", json={"shard_key": key, "initial_state": "Partial"}))
        change = {"replicate_points": {"from_shard_key": "k", "to_shard_key": key}}
        result(http.post("/collections/c/cluster", json=change))
    result(http.post("/collections/c/shards/delete", json={"shard_key": "t"}))
    until_active(http)
    assert (result(http.get("/collections/c/cluster"))["shard_transfers"], ids_of(http, "u")) == ([], [1])


def test_paused_double_accepts_and_does_not_answer(qdrant: QdrantDouble, http: httpx.Client) -> None:
    made(http, "c", "k")
    qdrant.pause()
    with pytest.raises(httpx.ReadTimeout):
        http.get("/collections", timeout=FREEZE_SECONDS)
    qdrant.resume()
    assert result(http.get("/collections")) == {"collections": [{"name": "c"}]}


def test_killed_double_refuses_connections_and_keeps_its_port(qdrant: QdrantDouble, http: httpx.Client) -> None:
    url = qdrant.url
    qdrant.kill()
    with pytest.raises(httpx.ConnectError):
        http.get("/collections")
    qdrant.start()
    assert (qdrant.url, http.get("/readyz").status_code) == (url, 200)


def test_paused_double_can_be_stopped(tmp_path: Path) -> None:
    began = time.monotonic()
    with qdrant_double(tmp_path) as double:
        double.pause()
    assert time.monotonic() - began < 20


def test_second_start_is_refused(qdrant: QdrantDouble) -> None:
    with pytest.raises(StartFailed, match="runs already"):
        qdrant.start()


def test_damaged_catalogue_fails_the_start_with_the_log(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "catalogue.json").write_text("{")
    with pytest.raises(StartFailed, match="JSONDecodeError"), qdrant_double(tmp_path):
        pass


def test_key_is_in_no_log_and_no_repr(tmp_path: Path) -> None:
    with qdrant_double(tmp_path, KEY) as double:
        headers = {"api-key": KEY}
        assert httpx.get(f"{double.url}/collections", headers=headers).status_code == 200
        assert httpx.put(f"{double.url}/collections/c", headers=headers, content=b"{").status_code == 400
        command = Path(f"/proc/{_pid(double)}/cmdline").read_text()
    assert (KEY in double.log.read_text(), KEY in repr(double), KEY in command) == (False, False, False)
    assert (tmp_path / "api-key").stat().st_mode & 0o077 == 0


def _pid(double: QdrantDouble) -> str:
    port = double.url.rsplit(":", 1)[1]
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"e2e.testbed.qdrant_double" in words and port.encode() in words:
            return path.name
    raise AssertionError("no process of the double")


def test_double_dies_with_the_test_run(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from e2e.testbed.qdrant_double import qdrant_double\n"
        "with qdrant_double(Path(sys.argv[1])) as double: print(double.url, flush=True); time.sleep(60)"
    )
    repository = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=repository
    ) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        alive = httpx.get(f"{url}/healthz").status_code
        os.kill(parent.pid, signal.SIGKILL)

    def gone() -> bool:
        try:
            httpx.get(f"{url}/healthz", timeout=1)
        except httpx.TransportError:
            return True
        return False

    eventually(gone, bool, seconds=10)
    assert alive == 200


# ---------------------------------------------------------------------------------------- refusals and bounds


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/collections/c/points/query/groups", {}),
        ("POST", "/collections/c/snapshots", {}),
        ("POST", "/collections/c/cluster", {"move_shard": {"shard_id": 1, "to_peer_id": 1, "from_peer_id": 2}}),
        ("POST", "/collections/c/points/query", {"query": {"recommend": {"positive": [1]}}, "using": "dense"}),
        (
            "POST",
            "/collections/c/points/scroll",
            {"filter": {"must": [{"key": "yes", "match": {"value": True}}]}},
        ),
    ],
)
def test_what_it_does_not_speak_it_says(http: httpx.Client, method: str, path: str, body: dict[str, Any]) -> None:
    made(http, "c", "k")
    written(http, 1)
    answer = http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["status"]["error"].startswith("The Qdrant double does not speak")) == (
        501,
        True,
    )


def test_unknown_field_of_a_request_is_refused_by_name_and_not_by_value(http: httpx.Client) -> None:
    made(http, "c", "k")
    answer = http.patch("/collections/c", json={"vectors": {"dense": {"size": "secret-value"}}})
    error = answer.json()["status"]["error"]
    assert (answer.status_code, "vectors.dense.size" in error, "secret-value" in error) == (400, True, False)


def test_body_beyond_the_limit_is_refused(http: httpx.Client) -> None:
    answer = http.put("/collections/c", content=b" " * (app.LARGEST_BODY + 1))
    assert answer.status_code == 413


def test_many_shard_keys_cost_no_files_until_they_have_points(qdrant: QdrantDouble, http: httpx.Client) -> None:
    made(http, "c", *(f"k{number}" for number in range(200)))
    written(http, 1, key="k7")
    shards = [path for path in (qdrant.log.parents[1] / "data" / "points").glob("*/*") if path.is_dir()]
    assert (len(result(http.get("/collections/c/shards"))["shard_keys"]), len(shards)) == (200, 1)


def test_more_shards_with_points_than_are_kept_open_are_all_read(http: httpx.Client) -> None:
    keys = [f"k{number}" for number in range(MOST_OPEN + 4)]
    made(http, "c", *keys)
    for number, key in enumerate(keys):
        written(http, number, key=key)
    assert (ids_of(http), ids_of(http, "k0")) == (list(range(len(keys))), [0])


def test_removed_collections_leave_no_files(qdrant: QdrantDouble, http: httpx.Client) -> None:
    made(http, "c", "k")
    written(http, 1)
    result(http.delete("/collections/c"))
    assert list((qdrant.log.parents[1] / "data" / "points").iterdir()) == []


def test_files_of_a_removal_that_was_cut_short_go_with_the_next_start(qdrant: QdrantDouble) -> None:
    points = qdrant.log.parents[1] / "data" / "points"
    qdrant.stop()
    (points / "stranger" / "1").mkdir(parents=True)
    qdrant.start()
    assert list(points.iterdir()) == []


async def test_concurrent_calls_are_answered_one_after_the_other(qdrant: QdrantDouble) -> None:
    async with httpx.AsyncClient(base_url=qdrant.url, timeout=20) as http:
        body = {"vectors": {"dense": {"size": 2, "distance": "Dot"}}, "sharding_method": "custom"}
        answers = await asyncio.gather(*(http.put("/collections/same", json=body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + 19 * [409]


def test_log_is_empty_after_ordinary_work(qdrant: QdrantDouble, http: httpx.Client) -> None:
    made(http, "c", "k")
    written(http, 1)
    assert http.get("/collections/nothing").status_code == 404
    assert re.sub(r"\s", "", qdrant.log.read_text()) == ""
