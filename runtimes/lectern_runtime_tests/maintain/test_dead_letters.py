"""Dead letters: which are open, what replaying and dropping do, and the program around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lectern_contract import settings as contract
from lectern_contract.payload import DocumentState
from lectern_runtime import programs
from lectern_runtime.maintain import __main__ as program
from lectern_runtime.maintain.dead_letters import DeadLetters, Filter
from lectern_runtime_tests.pipeline import Pipeline, pipeline, worker_settings


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipeline]:
    """A knowledge base with one good document and two that are given up."""
    async with pipeline(tmp_path) as found:
        await found.worker().ensure()
        await found.publish(
            await found.put("good.md", "good"),
            await found.put("binary.md", b"\x00\x01\x02\x03 binary"),
            (await found.put("large.md", "x")).model_copy(update={"size": 1 << 21}),
        )
        await found.index()
        yield found


def letters_of(pipe: Pipeline) -> DeadLetters:
    return DeadLetters(worker_settings(), log=pipe.log, store=pipe.store)


async def uris(pipe: Pipeline, wanted: Filter | None = None) -> list[str]:
    look = await letters_of(pipe).look(wanted or Filter())
    return [letter.body.message.document.uri for letter in look.letters]


async def test_what_is_given_up_is_open_until_a_newer_message_was_worked_on(pipe: Pipeline) -> None:
    assert await uris(pipe) == ["binary.md", "large.md"]
    await pipe.publish(await pipe.put("binary.md", "text by now"))
    await pipe.index()
    assert await uris(pipe) == ["large.md"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(reason="TooLarge"), ["large.md"]),
        (Filter(uri="b*.md"), ["binary.md"]),
        (Filter(source="files"), ["binary.md", "large.md"]),
        (Filter(source="others"), []),
        (Filter(since=4_000_000_000), []),
    ],
)
async def test_each_part_of_a_filter_must_fit(pipe: Pipeline, wanted: Filter, expected: list[str]) -> None:
    assert await uris(pipe, wanted) == expected


async def test_a_replay_says_the_message_again_and_a_worker_judges_anew(pipe: Pipeline) -> None:
    letters = letters_of(pipe)
    found = (await letters.look(Filter(reason="TooLarge"))).letters
    assert await letters.replay(found) == 1
    larger = contract.ParsingSettings(
        media_types=("text/markdown",), max_document_bytes=1 << 22, timeout_seconds=10, ocr_languages=()
    )
    await pipe.index(settings=worker_settings(parsing=larger))
    assert "public:large.md" in await pipe.content()
    assert await uris(pipe) == ["binary.md"]


async def test_a_dropped_document_is_gone_and_its_letter_closed(pipe: Pipeline) -> None:
    letters = letters_of(pipe)
    assert await letters.drop((await letters.look(Filter(uri="binary.md"))).letters) == 1
    await pipe.index()
    assert (await pipe.records())["public:binary.md"].state is DocumentState.DELETED
    assert await uris(pipe) == ["large.md"]
    assert (await pipe.content()).keys() == {"public:good.md"}


async def test_a_look_is_bounded_and_says_so(pipe: Pipeline) -> None:
    look = await letters_of(pipe).look(Filter(), most=1)
    assert (len(look.letters), look.more) == (1, True)


async def test_a_record_that_is_no_letter_is_counted(pipe: Pipeline) -> None:
    from lectern_runtime.ports import OutgoingRecord

    await pipe.log.publish("lectern.ns.kb.dead-letters", [OutgoingRecord("k", b"not ours")])
    look = await letters_of(pipe).look(Filter())
    assert (len(look.letters), look.unreadable) == (2, 1)


@pytest.fixture
def laid(tmp_path: Path) -> list[str]:
    """Options of the program for a data directory with two documents that are given up."""

    async def lay() -> None:
        async with pipeline(tmp_path) as found:
            await found.worker().ensure()
            await found.publish(await found.put("a.md", b"\x00\x01 binary"), await found.put("b.md", b"\x00\x02 also"))
            await found.index()

    asyncio.run(lay())
    file = tmp_path / "settings.json"
    file.write_text(contract.canonical(worker_settings()))
    return ["--settings", str(file), "--data-dir", str(tmp_path / "data")]


def test_the_program_lists_shows_replays_and_drops(laid: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["list", *laid]) == 0
    listed = capsys.readouterr().out
    assert sorted(line.split("  ")[1:] for line in listed.splitlines()) == [
        ["files", "BinaryContent", "'a.md'"],
        ["files", "BinaryContent", "'b.md'"],
    ]
    assert program.main(["show", *laid, "--uri", "a.md", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stage"] == "parse"
    assert program.main(["show", *laid, "--uri", "a.md"]) == 0
    assert "partition acme/public, message 0/0" in capsys.readouterr().out
    assert program.main(["replay", *laid]) == 0
    assert capsys.readouterr().out == "2 messages said again\n"
    assert program.main(["drop", *laid, "--uri", "b.md"]) == 0
    assert capsys.readouterr().out == "1 documents said to be gone\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["drop"], "drop needs --source, --reason, --uri or --since"),
        (["list", "--since", "yesterday"], "no moment"),
        (["list", "--since", "2026-11-21T08:00:00"], "no time zone"),
        (["list", "--settings", "absent.json"], "name the settings file"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(arguments) == programs.EXIT_CONFIGURATION
    assert words in capsys.readouterr().err
