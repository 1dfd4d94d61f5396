"""The client of S3 servers where a real one cannot be made to misbehave: signatures, retries, bounds, odd answers."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lectern_contract.settings import S3Blobs
from lectern_runtime.adapters import s3_answers, s3_client
from lectern_runtime.adapters.s3 import S3BlobStore
from lectern_runtime.adapters.s3_answers import Entry, Refusal
from lectern_runtime.adapters.s3_client import TOO_LARGE, Object, S3Client, Timing
from lectern_runtime.adapters.s3_signature import Keys, authorization, encoded_path, encoded_query
from lectern_runtime.errors import BlobStoreError
from lectern_runtime_tests.adapters.s3_double import CUT, ENDLESS, Answer, S3Double, listed, refused, s3_double

EMPTY = hashlib.sha256().hexdigest()
BUSY = refused(503, "SlowDown")
STARTED = datetime(2013, 5, 24, tzinfo=UTC)


def blobs_at(url: str, *, keys: tuple[Path, Path] | None = None) -> S3Blobs:
    return S3Blobs(
        endpoint=url,
        bucket="b",
        prefix="",
        region="us-east-1",
        access_key_id_file=None if keys is None else str(keys[0]),
        secret_access_key_file=None if keys is None else str(keys[1]),
        ca_file=None,
    )


class Pauses:
    """Time that passes at once, and how much of it was asked for."""

    def __init__(self, chance: float = 1.0) -> None:
        self.seconds: list[float] = []
        self.timing = Timing(sleep=self.sleep, chance=lambda: chance)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def at_once() -> None:
    """No limit of rate."""


def client(
    double: S3Double, pauses: Pauses | None = None, throttle: Callable[[], Awaitable[None]] = at_once
) -> S3Client:
    return S3Client(
        blobs_at(double.url),
        field="spec.s3",
        failed=BlobStoreError,
        dependency="blob-store",
        throttle=throttle,
        timing=(pauses or Pauses()).timing,
    )


async def keys_of(double: S3Double, prefix: str = "") -> list[Entry]:
    opened = client(double)
    try:
        return [entry async for entry in opened.list(prefix)]
    finally:
        await opened.close()


# ------------------------------------------------------------------------------------- signatures


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "signature"),
    [
        (
            "GET",
            "test.txt",
            {},
            {"range": "bytes=0-9"},
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "test$file.text",
            {},
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "",
            {"lifecycle": ""},
            {},
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "",
            {"prefix": "J", "max-keys": "2"},
            {},
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_examples_that_aws_publishes_are_signed_as_it_says(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes, signature: str
) -> None:
    published = "AKIAIOSFODNN7EXAMPLE"  # secret-scan: allow, AWS documents its examples with it
    keys = Keys(published, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    sent = {
        **headers,
        "host": "examplebucket.s3.amazonaws.com",
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-amz-date": "20130524T000000Z",
    }
    told = authorization(
        method, f"/{encoded_path(path)}", encoded_query(query), sent, keys=keys, region="us-east-1", now=STARTED
    )
    names = ";".join(sorted(sent))
    scope = f"{published}/20130524/us-east-1/s3/aws4_request"
    assert told == f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"


def test_keys_are_not_shown() -> None:
    assert repr(Keys("id", "secret")) == "Keys(access_key_id='id')"


@pytest.mark.parametrize("key", ["a/../b", "./a", "a//b", "/a", "a/.", "..", "a?b#c%2F", "é"])
async def test_a_key_is_asked_for_byte_for_byte(key: str) -> None:
    async with s3_double(Answer(body=b"x", headers={"etag": '"1"'})) as double:
        opened = client(double)
        assert await opened.get(key, limit=1) == Object(b"x", "1", "", "")
        await opened.close()
    assert [asked.target for asked in double.asked] == [f"/b/{encoded_path(key)}"]


@pytest.mark.parametrize("path", ["", "/", "/store", "/store/"])
async def test_a_server_may_lie_below_a_path_and_a_user_in_its_url_is_no_user_of_it(path: str) -> None:
    async with s3_double(Answer(body=b"x")) as double:
        double.url = double.url.replace("//", "//someone:secret@") + path
        opened = client(double)
        await opened.get("k", limit=1)
        await opened.close()
    (asked,) = double.asked
    assert (asked.target, "authorization" in asked.headers) == (f"{path.rstrip('/')}/b/k", False)


# ---------------------------------------------------------------------------------------- retries


@pytest.mark.parametrize(
    "fault",
    [
        BUSY,
        refused(500, "InternalError"),
        refused(400, "RequestTimeout"),
        refused(409, "ConditionalRequestConflict"),
        Answer(502, b"<html>bad gateway</html>"),
        Answer(200, b"half", manner=CUT),
    ],
)
async def test_a_fault_that_passes_is_not_noticed(fault: Answer) -> None:
    pauses = Pauses()
    async with s3_double(fault, fault, fault, Answer(body=b"x")) as double:
        opened = client(double, pauses)
        assert await opened.get("k", limit=9) == Object(b"x", "", "", "")
        await opened.close()
    assert pauses.seconds == [0.5, 1.0, 2.0]


async def test_pauses_are_chance_and_no_shorter_than_the_server_asks_up_to_a_bound() -> None:
    asking = [refused(503, "SlowDown", retry_after=each) for each in ("2", "100000", "soon")]
    pauses = Pauses(chance=0.5)
    async with s3_double(*asking, Answer(body=b"x")) as double:
        opened = client(double, pauses)
        await opened.get("k", limit=9)
        await opened.close()
    assert pauses.seconds == [2.25, s3_client.MOST_PAUSE_SECONDS + 0.5, 1.0]


async def test_a_server_that_stays_busy_is_given_up_and_every_attempt_waits_for_the_throttle() -> None:
    asked = 0

    async def throttle() -> None:
        nonlocal asked
        asked += 1

    async with s3_double(BUSY) as double:
        opened = client(double, throttle=throttle)
        refusal = await opened.get("k", limit=9)
        await opened.close()
        assert isinstance(refusal, Refusal)
        assert str(opened.error(refusal, "read")) == (
            f"the object store {double.url} cannot answer now (HTTP 503, SlowDown); see its load and log"
        )
    assert (len(double.asked), asked) == (s3_client.ATTEMPTS, s3_client.ATTEMPTS)


async def test_a_refusal_is_not_asked_again() -> None:
    async with s3_double(refused(404, "NoSuchKey")) as double:
        opened = client(double)
        refusal = await opened.get("k", limit=9)
        assert await opened.delete("k") is None
        await opened.close()
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code, len(double.asked)) == (404, "NoSuchKey", 2)


@pytest.mark.parametrize(("renewed", "asked"), [(True, ["old", "new"]), (False, ["old"])])
async def test_refused_keys_are_tried_again_only_when_their_files_changed_meanwhile(
    tmp_path: Path, renewed: bool, asked: list[str]
) -> None:
    files = tmp_path / "id", tmp_path / "secret"
    for file in files:
        file.write_text("old\n")

    def sign() -> datetime:  # the keys have been read
        if renewed:
            files[0].write_text("new\n")
        return STARTED

    async with s3_double(refused(403, "InvalidAccessKeyId"), Answer(body=b"x")) as double:
        blobs = S3BlobStore.open(blobs_at(double.url, keys=files), Timing(now=sign, sleep=Pauses().sleep))
        if renewed:
            assert await blobs.read_named("n") == b"x"
        else:
            with pytest.raises(BlobStoreError, match="does not accept the keys"):
                await blobs.read_named("n")
        await blobs.close()
    told = [each.headers["authorization"].partition("Credential=")[2].partition("/")[0] for each in double.asked]
    assert told == asked


# ----------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("answer", [Answer(manner=ENDLESS), Answer(body=b"12345")])
async def test_of_a_body_no_more_is_read_than_asked_for(answer: Answer) -> None:
    async with s3_double(answer) as double:
        opened = client(double)
        assert await opened.get("k", limit=4) == Refusal(200, TOO_LARGE)
        await opened.close()


async def test_an_endless_refusal_and_an_endless_listing_end() -> None:
    async with s3_double(Answer(403, manner=ENDLESS)) as double:
        opened = client(double)
        with pytest.raises(BlobStoreError, match=r"answers as no S3 server does \(HTTP 403\)"):
            await opened.get("k", limit=4)
        await opened.close()
    async with s3_double(Answer(manner=ENDLESS)) as double:
        with pytest.raises(BlobStoreError, match="lists more in one page than fits"):
            await keys_of(double)


# -------------------------------------------------------------------------------------- listings


async def test_pages_are_asked_for_by_the_token_of_the_one_before() -> None:
    async with s3_double(listed("p/a", token="t+1/="), listed(token="t2"), listed("p/b")) as double:
        assert [entry.key for entry in await keys_of(double, "p/")] == ["p/a", "p/b"]
    query = "encoding-type=url&list-type=2&max-keys=1000&prefix=p%2F"
    assert [asked.target for asked in double.asked] == [
        f"/b?{query}",
        f"/b?continuation-token=t%2B1%2F%3D&{query}",
        f"/b?continuation-token=t2&{query}",
    ]


async def test_keys_are_decoded_where_they_are_encoded_and_told_where_they_are_no_text() -> None:
    encoded = listed("a%0Ab+c%2Bd", "bad%FF")
    plain = listed("a%0Ab", "bad\ufffd", encoded=False)
    for answer, expected in ((encoded, ["a\nb c+d", None]), (plain, ["a%0Ab", None])):
        async with s3_double(answer) as double:
            assert [entry.key for entry in await keys_of(double)] == expected


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([Answer(body=b"<html><body>log in</body></html>")], "answers a listing with no listing"),
        ([Answer(body=b"not xml")], "answers a listing with no XML"),
        ([Answer(body=b"")], "answers a listing with no XML"),
        ([Answer(body=listed("a").body[:-30])], "answers a listing with no XML"),
        ([Answer(body=b'<!DOCTYPE x [<!ENTITY a "aa">]><x>&a;</x>')], "answers a listing with a document type"),
        (
            [Answer(body=b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")],
            "answers a listing with a listing that goes on and does not say where",
        ),
        ([Answer(body=b"<ListBucketResult></ListBucketResult>")], "answers a listing with no listing"),
        (
            [
                Answer(
                    body=b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size>"
                    b"</Contents></ListBucketResult>"
                )
            ],
            "answers a listing with an object without key or size",
        ),
        ([listed("p/a", token="t")], "gives the same page of the listing again and again"),
        ([listed("other")], "lists keys without the prefix that was asked for"),
        ([listed("p/a", token="t"), refused(404, "NoSuchBucket")], "has no bucket b (NoSuchBucket)"),
        ([Answer(404, b"<html>not here</html>")], "answers as no S3 server does (HTTP 404)"),
        (
            [refused(301, "PermanentRedirect", x_amz_bucket_region="eu-west-3")],
            "has the bucket b in another region eu-west-3, not in us-east-1 (HTTP 301, PermanentRedirect)",
        ),
        ([refused(507, "XMinioStorageFull")], "is full (HTTP 507, XMinioStorageFull)"),
        ([refused(501, "NotImplemented")], "cannot list objects in this way (HTTP 501, NotImplemented)"),
        ([refused(400, "InvalidArgument")], "refuses to list (HTTP 400, InvalidArgument)"),
        ([refused(400, "a secret: <b/>")], "answers as no S3 server does (HTTP 400)"),
    ],
)
async def test_a_listing_that_does_not_end_well_is_an_error(answers: list[Answer], told: str) -> None:
    async with s3_double(*answers) as double:
        with pytest.raises(BlobStoreError) as caught:
            await keys_of(double, "p/")
        assert str(caught.value).startswith(f"the object store {double.url} {told}; ")


@pytest.mark.parametrize(
    ("text", "etag"),
    [('"abc-2"', "abc-2"), ('W/"abc"', "abc"), ("abc", "abc"), ('"a\nb"', ""), ("", ""), ('""', ""), ("é", "")],
)
def test_an_etag_is_one_that_can_be_asked_for_or_none(text: str, etag: str) -> None:
    assert s3_answers.bare_etag(text) == etag


# ------------------------------------------------------------------------------------------ blobs


async def test_a_server_that_does_not_know_conditional_writes_is_asked_first() -> None:
    answers = [refused(501, "NotImplemented"), refused(404, "NoSuchKey"), Answer(), refused(404, "NoSuchKey"), Answer()]
    async with s3_double(*answers) as double:
        blobs = S3BlobStore.open(blobs_at(double.url), Pauses().timing)
        for data in (b"one", b"two"):
            await blobs.put(data)
        await blobs.close()
    assert [(asked.method, asked.headers.get("if-none-match")) for asked in double.asked] == [
        ("PUT", "*"),
        ("GET", None),
        ("PUT", None),
        ("GET", None),
        ("PUT", None),
    ]


async def test_a_refused_write_is_told() -> None:
    async with s3_double(refused(400, "EntityTooLarge")) as double:
        blobs = S3BlobStore.open(blobs_at(double.url), Pauses().timing)
        for write in (blobs.put(b"x"), blobs.write_named("n", b"x"), blobs.delete_named("n")):
            with pytest.raises(BlobStoreError, match=r"refuses to (write|delete) \(HTTP 400, EntityTooLarge\)"):
                await write
        await blobs.close()
