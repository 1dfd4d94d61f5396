"""What a Text Embeddings Inference server (1.9, default options, model all-MiniLM-L6-v2) answers over HTTP.

A test module derives from the suite and gives it `tei`, a client whose base address is the server's. Lectern's own
server passes it, and by the same words a real TEI can be held against it.
"""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

PAYLOAD_LIMIT = 2_000_000
CHARACTERS_PER_TOKEN = 250
TOO_MUCH = {413, 422}
"""What is said to an input or a list beyond the limits: 413 by the server's description and up to 1.8, 422 since."""
CLOSE = 1e-4
TEXTS = [
    "how old is the universe",
    "A recipe for onion soup with toasted bread.",
    "Straße, naïve café, Ærøskøbing",
    "東京は日本の首都です。 🙂",
    "def add(a: int, b: int) -> int:\n    return a + b",
]
FAMILIES = {
    **dict.fromkeys(["te_request_count", "te_request_success", "te_embed_count", "te_embed_success"], "counter"),
    **dict.fromkeys([f"te_{of}_duration" for of in ("request", "embed")], "histogram"),
    **{
        f"te_{of}_{stage}_duration": "histogram"
        for of in ("request", "embed")
        for stage in ("tokenization", "queue", "inference")
    },
    "te_queue_size": "gauge",
    "te_batch_next_size": "histogram",
    "te_batch_next_tokens": "histogram",
    "te_request_input_length": "histogram",
}
Array = NDArray[np.float64]


def post(tei: httpx.Client, path: str, **body: Any) -> httpx.Response:
    return tei.post(path, json=body)


def vectors(answer: httpx.Response) -> Array:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return np.array(answer.json())


def refused(answer: httpx.Response, statuses: set[int], kind: str, words: str) -> None:
    body = answer.json()
    assert (answer.status_code in statuses, set(body), body["error_type"]) == (True, {"error", "error_type"}, kind), (
        answer.status_code,
        body,
    )
    assert words in body["error"]


def words(count: int) -> str:
    """A text of `count` tokens, special ones not counted."""
    return " ".join(["word"] * count)


def counters(page: str) -> dict[str, float]:
    """Value by series."""
    series = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in series}


class TeiContract:
    @pytest.fixture
    def info(self, tei: httpx.Client) -> dict[str, Any]:
        answer = tei.get("/info")
        assert answer.status_code == 200
        told: dict[str, Any] = answer.json()
        return told

    @pytest.fixture
    def longest(self, info: dict[str, Any]) -> int:
        return int(info["max_input_length"])

    # ------------------------------------------------------------------------------------------------ the server

    def test_it_tells_its_model_and_its_limits(self, info: dict[str, Any]) -> None:
        limits = ["max_concurrent_requests", "max_input_length", "max_batch_tokens", "max_client_batch_size"]
        assert all(type(info[name]) is int and info[name] > 0 for name in [*limits, "tokenization_workers"])
        assert type(info["auto_truncate"]) is bool
        assert info["model_id"].endswith("all-MiniLM-L6-v2")
        assert isinstance(info["model_sha"], str | None)
        assert info["model_type"] == {"embedding": {"pooling": "mean"}}
        assert {"model_dtype", "max_batch_requests", "version", "sha", "docker_label"} <= set(info)

    @pytest.mark.parametrize("path", ["/health", "/ping", "/"])
    def test_it_is_well_and_says_nothing_more(self, tei: httpx.Client, path: str) -> None:
        answer = tei.get(path)
        assert (answer.status_code, answer.content) == (200, b"")

    def test_it_shows_its_metrics_under_their_names(self, tei: httpx.Client) -> None:
        post(tei, "/embed", inputs=["one", "two"])
        answer = tei.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        typed = dict(line.split()[2:4] for line in answer.text.splitlines() if line.startswith("# TYPE"))
        assert {name: typed.get(name) for name in FAMILIES} == FAMILIES
        before = counters(answer.text)
        post(tei, "/embed", inputs=["one", "two", "three"])
        after = counters(tei.get("/metrics").text)
        grown = {'te_request_count{method="batch"}': 1, "te_embed_count": 3, "te_request_input_length_count": 3}
        assert {name: after[name] - before[name] for name in grown} == grown

    def test_it_refuses_what_another_model_does(self, tei: httpx.Client) -> None:
        refused(post(tei, "/rerank", query="a", texts=["b"]), {424}, "Backend", "model is not a re-ranker model")
        refused(post(tei, "/predict", inputs="a"), {424}, "Backend", "Model is not a classifier model")
        refused(post(tei, "/embed_sparse", inputs="a"), {424}, "Backend", "with SPLADE pooling")

    def test_it_has_no_other_paths_and_methods(self, tei: httpx.Client) -> None:
        assert [tei.get("/nowhere").status_code, tei.get("/embed").status_code] == [404, 405]

    # ------------------------------------------------------------------------------------------------ /embed

    def test_one_input_and_a_list_of_one_give_the_same(self, tei: httpx.Client) -> None:
        alone, listed = vectors(post(tei, "/embed", inputs=TEXTS[0])), vectors(post(tei, "/embed", inputs=TEXTS[:1]))
        assert alone.shape == listed.shape
        assert alone == pytest.approx(listed, abs=CLOSE)

    def test_vectors_have_length_1_and_do_not_depend_on_their_company(self, tei: httpx.Client) -> None:
        together = vectors(post(tei, "/embed", inputs=TEXTS))
        alone = np.concatenate([vectors(post(tei, "/embed", inputs=text)) for text in TEXTS])
        assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=CLOSE)
        assert together == pytest.approx(alone, abs=CLOSE)

    def test_ids_are_taken_as_they_are(self, tei: httpx.Client) -> None:
        tokens = post(tei, "/tokenize", inputs=TEXTS[0]).json()[0]
        ids = [token["id"] for token in tokens]
        expected = vectors(post(tei, "/embed", inputs=TEXTS[0]))
        assert vectors(post(tei, "/embed", inputs=ids)) == pytest.approx(expected, abs=CLOSE)
        assert vectors(post(tei, "/embed", inputs=[ids, TEXTS[0]])) == pytest.approx(
            np.concatenate([expected] * 2), abs=CLOSE
        )

    def test_an_answer_tells_what_it_took(self, tei: httpx.Client) -> None:
        headers = post(tei, "/embed", inputs=["one two", "three"]).headers
        assert (headers["x-compute-characters"], headers["x-compute-tokens"]) == ("12", "7")
        times = ["compute", "total", "tokenization", "queue", "inference"]
        assert all(headers[f"x-{name}-time"].isdecimal() for name in times)

    def test_the_longest_input_is_taken(self, tei: httpx.Client, longest: int) -> None:
        answer = post(tei, "/embed", inputs=words(longest - 2), truncate=False)
        assert (answer.status_code, answer.headers["x-compute-tokens"]) == (200, str(longest))

    def test_a_longer_one_is_refused_where_it_may_not_be_cut(self, tei: httpx.Client, longest: int) -> None:
        said = f"Input validation error: `inputs` must have less than {longest} tokens. Given: {longest + 1}"
        for inputs in (words(longest - 1), ["short", words(longest - 1)]):
            refused(post(tei, "/embed", inputs=inputs, truncate=False), TOO_MUCH, "Validation", said)

    def test_what_happens_without_a_word_on_cutting_is_told(self, tei: httpx.Client, info: dict[str, Any]) -> None:
        answer = post(tei, "/embed", inputs=words(info["max_input_length"]))
        assert (answer.status_code == 200) is info["auto_truncate"]

    @pytest.mark.parametrize("direction", ["Right", "Left"])
    def test_a_longer_one_is_cut_where_it_says(self, tei: httpx.Client, longest: int, direction: str) -> None:
        front, back = f"soup {words(longest - 3)}", f"{words(longest - 3)} moon"
        kept, text = (front, f"{front} moon moon") if direction == "Right" else (back, f"soup soup {back}")
        cut = vectors(post(tei, "/embed", inputs=text, truncate=True, truncation_direction=direction))
        assert cut == pytest.approx(vectors(post(tei, "/embed", inputs=kept)), abs=CLOSE)

    def test_a_list_may_have_so_many_inputs_and_no_more(self, tei: httpx.Client, info: dict[str, Any]) -> None:
        most = info["max_client_batch_size"]
        assert vectors(post(tei, "/embed", inputs=["a"] * most)).shape[0] == most
        said = f"batch size {most + 1} > maximum allowed batch size {most}"
        refused(post(tei, "/embed", inputs=["a"] * (most + 1)), TOO_MUCH, "Validation", said)
        refused(post(tei, "/tokenize", inputs=["a"] * (most + 1)), TOO_MUCH, "Validation", said)
        refused(post(tei, "/decode", ids=[[1]] * (most + 1)), TOO_MUCH, "Validation", said)

    def test_nothing_is_not_an_input(self, tei: httpx.Client) -> None:
        for inputs in ("", [], ["a", ""]):
            refused(post(tei, "/embed", inputs=inputs), {400}, "Empty", "`inputs` cannot be empty")
            refused(post(tei, "/tokenize", inputs=inputs), {400}, "Empty", "`inputs` cannot be empty")

    def test_a_prompt_that_the_model_does_not_have_is_refused(self, tei: httpx.Client) -> None:
        answer = post(tei, "/embed", inputs="a", prompt_name="poem")
        refused(answer, TOO_MUCH, "Validation", "`default-prompt-name` is set to `poem`")

    @pytest.mark.parametrize(
        ("content", "headers", "status"),
        [
            (b'{"inputs": "a"}', {}, 415),
            (b"inputs", {"content-type": "application/json"}, 400),
            (b'{"inputs": "\\ud83d"}', {"content-type": "application/json"}, 400),
            (b'{"inputs": 3}', {"content-type": "application/json"}, 422),
            (b'{"inputs": [[1], 2]}', {"content-type": "application/json"}, 422),
            (b'{"inputs": [-1]}', {"content-type": "application/json"}, 422),
            (b'{"inputs": "a", "truncate": "yes"}', {"content-type": "application/json"}, 422),
            (b'{"inputs": "a", "normalize": null}', {"content-type": "application/json"}, 422),
            (b'{"texts": "a"}', {"content-type": "application/json"}, 422),
            (b"[]", {"content-type": "application/json"}, 422),
        ],
    )
    def test_a_body_that_is_not_a_request_is_refused_in_plain_words(
        self, tei: httpx.Client, content: bytes, headers: dict[str, str], status: int
    ) -> None:
        answer = tei.post("/embed", content=content, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8")
        assert tei.get("/health").status_code == 200

    def test_a_body_beyond_the_limit_is_refused(self, tei: httpx.Client) -> None:
        assert post(tei, "/embed", inputs=["a"], filler="x" * PAYLOAD_LIMIT).status_code == 413
        assert post(tei, "/embed", inputs=["a"], filler="x" * (PAYLOAD_LIMIT - 100)).status_code == 200

    def test_many_at_once_are_answered_or_told_to_come_again(self, tei: httpx.Client, info: dict[str, Any]) -> None:
        count = min(64, info["max_concurrent_requests"] * 2)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda number: post(tei, "/embed", inputs=f"text {number}"), range(count)))
        for answer in answers:
            if answer.status_code == 429:
                refused(answer, {429}, "Overloaded", "Model is overloaded")
            else:
                assert vectors(answer).shape[0] == 1

    # ------------------------------------------------------------------------------------------------ tokens

    def test_tokens_have_their_places_in_bytes(self, tei: httpx.Client) -> None:
        tokens = [token for token in post(tei, "/tokenize", inputs="北京 Grüße").json()[0] if not token["special"]]
        assert [(token["start"], token["stop"]) for token in tokens] == [(0, 3), (3, 6), (7, 9), (9, 11), (11, 14)]
        assert all(set(token) == {"id", "text", "special", "start", "stop"} for token in tokens)

    def test_special_tokens_have_no_place_and_can_be_left_out(self, tei: httpx.Client) -> None:
        whole, bare = (
            post(tei, "/tokenize", inputs="hello", add_special_tokens=add).json()[0] for add in (True, False)
        )
        assert [(token["text"], token["special"], token["start"]) for token in whole] == [
            ("[CLS]", True, None),
            ("hello", False, 0),
            ("[SEP]", True, None),
        ]
        assert bare == whole[1:-1]

    def test_a_text_longer_than_an_input_is_tokenised_whole(self, tei: httpx.Client, longest: int) -> None:
        assert [len(tokens) for tokens in post(tei, "/tokenize", inputs=[words(longest * 2)]).json()] == [
            longest * 2 + 2
        ]

    def test_a_text_has_a_most_of_characters(self, tei: httpx.Client, longest: int) -> None:
        most = longest * CHARACTERS_PER_TOKEN
        assert post(tei, "/tokenize", inputs="a" * most).status_code == 200
        said = f"`inputs` must have less than {most} characters. Given: {most + 1}"
        refused(post(tei, "/tokenize", inputs="a" * (most + 1)), TOO_MUCH, "Validation", said)
        refused(post(tei, "/embed", inputs="a" * (most + 1), truncate=False), TOO_MUCH, "Validation", said)
        assert vectors(post(tei, "/embed", inputs="a " * most, truncate=True)).shape[0] == 1

    def test_ids_are_decoded(self, tei: httpx.Client) -> None:
        ids = [token["id"] for token in post(tei, "/tokenize", inputs="hello world").json()[0]]
        assert post(tei, "/decode", ids=ids).json() == ["hello world"]
        assert post(tei, "/decode", ids=[ids, ids[1:2]], skip_special_tokens=False).json() == [
            "[CLS] hello world [SEP]",
            "hello",
        ]

    # ------------------------------------------------------------------------------------------------ other routes

    @pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
    def test_it_speaks_as_openai_does(self, tei: httpx.Client, info: dict[str, Any], path: str) -> None:
        expected = vectors(post(tei, "/embed", inputs=TEXTS[:2]))
        answer = post(tei, path, input=TEXTS[:2], model="any", user="any").json()
        packed = post(tei, path, input=TEXTS[:2], encoding_format="base64").json()
        assert (answer["object"], answer["model"]) == ("list", info.get("served_model_name", info["model_id"]))
        assert [(each["object"], each["index"]) for each in answer["data"]] == [("embedding", 0), ("embedding", 1)]
        assert np.array([each["embedding"] for each in answer["data"]]) == pytest.approx(expected, abs=CLOSE)
        raw = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4") for each in packed["data"]]
        assert np.stack(raw) == pytest.approx(expected, abs=CLOSE)
        count = sum(map(len, post(tei, "/tokenize", inputs=TEXTS[:2]).json()))
        assert answer["usage"] == {"prompt_tokens": count, "total_tokens": count}

    def test_it_refuses_as_openai_does(self, tei: httpx.Client, info: dict[str, Any]) -> None:
        most = info["max_client_batch_size"]
        answer = post(tei, "/v1/embeddings", input=["a"] * (most + 1))
        assert answer.status_code in TOO_MUCH
        assert answer.json() == {
            "message": f"batch size {most + 1} > maximum allowed batch size {most}",
            "code": answer.status_code,
            "type": "Validation",
        }

    def test_similarities_are_cosines(self, tei: httpx.Client) -> None:
        rows = vectors(post(tei, "/embed", inputs=TEXTS[:3]))
        asked = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:3]}
        assert vectors(post(tei, "/similarity", inputs=asked)) == pytest.approx(rows[1:] @ rows[0], abs=CLOSE)
        asked["sentences"] = []
        refused(post(tei, "/similarity", inputs=asked), {400}, "Empty", "`inputs.sentences` cannot be empty")
