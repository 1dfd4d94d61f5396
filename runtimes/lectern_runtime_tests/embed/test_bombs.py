"""Documents made to exhaust a parser: each ends within its limits, and the process pool goes on."""

from __future__ import annotations

import time

import pytest

from lectern_contract.errors import DocumentError
from lectern_runtime.embed.sandbox import Limits, ParserSandbox
from lectern_runtime_tests.embed.bombs import BOMBS, Bomb

LIMITS = Limits(seconds=4, document_bytes=8 << 20)
SLACK_SECONDS = 10.0
"""Starting a process anew, and the load of other tests."""


async def end_of(parser: ParserSandbox, bomb: Bomb) -> str:
    """The reason of the fault, or "text"."""
    data = bomb.make()
    started = time.monotonic()
    try:
        await parser.parse(data, bomb.media_type)
        end = "text"
    except DocumentError as error:
        end = error.reason
    took = time.monotonic() - started
    return end if took < LIMITS.seconds + SLACK_SECONDS else f"{end} after {took:.1f} seconds"


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(BOMBS))
async def test_each_bomb_ends_within_its_limits_and_the_next_document_is_parsed(family: str) -> None:
    ends, after = {}, {}
    async with ParserSandbox(LIMITS, processes=1) as parser:
        for name, bomb in BOMBS[family].items():
            ends[name] = await end_of(parser, bomb)
            after[name] = (await parser.parse(b"# Next", "text/markdown")).title
    assert {name: end for name, end in ends.items() if end not in BOMBS[family][name].ends} == {}
    assert after == dict.fromkeys(BOMBS[family], "Next")


def test_there_are_enough_of_them() -> None:
    assert sum(map(len, BOMBS.values())) >= 30
