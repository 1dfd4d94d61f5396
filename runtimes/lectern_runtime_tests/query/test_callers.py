"""Who is let in by the API: tokens and API keys through the whole app, and what each route needs of them.

The issuer is a real server on the loopback interface and the keys are files, which change while the app runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lectern_contract.errors import ConfigurationError
from lectern_contract.query_settings import AnonymousSettings, AuthSettings
from lectern_runtime import api_keys
from lectern_runtime.adapters import compose
from lectern_runtime.adapters.jwks import PAUSE_SECONDS, JwksKeys
from lectern_runtime.api_keys import ApiKeys
from lectern_runtime_tests.query import issuer
from lectern_runtime_tests.query.conftest import RETURNS
from lectern_runtime_tests.query.issuer import ISSUER, NOW, KeySetServer, jwk, key_set, serving, token
from lectern_runtime_tests.query.test_scope import NOBODY, QUESTION, ROUTES, partitions
from lectern_runtime_tests.query.world import (
    ACME_SECRET,
    RIVAL,
    World,
    calling,
    query_settings,
)

ANYBODY = AnonymousSettings(tenant="acme", access_levels=("public",))
TOKEN_STEP = f"send a token of {ISSUER} as `Authorization: Bearer`."
KEY_STEP = "send an API key (lk_<id>_<secret>) as `Authorization: Bearer`."


class Site:
    """One endpoint with an issuer and a directory of keys, and a clock that only the test moves."""

    def __init__(self, world: World, server: KeySetServer, directory: Path) -> None:
        self.world = world
        self.server = server
        self.directory = directory
        self.seconds = 0.0

    def key(self, key_id: str, *, scopes: tuple[str, ...] = ("query", "retrieve"), **changes: Any) -> str:
        """Write the file of a new key."""
        key, digest = api_keys.new_key(key_id)
        content = {"sha256": digest, "tenant": "acme", "access_levels": ["public"], "scopes": scopes, **changes}
        (self.directory / key_id).write_text(json.dumps(content))
        return key

    @asynccontextmanager
    async def client(
        self, *, tokens: bool = True, keys: bool = True, anonymous: bool = False
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client of an app that knows its callers in these ways."""
        clock: Callable[[], float] = lambda: self.seconds  # noqa: E731 - shared by both
        signing = JwksKeys(self.server.url, httpx.AsyncClient(trust_env=False), clock=clock) if tokens else None
        self.world.signing_keys, self.world.now = signing, lambda: NOW
        self.world.api_keys = ApiKeys(self.directory, now=lambda: NOW, clock=clock) if keys else None
        auth = AuthSettings(
            anonymous=ANYBODY if anonymous else None,
            jwt=issuer.jwt_settings(self.server.url) if tokens else None,
            api_keys_directory=str(self.directory) if keys else None,
        )
        try:
            async with calling(self.world.app(query_settings(auth=auth))) as client:
                yield client
        finally:
            if signing is not None:
                await signing.close()


@pytest.fixture
async def site(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    """The same text in three partitions, so that only the caller's rights can tell them apart."""
    for partition in (ACME_SECRET, RIVAL):
        await world.put("returns.md", RETURNS, partition=partition)
    async with serving(jwk("rsa"), jwk("ed")) as server:
        yield Site(world, server, tmp_path)


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


async def asked(client: httpx.AsyncClient, credential: str, path: str = "/v1/retrieve") -> httpx.Response:
    body = dict(ROUTES)[path]
    return await client.post(path, json=body, headers=bearer(credential))


def problem(response: httpx.Response) -> dict[str, Any]:
    """The whole of a problem with its challenge, without the id of the request."""
    body = response.json()
    assert body.pop("request_id") == response.headers["x-request-id"]
    return {**body, "challenge": response.headers.get("www-authenticate")}


def not_accepted(detail: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "code": "credentials_not_accepted",
        "title": "The credentials are not accepted",
        "status": 401,
        "detail": detail,
        "errors": [],
        "challenge": 'Bearer realm="lectern", error="invalid_token"',
    }


# --------------------------------------------------------------------------------------- who reads what


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, {"acme/public"}),
        ({"access_levels": ["public", "secret"]}, {"acme/public", "acme/secret"}),
        ({"access_levels": "secret"}, {"acme/secret"}),
        ({"access_levels": ["secret", "unheard-of"]}, {"acme/secret"}),
        ({"tenant": "rival", "access_levels": ["public", "secret"]}, {"rival/public"}),
        ({"tenant": "nobody"}, set()),
    ],
)
async def test_a_token_and_a_key_read_exactly_their_partitions(
    site: Site, claims: dict[str, Any], expected: set[str]
) -> None:
    rights = {"tenant": "acme", "access_levels": ["public"], **claims}
    levels = rights["access_levels"]
    key = site.key("reader", tenant=rights["tenant"], access_levels=[levels] if isinstance(levels, str) else levels)
    async with site.client() as client:
        by_token, by_key = await asked(client, token(**claims)), await asked(client, key)
    assert (by_token.status_code, partitions(by_token.json())) == (200, expected)
    assert (by_key.status_code, partitions(by_key.json())) == (200, expected)


@pytest.mark.parametrize("levels", [[], ["unheard-of"], ["Public"], None])
async def test_without_a_level_in_common_nothing_is_read(site: Site, levels: list[str] | None) -> None:
    async with site.client() as client:
        response = await asked(client, token(access_levels=levels))
    assert problem(response) == {
        "type": "about:blank",
        "code": "scope_denied",
        "title": "The caller may not read this",
        "status": 403,
        "detail": "The caller may read none of the documents behind this endpoint.",
        "errors": [],
        "challenge": None,
    }


NEEDS = {"/v1/query": "query", "/v1/retrieve": "retrieve", "/v1/chat/completions": "query"}


@pytest.mark.parametrize("held", ["query", "retrieve", "jobs feedback admin push", "QUERY", ""])
@pytest.mark.parametrize("path", NEEDS)
async def test_each_route_needs_its_own_scope(site: Site, path: str, held: str) -> None:
    key = site.key("reader", scopes=tuple(held.split()) or ("none",))
    async with site.client() as client:
        responses = [await asked(client, token(scope=held), path), await asked(client, key, path)]
    needed = NEEDS[path]
    for response in responses:
        if needed in held.split():
            assert response.status_code == 200
            continue
        assert problem(response) == {
            "type": "about:blank",
            "code": "scope_denied",
            "title": "The caller may not read this",
            "status": 403,
            "detail": f"This route needs the scope '{needed}' and the credentials lack it; ask for ones that have it.",
            "errors": [],
            "challenge": f'Bearer realm="lectern", error="insufficient_scope", scope="{needed}"',
        }


async def test_the_models_are_listed_for_who_may_ask_them(site: Site) -> None:
    async with site.client() as client:
        statuses = [
            (await client.get("/v1/models", headers=bearer(token(scope=scope)))).status_code
            for scope in ("query", "retrieve")
        ]
    assert statuses == [200, 403]


async def test_no_route_under_v1_answers_a_caller_without_any_of_the_scopes(site: Site) -> None:
    bodies = dict(ROUTES)
    async with site.client() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        operations = [(method, path) for path, each in paths.items() if path.startswith("/v1/") for method in each]
        statuses = {
            (method, path): (
                await client.request(method, path, json=bodies.get(path), headers=bearer(token(scope="other")))
            ).status_code
            for method, path in operations
        }
    assert statuses == dict.fromkeys(operations, 403)
    assert {path for _, path in operations} >= set(bodies)


# ------------------------------------------------------------------------------------------ who is let in


@pytest.mark.parametrize(
    ("ways", "headers", "detail"),
    [
        ({}, [("Authorization", "Basic YTpi")], "TOKEN OR KEY"),
        ({}, [("Authorization", "Bearer")], "TOKEN OR KEY"),
        ({}, [("X-API-Key", "secret")], "TOKEN OR KEY"),
        ({}, [("Authorization", "Bearer one"), ("Authorization", "Bearer two")], "TOKEN OR KEY"),
        ({}, [("Authorization", "Bearer anonymous"), ("X-API-Key", "secret")], "TOKEN OR KEY"),
        ({"keys": False}, [("Authorization", "Bearer lk_a_b")], f"This endpoint takes no API keys; {TOKEN_STEP}"),
        ({"tokens": False}, [("Authorization", "Bearer e30.e30.AA")], f"This endpoint verifies no tokens; {KEY_STEP}"),
        (
            {"tokens": False, "keys": False, "anonymous": True},
            [("Authorization", "Bearer e30.e30.AA")],
            "This endpoint verifies no tokens; send no credentials, or `Authorization: Bearer anonymous`.",
        ),
        (
            {},
            [("Authorization", "Bearer lk_reader_" + "x" * 43)],
            "The API key is unknown, withdrawn or expired; ask whoever runs this endpoint for a new one.",
        ),
        (
            {"anonymous": True},
            [("Authorization", "Bearer e30.e30.AA")],
            "The token's algorithm is not allowed; let its issuer use one of ES256, ES384, ES512, EdDSA, PS256, PS384, "
            "PS512, RS256, RS384, RS512.",
        ),
    ],
)
async def test_credentials_that_cannot_be_verified_are_refused_whole(
    site: Site, ways: dict[str, bool], headers: list[tuple[str, str]], detail: str
) -> None:
    both = f"send a token of {ISSUER} or an API key (lk_<id>_<secret>) as `Authorization: Bearer`."
    if detail == "TOKEN OR KEY":
        detail = f"The credentials are not in one bearer token; {both}"
    async with site.client(**ways) as client:
        response = await client.post("/v1/query", json={"question": QUESTION}, headers=headers)
    assert problem(response) == not_accepted(detail)
    assert site.world.embedder.calls == []


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer anonymous"}, {"Authorization": " "}])
@pytest.mark.parametrize(
    ("ways", "step"),
    [
        ({"keys": False}, TOKEN_STEP),
        ({"tokens": False}, KEY_STEP),
        ({"tokens": False, "keys": False}, "nobody is let in until spec.auth of the RagEndpoint declares who may ask."),
    ],
)
async def test_nobody_is_anonymous_where_that_is_not_declared(
    site: Site, ways: dict[str, bool], headers: dict[str, str], step: str
) -> None:
    async with site.client(**ways) as client:
        response = await client.post("/v1/query", json={"question": QUESTION}, headers=headers)
    assert problem(response) == {
        "type": "about:blank",
        "code": "unauthenticated",
        "title": "Credentials are needed",
        "status": 401,
        "detail": f"This endpoint allows no anonymous access and no credentials were sent; {step}",
        "errors": [],
        "challenge": 'Bearer realm="lectern"',
    }


async def test_anonymous_callers_and_known_ones_read_side_by_side(site: Site) -> None:
    async with site.client(anonymous=True) as client:
        nobody = await client.post("/v1/retrieve", json={"query": QUESTION})
        known = await asked(client, token(access_levels=["secret"]))
    assert (partitions(nobody.json()), partitions(known.json())) == ({"acme/public"}, {"acme/secret"})


async def test_who_is_not_let_in_sends_no_body_and_learns_nothing_of_the_routes(site: Site) -> None:
    begun: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        begun.append(b"{")
        yield begun[-1]

    async with site.client() as client:
        unread = await client.post("/v1/query", content=body())
        statuses = [(await client.get(path)).status_code for path in ("/v1/nothing", "/v1/query", "/v1/models")]
    assert (unread.status_code, statuses, begun) == (401, [401, 401, 401], [])


async def test_neither_log_nor_answer_quotes_credentials(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [token(), token(exp=0), token(scope=""), site.key("good"), "lk_good_" + "y" * 43]
    async with site.client() as client:
        answers = [(await asked(client, secret)).text for secret in secrets]
    told = " ".join([*answers, *(str(record.__dict__) for record in caplog.records)])
    pieces = [piece for secret in secrets for piece in secret.replace("lk_good_", "").split(".")]
    assert [piece for piece in pieces if piece in told] == []
    refusals = [record.__dict__["refusal"] for record in caplog.records if "refusal" in record.__dict__]
    assert refusals == ["TokenExpired", "KeyWrong"]


# --------------------------------------------------------------------------------- what changes meanwhile


async def test_keys_are_rotated_withdrawn_and_expire_without_a_restart(site: Site) -> None:
    old = site.key("reader")
    async with site.client() as client:
        statuses = [(await asked(client, old)).status_code]
        new = site.key("reader")
        site.seconds += api_keys.LOOK_SECONDS
        statuses += [(await asked(client, key)).status_code for key in (old, new)]
        site.key("reader", expires_at="2001-01-01T00:00:00Z")
        ended = site.key("ended", expires_at="2033-05-18T03:33:20Z")  # the moment that is now
        site.seconds += api_keys.LOOK_SECONDS
        statuses += [(await asked(client, key)).status_code for key in (new, ended)]
    assert statuses == [200, 401, 200, 401, 401]


async def test_a_directory_of_keys_that_is_gone_is_no_ones_wrong_key(site: Site) -> None:
    async with site.client() as client:
        site.directory.rmdir()
        response = await asked(client, "lk_reader_" + "x" * 43)
        token_still = await asked(client, token())
    assert (response.status_code, response.json()["code"]) == (503, "dependency_unavailable")
    assert (response.headers["retry-after"], token_still.status_code) == ("5", 200)


async def test_a_rotated_signing_key_is_accepted_without_a_restart(site: Site) -> None:
    async with site.client() as client:
        statuses = [(await asked(client, token("rsa"))).status_code, (await asked(client, token("ec"))).status_code]
        site.server.body = key_set(jwk("ec"))
        site.seconds += PAUSE_SECONDS
        statuses += [(await asked(client, token(name))).status_code for name in ("ec", "rsa")]
    assert (statuses, site.server.asked) == ([200, 401, 200, 401], 2)


async def test_an_issuer_that_is_away_is_told_as_such_and_does_not_make_the_replica_unready(site: Site) -> None:
    key = site.key("reader")
    site.server.mode = "fails"
    async with site.client() as client:
        response = await asked(client, token())
        others = [(await asked(client, key)).status_code, (await client.get("/readyz")).status_code]
        site.server.mode = "well"
        site.seconds += PAUSE_SECONDS
        later = await asked(client, token())
    assert problem(response) == {
        "type": "about:blank",
        "code": "dependency_unavailable",
        "title": "A service behind this one does not answer",
        "status": 503,
        "detail": "The identity provider does not answer; try again shortly.",
        "errors": [],
        "challenge": None,
    }
    assert (response.headers["retry-after"], others, later.status_code) == ("5", [200, 200], 200)


# ------------------------------------------------------------------------------------------- composition


@pytest.mark.parametrize(
    "auth",
    [
        AuthSettings(anonymous=ANYBODY, jwt=issuer.jwt_settings(), api_keys_directory=None),
        AuthSettings(anonymous=ANYBODY, jwt=None, api_keys_directory="/keys"),
    ],
)
def test_ways_that_are_declared_and_not_opened_are_a_fault_of_the_composition(world: World, auth: AuthSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.auth and what opens it do not agree"):
        world.app(query_settings(auth=auth))


async def test_the_issuers_keys_are_opened_where_tokens_are_declared() -> None:
    assert compose.open_signing_keys(NOBODY) is None
    opened = compose.open_signing_keys(NOBODY.model_copy(update={"jwt": issuer.jwt_settings()}))
    assert isinstance(opened, JwksKeys)
    await opened.close()
