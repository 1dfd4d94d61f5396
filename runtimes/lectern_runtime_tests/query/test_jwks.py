"""The cache of an issuer's keys over real HTTP: what it reads, how often, and what it serves while the issuer fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from lectern_contract.errors import DependencyError
from lectern_runtime import signing_keys
from lectern_runtime.adapters import jwks
from lectern_runtime.adapters.jwks import FRESH_SECONDS, PAUSE_SECONDS, STALE_SECONDS, JwksKeys
from lectern_runtime_tests.query import issuer
from lectern_runtime_tests.query.issuer import KeySetServer, Mode, jwk, key_set, private_jwk, serving


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(server: KeySetServer, clock: Clock) -> AsyncIterator[JwksKeys]:
    keys = JwksKeys(server.url, httpx.AsyncClient(trust_env=False), clock=clock)
    try:
        yield keys
    finally:
        await keys.close()


async def ids(keys: JwksKeys, key_id: str) -> list[str]:
    return [key.id for key in await keys.named(key_id)]


async def test_keys_are_read_once_while_they_are_fresh_and_by_one_attempt_for_all() -> None:
    clock = Clock()
    async with serving(jwk("rsa"), jwk("ec")) as server, opened(server, clock) as keys:
        found = await asyncio.gather(*(ids(keys, name) for name in ("rsa", "ec") * 20))
        clock.now += FRESH_SECONDS
        assert (await ids(keys, "rsa"), found, server.asked) == (["rsa"], [["rsa"], ["ec"]] * 20, 1)
        clock.now += 1
        assert (await ids(keys, "rsa"), server.asked) == (["rsa"], 2)


async def test_a_rotated_key_is_found_at_its_first_token_and_a_withdrawn_one_goes_with_the_next_reading() -> None:
    clock = Clock()
    async with serving(jwk("rsa")) as server, opened(server, clock) as keys:
        assert await ids(keys, "rsa") == ["rsa"]
        server.body = key_set(jwk("ec"))
        clock.now += PAUSE_SECONDS
        assert await ids(keys, "ec") == ["ec"]
        assert (await ids(keys, "rsa"), server.asked) == ([], 2)


async def test_made_up_key_ids_ask_the_issuer_once_in_a_pause() -> None:
    clock = Clock()
    async with serving(jwk("rsa")) as server, opened(server, clock) as keys:
        for number in range(50):
            assert await ids(keys, f"made-up-{number}") == []
        assert server.asked == 1
        clock.now += PAUSE_SECONDS
        for number in range(50):
            assert await ids(keys, f"made-up-{number}") == []
        assert server.asked == 2


@pytest.mark.parametrize("mode", ["refuses", "fails", "large", "packed", "cut", "elsewhere", "hangs"])
async def test_the_last_good_keys_serve_while_the_issuer_is_away_and_not_for_ever(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with serving(jwk("rsa")) as server, opened(server, clock) as keys:
        assert await ids(keys, "rsa") == ["rsa"]
        server.mode = mode
        monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.2)
        clock.now += FRESH_SECONDS + 1
        assert await ids(keys, "rsa") == ["rsa"]
        with pytest.raises(DependencyError):  # nobody can say whether the issuer has it by now
            await ids(keys, "new")
        clock.now += STALE_SECONDS - FRESH_SECONDS
        with pytest.raises(DependencyError):
            await ids(keys, "rsa")
        server.mode = "well"
        server.release.set()
        clock.now += PAUSE_SECONDS
        assert await ids(keys, "rsa") == ["rsa"]


async def test_an_issuer_that_is_away_delays_nobody_whose_key_is_known() -> None:
    clock = Clock()
    async with serving(jwk("rsa")) as server, opened(server, clock) as keys:
        assert await ids(keys, "rsa") == ["rsa"]
        server.mode = "fails"
        clock.now += FRESH_SECONDS + 1
        assert await ids(keys, "rsa") == ["rsa"]
        server.mode = "dawdles"
        server.heard.clear()
        clock.now += PAUSE_SECONDS
        assert await ids(keys, "rsa") == ["rsa"]  # while the server is being asked
        await server.heard.wait()
        server.body = key_set(jwk("rsa"), jwk("ed"))
        server.release.set()
        assert (await ids(keys, "ed"), server.asked) == (["ed"], 3)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("refuses", "cannot be read (RemoteProtocolError)"),
        ("fails", "cannot be read (status 500)"),
        ("elsewhere", "cannot be read (status 302)"),
        ("hangs", "cannot be read (TimeoutError)"),
        ("cut", "cannot be read (RemoteProtocolError)"),
        ("large", "it has more than 262144 bytes"),
        ("packed", "it came packed"),
    ],
)
async def test_an_issuer_that_was_never_reached_is_a_fault_of_the_world_with_its_cause(
    mode: Mode, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.3 if mode == "hangs" else 30.0)
    async with serving(jwk("rsa")) as server, opened(server, Clock()) as keys:
        server.mode = mode
        with pytest.raises(DependencyError) as raised:
            await ids(keys, "rsa")
        with pytest.raises(DependencyError):  # within the pause nobody asks again
            await ids(keys, "rsa")
    assert (words in str(raised.value), raised.value.dependency, server.asked) == (True, "identity provider", 1)


async def test_nothing_listens_at_the_address() -> None:
    async with serving() as server:
        gone = server
    async with opened(gone, Clock()) as keys:
        with pytest.raises(DependencyError, match=r"cannot be read \(ConnectError\)"):
            await ids(keys, "rsa")


async def test_an_issuer_that_withdraws_every_key_is_believed() -> None:
    clock = Clock()
    async with serving(jwk("rsa")) as server, opened(server, clock) as keys:
        assert await ids(keys, "rsa") == ["rsa"]
        server.mode = "empty"
        clock.now += FRESH_SECONDS + 1
        assert await ids(keys, "rsa") == []


async def test_closing_ends_an_attempt_that_is_under_way() -> None:
    async with serving(jwk("rsa")) as server:
        server.mode = "hangs"
        async with opened(server, Clock()) as keys:
            asking = asyncio.create_task(keys.named("rsa"))
            await server.heard.wait()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_who_leaves_while_waiting_does_not_end_the_attempt_of_the_others() -> None:
    async with serving(jwk("rsa")) as server, opened(server, Clock()) as keys:
        server.mode = "dawdles"
        leaving, staying = asyncio.create_task(ids(keys, "rsa")), asyncio.create_task(ids(keys, "rsa"))
        await server.heard.wait()
        leaving.cancel()
        server.release.set()
        assert (await staying, server.asked) == (["rsa"], 1)
        assert leaving.cancelled()


# ------------------------------------------------------------------------------------------- key sets


def test_keys_are_for_the_algorithms_of_their_kind_or_for_the_one_that_they_name() -> None:
    found = signing_keys.read(key_set(jwk("rsa"), jwk("other-rsa", alg="PS512"), jwk("ec"), jwk("ed")))
    assert {key.id: key.algorithms for key in found} == {
        "rsa": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        "other-rsa": ("PS512",),
        "ec": ("ES256",),
        "ed": ("EdDSA",),
    }


@pytest.mark.parametrize(
    "entry",
    [
        jwk("rsa", kid=None),
        jwk("rsa", kid=""),
        jwk("rsa", kid=7),
        jwk("rsa", kid="x" * 513),
        jwk("rsa", use="enc"),
        jwk("rsa", key_ops=["encrypt"]),
        jwk("rsa", alg="HS256"),
        jwk("rsa", alg="none"),
        jwk("rsa", alg="ES256"),
        jwk("rsa", alg=["RS256"]),
        private_jwk("rsa"),
        private_jwk("ec"),
        private_jwk("ed"),
        jwk("rsa", n="AQAB"),
        jwk("rsa", n=5),
        jwk("rsa", n=None),
        jwk("rsa", e="not base64 !"),
        jwk("short-rsa"),
        jwk("ec", crv="secp256k1"),
        jwk("ec", crv="P-384"),
        jwk("ec", x="AAAA"),
        jwk("ec", y=None),
        jwk("ed", crv="Ed448"),
        jwk("ed", x="AAAA"),
        jwk("ed", kty=["OKP"]),
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0", "alg": "RS256"},
        {},
    ],
)
def test_an_entry_that_cannot_verify_safely_is_passed_over(entry: dict[str, Any]) -> None:
    assert [key.id for key in signing_keys.read(key_set(entry, jwk("ed", kid="good")))] == ["good"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is not JSON"),
        (b"<html>", "it is not JSON"),
        (b"\xff\xfe\xff", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "no list `keys`"),
        (b"{}", "no list `keys`"),
        (b'{"keys": {"kid": "a"}}', "no list `keys`"),
        (issuer.key_set(*[{}] * 101), "more than 100 keys"),
    ],
)
def test_what_is_no_key_set_is_said(data: bytes, words: str) -> None:
    with pytest.raises(DependencyError, match=words):
        signing_keys.read(data)
