"""Every token that is not exactly as declared lets nobody in, and says why without quoting it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lectern_contract.errors import ScopeDenied
from lectern_contract.scope import Principal, Scope
from lectern_runtime import signing_keys
from lectern_runtime.api_keys import Holder
from lectern_runtime.query.tokens import LEEWAY_SECONDS, MOST_CHARACTERS, Reason, Rejected, Tokens
from lectern_runtime.signing_keys import SigningKey
from lectern_runtime_tests.query.issuer import (
    AUDIENCE,
    ISSUER,
    NOW,
    claims,
    jwk,
    jwt_settings,
    key_set,
    part,
    private_key,
    signed,
    token,
)


class Keys:
    """The keys of a set as `JwksKeys` gives them, without a server."""

    def __init__(self, *entries: dict[str, Any]) -> None:
        self._keys = signing_keys.read(key_set(*entries))

    async def named(self, key_id: str) -> Sequence[SigningKey]:
        return [key for key in self._keys if key.id == key_id]

    async def close(self) -> None:
        """Nothing to release."""


def tokens(**changes: Any) -> Tokens:
    keys = Keys(jwk("rsa"), jwk("ec"), jwk("ed"), jwk("other-rsa", alg="PS256"))
    return Tokens(jwt_settings(**changes), keys, now=lambda: NOW)


ADA = Holder("ada", "acme", frozenset({"public"}), frozenset({"query", "retrieve"}))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: token(), ADA),
        (lambda: token("ec"), ADA),
        (lambda: token("ed"), ADA),
        (lambda: token(header={"alg": "PS384"}), ADA),
        (lambda: token(aud=["other", AUDIENCE]), ADA),
        (lambda: token(nbf=int(NOW), iat=int(NOW)), ADA),
        (lambda: token(exp=NOW - LEEWAY_SECONDS + 1), ADA),
        (lambda: token(nbf=NOW + LEEWAY_SECONDS), ADA),
        (lambda: token(tenant=["acme"]), ADA),
        (lambda: token(access_levels="public"), ADA),
        (lambda: token(scope=["query", "retrieve"]), ADA),
        (lambda: token(scope=["query retrieve"]), ADA),
        (lambda: token(header={"jku": "https://evil.example", "typ": "at+jwt"}), ADA),
        (lambda: token(scope=None), Holder("ada", "acme", frozenset({"public"}), frozenset())),
        (lambda: token(access_levels=None), Holder("ada", "acme", frozenset(), ADA.scopes)),
        (lambda: token(access_levels=[]), Holder("ada", "acme", frozenset(), ADA.scopes)),
        (lambda: token(access_levels="public secret"), Holder("ada", "acme", frozenset({"public secret"}), ADA.scopes)),
    ],
)
async def test_a_good_token_says_whom_it_speaks_for(made: Callable[[], str], expected: Holder) -> None:
    assert await tokens().holder(made()) == expected


def with_public_key_as_secret() -> str:
    """The classic confusion: HS256 with the published key as the shared secret."""
    pem = private_key("rsa").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = f"{part(json.dumps({'alg': 'HS256', 'kid': 'rsa'}).encode())}.{part(json.dumps(claims()).encode())}"
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{body}.{part(algorithm.sign(body.encode(), pem))}"


def unsigned(**header: Any) -> str:
    return f"{part(json.dumps({'kid': 'rsa', **header}).encode())}.{part(json.dumps(claims()).encode())}."


def changed_payload() -> str:
    head, _, signature = token().split(".")
    return f"{head}.{part(json.dumps(claims(tenant='rival')).encode())}.{signature}"


def heading(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


BODY = json.dumps(claims()).encode()
TABLE: list[tuple[Callable[[], str], Reason]] = [
    (lambda: "", Reason.MALFORMED),
    (lambda: "nonsense", Reason.MALFORMED),
    (lambda: "a.b.c", Reason.MALFORMED),
    (lambda: "..", Reason.MALFORMED),
    (lambda: token() + ".more", Reason.MALFORMED),
    (lambda: token() + "\n", Reason.MALFORMED),
    (lambda: token().replace(".", ". "), Reason.MALFORMED),
    (lambda: "é" + token(), Reason.MALFORMED),
    (lambda: unsigned(alg="none"), Reason.MALFORMED),
    (lambda: unsigned(alg="none") + "AA", Reason.ALGORITHM),
    (lambda: unsigned(alg="None") + "AA", Reason.ALGORITHM),
    (lambda: unsigned(alg="nOnE") + "AA", Reason.ALGORITHM),
    (lambda: unsigned() + "AA", Reason.ALGORITHM),
    (lambda: unsigned(alg=["RS256"]) + "AA", Reason.ALGORITHM),
    (lambda: unsigned(alg={"RS256": 1}) + "AA", Reason.ALGORITHM),
    (lambda: unsigned(alg="RS256") + "AA", Reason.SIGNATURE),
    (with_public_key_as_secret, Reason.ALGORITHM),
    (lambda: jwt.encode(claims(), "x" * 64, "HS512", headers={"kid": "rsa"}), Reason.ALGORITHM),
    (lambda: token("ec", header={"kid": "rsa"}), Reason.KEY),
    (lambda: token(header={"alg": "RS512", "kid": "ec"}), Reason.KEY),
    (lambda: token("other-rsa"), Reason.KEY),  # that key is for PS256 alone
    (lambda: token("rsa", header={"kid": "made-up"}), Reason.KEY),
    (lambda: token("other-rsa", header={"kid": "rsa"}), Reason.SIGNATURE),
    (changed_payload, Reason.SIGNATURE),
    (lambda: token()[:-22], Reason.SIGNATURE),
    (lambda: token()[:-21], Reason.MALFORMED),  # no end of base64
    (lambda: signed(BODY, header=heading(alg="RS256")), Reason.KEY_ID),
    (lambda: signed(BODY, header=heading(alg="RS256", kid="")), Reason.KEY_ID),
    (lambda: signed(BODY, header=heading(alg="RS256", kid=7)), Reason.MALFORMED),
    (lambda: signed(BODY, header=heading(alg="RS256", kid="rsa", crit=["exp"])), Reason.MALFORMED),
    (lambda: signed(BODY, header=heading(alg="RS256", kid="rsa", crit=["b64"], b64=False)), Reason.MALFORMED),
    (lambda: signed(BODY, header=heading(alg="ES256", kid="rsa")), Reason.KEY),
    (lambda: signed(BODY, header=heading(alg="RS256", kid="other", jwk=jwk("rsa"))), Reason.KEY),
    (lambda: signed(BODY, header=b'["RS256"]'), Reason.MALFORMED),
    (lambda: signed(BODY, header=b"[" * 5_000), Reason.MALFORMED),
    (lambda: signed(BODY, header=b"\xff"), Reason.MALFORMED),
    (lambda: signed(b"not JSON"), Reason.MALFORMED),
    (lambda: signed(b"[]"), Reason.MALFORMED),
    (lambda: signed(b"[" * 5_000), Reason.MALFORMED),
    (lambda: signed(b"\xff\xfe"), Reason.MALFORMED),
    (lambda: token(padding="x" * MOST_CHARACTERS), Reason.TOO_LONG),
    (lambda: "x" * 1_000_000, Reason.TOO_LONG),
    (lambda: token(iss="https://evil.example"), Reason.ISSUER),
    (lambda: token(iss=ISSUER + "/"), Reason.ISSUER),
    (lambda: signed(json.dumps(claims(iss=[ISSUER])).encode()), Reason.ISSUER),
    (lambda: token(iss=None), Reason.CLAIM),
    (lambda: token(aud="other"), Reason.AUDIENCE),
    (lambda: token(aud=[]), Reason.CLAIM),
    (lambda: token(aud=AUDIENCE + "-more"), Reason.AUDIENCE),
    (lambda: token(aud={AUDIENCE: 1}), Reason.AUDIENCE),
    (lambda: token(aud=[AUDIENCE, 5]), Reason.AUDIENCE),
    (lambda: token(aud=None), Reason.CLAIM),
    (lambda: token(exp=None), Reason.CLAIM),
    (lambda: token(exp=NOW - LEEWAY_SECONDS), Reason.EXPIRED),
    (lambda: token(exp=0), Reason.EXPIRED),
    (lambda: token(exp=-1), Reason.EXPIRED),
    (lambda: token(exp=True), Reason.CLAIM),
    (lambda: token(exp="2000000300"), Reason.CLAIM),
    (lambda: token(exp=[int(NOW) + 300]), Reason.CLAIM),
    (lambda: token(exp=1e300), Reason.CLAIM),
    (lambda: token(exp=10**400), Reason.CLAIM),
    (lambda: signed(json.dumps(claims(exp=float("inf"))).encode()), Reason.CLAIM),
    (lambda: signed(json.dumps(claims(exp=float("nan"))).encode()), Reason.CLAIM),
    (lambda: signed(BODY.replace(b"2000000300", b"1e999")), Reason.CLAIM),
    (lambda: token(nbf=NOW + LEEWAY_SECONDS + 1), Reason.EARLY),
    (lambda: token(iat=NOW + LEEWAY_SECONDS + 1), Reason.EARLY),
    (lambda: token(nbf="soon"), Reason.CLAIM),
    (lambda: signed(json.dumps(claims(sub=7)).encode()), Reason.MALFORMED),
    (lambda: token(sub=None), Reason.CLAIM),
    (lambda: token(sub=""), Reason.CLAIM),
    (lambda: token(sub="x" * 256), Reason.CLAIM),
    (lambda: token(tenant=None), Reason.CLAIM),
    (lambda: token(tenant=""), Reason.CLAIM),
    (lambda: token(tenant=5), Reason.CLAIM),
    (lambda: token(tenant="acme/public"), Reason.CLAIM),
    (lambda: token(tenant="acme\n"), Reason.CLAIM),
    (lambda: token(tenant=["acme", "rival"]), Reason.CLAIM),
    (lambda: token(tenant=[]), Reason.CLAIM),
    (lambda: token(tenant={"name": "acme"}), Reason.CLAIM),
    (lambda: token(access_levels=5), Reason.CLAIM),
    (lambda: token(access_levels=True), Reason.CLAIM),
    (lambda: token(access_levels=["public", 5]), Reason.CLAIM),
    (lambda: token(access_levels=[["public"]]), Reason.CLAIM),
    (lambda: token(access_levels={"public": True}), Reason.CLAIM),
    (lambda: token(scope=5), Reason.CLAIM),
    (lambda: token(scope={"query": True}), Reason.CLAIM),
]


@pytest.mark.parametrize(("made", "reason"), TABLE)
async def test_a_token_that_is_not_as_declared_lets_nobody_in(made: Callable[[], str], reason: Reason) -> None:
    presented = made()
    found = await tokens().holder(presented)
    assert isinstance(found, Rejected)
    assert found.reason is reason
    pieces = [piece for piece in presented[:20_000].replace(" ", "").split(".") if len(piece) > 8]
    assert [piece for piece in pieces if piece in found.detail] == []


async def test_the_sentences_name_the_thing_the_cause_and_the_next_step() -> None:
    said = [
        await tokens().holder(made)
        for made in (token(exp=0), token(iss="https://evil.example"), token(aud="other"), token(tenant=[]))
    ]
    assert said == [
        Rejected(Reason.EXPIRED, "The token has expired; get a new one from its issuer."),
        Rejected(Reason.ISSUER, f"The token is not from {ISSUER}; get one there."),
        Rejected(Reason.AUDIENCE, f"The token is not for the audience {AUDIENCE!r}; ask for that one."),
        Rejected(Reason.CLAIM, "The token's claim 'tenant' is not exactly one tenant; let its issuer set it so."),
    ]


async def test_claims_are_read_by_the_names_that_are_declared() -> None:
    named = tokens(tenant_claim="https://acme.example/org", access_levels_claim="groups", scopes_claim="scp")
    given: dict[str, Any] = {"https://acme.example/org": "umbrella", "groups": ["a", "b"], "scp": "admin"}
    made = token(**given)
    assert await named.holder(made) == Holder("ada", "umbrella", frozenset({"a", "b"}), frozenset({"admin"}))


async def test_two_keys_with_one_id_are_both_tried() -> None:
    keys = Keys(jwk("other-rsa", kid="rsa"), jwk("rsa"))
    assert await Tokens(jwt_settings(), keys, now=lambda: NOW).holder(token()) == ADA


LEVELS = st.text(st.sampled_from("abp. "), min_size=0, max_size=3)


@given(levels=st.lists(LEVELS, max_size=5), known=st.lists(LEVELS, max_size=5))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_levels_are_never_wider_than_the_tokens_nor_than_the_corpus(levels: list[str], known: list[str]) -> None:
    found = await tokens().holder(token("ed", access_levels=levels))
    assert isinstance(found, Holder)
    assert found.access_levels == set(levels)
    try:
        scope = Scope.of_reader(Principal("ada", found.tenant, found.access_levels), known_levels=known)
    except ScopeDenied:
        assert set(levels) & set(known) == set()
    else:
        assert set(scope.access_levels) == set(levels) & set(known)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(
    name=st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "tenant", "access_levels", "scope"]),
    value=JSON,
)
@settings(max_examples=200, deadline=None)
async def test_whatever_a_claim_holds_there_is_an_answer_and_never_more_than_was_signed(name: str, value: Any) -> None:
    body = json.dumps({**claims(), name: value}).encode()
    found = await tokens().holder(signed(body, key="ed"))
    if isinstance(found, Holder):
        said = value if isinstance(value, list) else [value]
        levels = said if name == "access_levels" else ["public"]
        assert found.access_levels <= {level for level in levels if isinstance(level, str)}
