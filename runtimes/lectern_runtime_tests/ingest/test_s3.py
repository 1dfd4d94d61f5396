"""The S3 connector where a real server cannot be made to misbehave: archives, odd refusals, conditions not known."""

from __future__ import annotations

import time

import pytest

from lectern_contract.errors import DocumentError
from lectern_contract.source_settings import S3Source
from lectern_runtime.adapters.s3_client import Timing
from lectern_runtime.ingest.connector import Fetched, Item, Listed, Means, SourceUnavailable, Unlisted
from lectern_runtime.ingest.connectors.s3 import S3Connector
from lectern_runtime_tests.adapters.s3_double import ENDLESS, Answer, S3Double, listed, refused, s3_double
from lectern_runtime_tests.ingest.test_persistent_volume import NOTHING

FOUND = Listed(uri="docs/a.md", path="a.md", etag="1/2026-11-21T00:00:00.000Z/e1", size=1)


async def at_once(_seconds: float = 0.0) -> None:
    """No time passes."""


def connector(double: S3Double) -> S3Connector:
    source = S3Source(
        endpoint=double.url,
        bucket="b",
        prefix="docs/",
        region="us-east-1",
        access_key_id_file=None,
        secret_access_key_file=None,
        ca_file=None,
    )
    return S3Connector(source, Means(time.time, at_once), max_bytes=8, timing=Timing(sleep=at_once))


async def fetched(answer: Answer) -> Fetched:
    async with s3_double(answer) as double:
        opened = connector(double)
        try:
            return await opened.fetch(FOUND)
        finally:
            await opened.close()


async def listing(*answers: Answer) -> list[Item]:
    async with s3_double(*answers) as double:
        opened = connector(double)
        try:
            return [item async for item in (await opened.list(NOTHING)).items]
        finally:
            await opened.close()


async def test_what_is_listed_names_its_version_and_what_is_no_text_is_told() -> None:
    assert await listing(listed("docs/a.md", token="t"), listed("docs/b/", "docs/c%FF")) == [
        FOUND,
        Unlisted("docs/c%FF", "NameNotUnicode", "rename it to UTF-8"),
    ]


async def test_the_listed_version_is_asked_for_and_the_type_that_says_something_kept() -> None:
    for told, media_type in (
        ("text/Markdown; charset=utf-8", "text/markdown"),
        ("binary/octet-stream", ""),
        ("application/octet-stream", ""),
    ):
        async with s3_double(Answer(body=b"x", headers={"etag": '"e1"', "content-type": told})) as double:
            opened = connector(double)
            assert await opened.fetch(FOUND) == Fetched(b"x", media_type=media_type)
            await opened.close()
        assert [(asked.target, asked.headers["if-match"]) for asked in double.asked] == [("/b/docs/a.md", '"e1"')]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(412), "ChangedWhileRead"),
        (Answer(body=b"x", headers={"etag": '"e2"'}), "ChangedWhileRead"),
        (Answer(body=b"x"), "ChangedWhileRead"),
        (refused(404, "NoSuchKey"), "Vanished"),
        (refused(403, "AccessDenied"), "AccessDenied"),
        (refused(403, "InvalidObjectState"), "Archived"),
        (refused(400, "KMS.DisabledException"), "Unreadable"),
        (refused(500, "InternalError"), "Unreadable"),
        (Answer(manner=ENDLESS, headers={"etag": '"e1"'}), "TooLarge"),
        (Answer(body=b"x" * 9, headers={"etag": '"e1"'}), "TooLarge"),
        (Answer(body=b"x", headers={"etag": '"e1"', "content-encoding": "gzip"}), "EncodingDamaged"),
    ],
)
async def test_faults_of_one_document_are_told_by_reason(answer: Answer, reason: str) -> None:
    with pytest.raises(DocumentError) as caught:
        await fetched(answer)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (refused(503, "SlowDown"), "cannot answer now"),
        (refused(404, "NoSuchBucket"), "has no bucket b"),
        (refused(403, "InvalidAccessKeyId"), "does not accept the keys"),
        (Answer(403, b"<html>blocked by a proxy</html>"), "answers as no S3 server does"),
    ],
)
async def test_faults_of_the_source_end_the_run(answer: Answer, told: str) -> None:
    with pytest.raises(SourceUnavailable, match=told):
        await fetched(answer)
