"""Pointers to answered questions in a real Redis 8: found when near and alike, kept apart, bounded, no answers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from e2e.adapter_tests.redis_world import refused, settings
from e2e.testbed.redis import Redis, redis_server
from lectern_runtime.adapters.redis_semantic import PREFIX, PURPOSE, RedisQuestions

pytestmark = pytest.mark.integration
DIMENSIONS = 384


def at(degrees: float) -> NDArray[np.float32]:
    """A vector so many degrees from the first."""
    row = np.zeros(DIMENSIONS, np.float32)
    row[0], row[1] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return row


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with redis_server() as found:
        yield found


@pytest.fixture
async def questions(server: Redis, tmp_path: Path) -> AsyncIterator[RedisQuestions]:
    space = f"team/{uuid.uuid4().hex}"
    found = RedisQuestions.open(settings(server, tmp_path), space=space, threshold=0.95, max_entries=20)
    yield found
    await found.close()


async def test_the_nearest_alike_questions_come_first_with_their_cosine(questions: RedisQuestions) -> None:
    for degrees in (10, 5, 30):
        await questions.add("p", f"k{degrees}", at(degrees), "Who wrote it?", ttl_seconds=60)
    found = await questions.near("p", at(0), "who wrote it")
    assert [pointer.key for pointer in found] == ["k5", "k10"]
    assert [pointer.cosine for pointer in found] == pytest.approx(
        [np.cos(np.radians(5)), np.cos(np.radians(10))], abs=0.01
    )


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("What happened in 2019?", "What happened in 2020?"),
        ("Does it run with Kafka?", "Does it not run with Kafka?"),
        ("When did the Panthers win?", "When did the Broncos win?"),
        ("How many days is it kept?", "How long is it kept?"),
        ("Is 5 km far?", "Is 5 miles far?"),
        ("What happens before a restart?", "What happens after a restart?"),
    ],
)
async def test_the_same_vector_does_not_help_where_the_words_forbid_it(
    questions: RedisQuestions, kept: str, asked: str
) -> None:
    await questions.add("p", "k", at(0), kept, ttl_seconds=60)
    assert await questions.near("p", at(0), asked) == []
    assert [pointer.key for pointer in await questions.near("p", at(0), kept.lower())] in (["k"], [])
    assert [pointer.key for pointer in await questions.near("p", at(0), kept)] == ["k"]


async def test_prefixes_and_spaces_do_not_meet(questions: RedisQuestions, server: Redis, tmp_path: Path) -> None:
    await questions.add("p", "k", at(0), "Who?", ttl_seconds=60)
    other = RedisQuestions.open(settings(server, tmp_path), space="team/other", threshold=0.95)
    assert await questions.near("p2", at(0), "Who?") == []
    assert await other.near("p", at(0), "Who?") == []
    await other.close()


async def test_a_prefix_is_bounded_and_ends_by_itself(questions: RedisQuestions, server: Redis) -> None:
    for number in range(60):
        count = await questions.add("p", f"k{number}", at(number), "Who?", ttl_seconds=60)
        assert count <= 20
    assert "k59" in {pointer.key for pointer in await questions.near("p", at(59), "Who?")}
    with server.owner() as owner:
        assert all(0 < owner.pttl(key) <= 60_000 for key in owner.keys(f"{PREFIX}*"))


async def test_a_pointer_that_was_dropped_is_gone(questions: RedisQuestions) -> None:
    await questions.add("p", "k", at(0), "Who?", ttl_seconds=60)
    (pointer,) = await questions.near("p", at(0), "Who?")
    await questions.drop("p", pointer)
    assert await questions.near("p", at(0), "Who?") == []


async def test_no_text_of_a_question_lies_in_the_server(questions: RedisQuestions, server: Redis) -> None:
    await questions.add("p", "f" * 64, at(0), "Who is Zanzibar?", ttl_seconds=60)
    (pointer,) = await questions.near("p", at(0), "Who is Zanzibar?")
    with server.owner() as owner:
        dumps = b"".join(owner.dump(key) or b"" for key in owner.keys(f"{PREFIX}*"))
    assert "anzibar" not in pointer.element
    assert b"anzibar" not in dumps


async def test_a_redis_without_vector_sets_is_told_apart(tmp_path: Path, questions: RedisQuestions) -> None:
    assert await questions.supported()
    with redis_server("7") as old:
        tier = RedisQuestions.open(settings(old, tmp_path), space="s", threshold=0.9)
        assert not await tier.supported()
        assert "refuses the command" in await refused(lambda: tier.near("p", at(0), "Who?"))
        await tier.close()


async def test_the_rights_that_are_told_are_enough(tmp_path: Path) -> None:
    rights = PURPOSE.rights.replace("on keys ", "")
    with redis_server(lines=[f"user lectern on >pw {rights}"]) as server:
        asked = settings(server, tmp_path, login=("lectern", "pw"))
        tier = RedisQuestions.open(asked, space="s", threshold=0.9, max_entries=2)
        assert await tier.supported()
        await asyncio.gather(*(tier.add("p", f"k{each}", at(each), "Who?", ttl_seconds=60) for each in range(5)))
        for pointer in await tier.near("p", at(0), "Who?"):
            await tier.drop("p", pointer)
        await tier.close()
