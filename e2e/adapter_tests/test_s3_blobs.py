"""The blob store in a bucket keeps the contract of every blob store on a real S3 server, and says what is wrong when
the server, the bucket or the keys are.

The server is the testbed's, or the one that S3_URL names (some tests stop theirs and need the testbed's).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2e.adapter_tests import s3_world
from e2e.adapter_tests.s3_world import Bucket
from e2e.testbed.s3 import S3, Keys, s3
from lectern_contract.ids import content_digest
from lectern_contract.settings import S3Blobs
from lectern_runtime.adapters import compose, s3_client
from lectern_runtime.adapters.s3 import S3BlobStore
from lectern_runtime.adapters.s3_client import Timing
from lectern_runtime.errors import BlobStoreError
from lectern_runtime_tests.contracts.blob_contract import BlobContract, Damage, MakeBlobs

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3() as running:
        yield running


@pytest.fixture
async def bucket(server: S3, tmp_path: Path) -> Bucket:
    return await s3_world.bucket(server, tmp_path)


class TestS3Blobs(BlobContract):
    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A list of some hundred names has several pages; one of a thousand keys each is listed by the connector."""
        monkeypatch.setattr(s3_client, "PAGE_KEYS", 100)

    @pytest.fixture
    def make_blobs(self, bucket: Bucket) -> MakeBlobs:
        return lambda: compose.open_blobs(bucket.blobs("engineering/"), None)

    @pytest.fixture
    def damage(self, bucket: Bucket) -> Damage:
        async def damage(sha256: str, content: bytes) -> None:
            await bucket.put(f"engineering/sha256/{sha256}", content)

        return damage


async def trouble(settings: S3Blobs, timing: Timing | None = None) -> str:
    """What reading from the store says."""
    blobs = S3BlobStore.open(settings, timing)
    with pytest.raises(BlobStoreError) as caught:
        await blobs.read_named("manifest")
    await blobs.close()
    return str(caught.value)


def said(server: S3, what: str) -> str:
    return f"the object store {server.url} {what}"


async def test_objects_lie_below_the_prefix(bucket: Bucket) -> None:
    for prefix in ("", "a", "b/"):
        blobs = S3BlobStore.open(bucket.blobs(prefix))
        await blobs.put(b"alpha")
        await blobs.write_named("manifests/x", b"1")
        await blobs.close()
    digest = content_digest(b"alpha")
    assert sorted(await bucket.keys()) == sorted(
        f"{begin}{rest}" for begin in ("", "a/", "b/") for rest in (f"sha256/{digest}", "named/manifests/x")
    )


async def test_an_object_of_many_megabytes_comes_back(bucket: Bucket) -> None:
    data = bytes(range(256)) * (40 << 12)
    blobs = S3BlobStore.open(bucket.blobs())
    assert await blobs.get(await blobs.put(data)) == data
    await blobs.close()


async def test_bytes_that_rotted_below_the_server_are_healed_when_put_again(server: S3, bucket: Bucket) -> None:
    blobs = S3BlobStore.open(bucket.blobs())
    digest = await blobs.put(b"alpha")
    (server.buckets / bucket.name / "sha256" / digest).write_bytes(b"alphA")
    await blobs.put(b"alpha")
    assert await blobs.get(digest) == b"alpha"
    await blobs.close()


async def test_an_absent_bucket_is_named(server: S3, bucket: Bucket) -> None:
    assert await trouble(bucket.blobs(bucket="not-there")) == said(
        server, "has no bucket not-there (NoSuchBucket); make it, or correct spec.blobStore.s3.bucket"
    )


async def test_wrong_keys_are_told_without_them(server: S3, bucket: Bucket) -> None:
    wrong = "does not accept the keys ({}); correct the Secret of spec.blobStore.s3.credentialsSecretRef"
    bucket.use(Keys(server.owner.access_key_id, "wrong"))
    assert await trouble(bucket.blobs()) == said(server, wrong.format("SignatureDoesNotMatch"))
    bucket.use(Keys("nobody", "wrong"))
    assert await trouble(bucket.blobs()) == said(server, wrong.format("InvalidAccessKeyId"))


async def test_a_user_without_rights_is_told_what_to_allow(server: S3, bucket: Bucket) -> None:
    bucket.use(server.outsider)
    assert await trouble(bucket.blobs()) == said(
        server,
        f"does not allow its user to read in the bucket {bucket.name} (HTTP 403, AccessDenied); allow the user of "
        "spec.blobStore.s3.credentialsSecretRef s3:GetObject and s3:ListBucket",
    )


async def test_a_private_bucket_asks_for_keys(server: S3, bucket: Bucket) -> None:
    anonymous = bucket.blobs(access_key_id_file=None, secret_access_key_file=None)
    assert await trouble(anonymous) == said(
        server,
        f"lets nobody without keys read in the bucket {bucket.name} (HTTP 403, AccessDenied); "
        "set spec.blobStore.s3.credentialsSecretRef",
    )


async def test_another_region_is_told(server: S3, bucket: Bucket) -> None:
    assert await trouble(bucket.blobs(region="eu-west-3")) == said(
        server,
        f"has the bucket {bucket.name} in another region us-east-1, not in eu-west-3 "
        "(HTTP 400, AuthorizationHeaderMalformed); correct spec.blobStore.s3.region, or spec.blobStore.s3.endpoint",
    )


async def test_a_clock_that_is_wrong_is_told_with_the_difference(server: S3, bucket: Bucket) -> None:
    late = Timing(now=lambda: datetime.now(UTC) + timedelta(hours=2))
    told = await trouble(bucket.blobs(), late)
    assert told.startswith(said(server, "has a clock that differs from ours, "))
    assert told.endswith("; synchronise the clocks of the nodes")
    assert re.search(r" by 72\d\d s;|7199 s;", told)  # a slow machine adds some


async def test_a_renewed_secret_is_used_at_once(server: S3, bucket: Bucket) -> None:
    bucket.use(Keys("nobody", "wrong"))
    blobs = S3BlobStore.open(bucket.blobs())
    with pytest.raises(BlobStoreError, match="does not accept the keys"):
        await blobs.put(b"alpha")
    bucket.use(server.owner)
    assert await blobs.put(b"alpha") == content_digest(b"alpha")
    await blobs.close()


async def test_missing_and_damaged_files_of_keys_are_named(bucket: Bucket) -> None:
    secret = bucket.files / "secret-access-key"
    advice = "correct the Secret of spec.blobStore.s3.credentialsSecretRef"
    for content, cause in (
        (b"\n", "it is empty, or not one line"),
        (b"two\nlines", "it is empty, or not one line"),
        (b"\xff", "it is not plain ASCII text"),
    ):
        secret.write_bytes(content)
        assert await trouble(bucket.blobs()) == f"{secret}: {cause}; {advice}"
    secret.unlink()
    assert await trouble(bucket.blobs()) == f"{secret}: No such file or directory; {advice}"


async def test_a_server_with_a_certificate_of_its_own_is_trusted_by_its_authority_only(tmp_path: Path) -> None:
    with s3(tls=True) as server:
        bucket = await s3_world.bucket(server, tmp_path)
        blobs = S3BlobStore.open(bucket.blobs())
        assert await blobs.get(await blobs.put(b"alpha")) == b"alpha"
        await blobs.close()
        told = await trouble(bucket.blobs(ca_file=None))
        assert told.startswith(said(server, "shows a certificate that is not trusted ("))
        assert told.endswith("); check spec.blobStore.s3.caSecretRef")
        plain = bucket.blobs(endpoint=server.url.replace("https", "http"))
        assert "cannot be reached (RemoteProtocolError)" in await trouble(plain, no_pause())


async def test_a_server_without_tls_and_a_name_without_address_are_told(server: S3, bucket: Bucket) -> None:
    encrypted = server.url.replace("http", "https")
    assert await trouble(bucket.blobs(endpoint=encrypted)) == (
        f"the object store {encrypted} speaks no TLS that we know; "
        "see that spec.blobStore.s3.endpoint begins with the right scheme"
    )
    assert await trouble(bucket.blobs(endpoint="http://s3.invalid:9000"), no_pause()) == (
        "the object store http://s3.invalid:9000 has a name that is not resolved; "
        "correct spec.blobStore.s3.endpoint, or the cluster's DNS"
    )


def no_pause(silence_seconds: float = 30.0) -> Timing:
    return Timing(chance=lambda: 0.0, silence_seconds=silence_seconds)


async def test_a_server_that_is_down_is_told_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    with s3() as server:
        bucket = await s3_world.bucket(server, tmp_path)
        blobs = S3BlobStore.open(bucket.blobs(), no_pause())
        digest = await blobs.put(b"alpha")
        server.kill()
        with pytest.raises(BlobStoreError, match=r"cannot be reached \(ConnectError\)"):
            await blobs.get(digest)
        server.start()
        assert await blobs.get(digest) == b"alpha"
        await blobs.close()


async def test_a_server_that_comes_back_during_the_retries_is_not_missed(tmp_path: Path) -> None:
    with s3() as server:
        bucket = await s3_world.bucket(server, tmp_path)

        async def start_it(_seconds: float) -> None:
            server.start()

        blobs = S3BlobStore.open(bucket.blobs(), Timing(sleep=start_it))
        server.kill()
        assert await blobs.put(b"alpha") == content_digest(b"alpha")
        await blobs.close()


async def test_a_server_that_keeps_silent_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with s3() as server:
        bucket = await s3_world.bucket(server, tmp_path)
        server.pause()
        told = await trouble(bucket.blobs(), no_pause(silence_seconds=0.2))
        server.resume()
    assert told == said(server, "keeps silent; see its load, and that a NetworkPolicy lets us in")
