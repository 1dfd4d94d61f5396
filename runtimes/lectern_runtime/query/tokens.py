"""A bearer token (JWT, RFC 7519) of the declared issuer, verified and read: whom it speaks for, and what for.

`principals` calls `Tokens.holder` with what a request presents. A token counts whole or not at all: one claim that is
not as declared, and nobody is let in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt
from pydantic import TypeAdapter, ValidationError

from lectern_contract.query_settings import JwtSettings
from lectern_contract.resources.common import PartitionPart
from lectern_runtime.api_keys import Holder
from lectern_runtime.signing_keys import ALGORITHMS, SigningKey, SigningKeys

MOST_CHARACTERS = 16 * 1024
LEEWAY_SECONDS = 30.0
"""How far the issuer's clock may be from ours."""
_MOST_SUBJECT_CHARACTERS = 255
_FURTHEST_MOMENT = 1e12
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TENANT: TypeAdapter[str] = TypeAdapter(PartitionPart)
_FAULTS = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class Reason(StrEnum):
    """Why a token is not accepted, one word for the log."""

    TOO_LONG = "TokenTooLong"
    MALFORMED = "TokenMalformed"
    ALGORITHM = "AlgorithmNotAllowed"
    KEY_ID = "KeyIdMissing"
    KEY = "SigningKeyUnknown"
    SIGNATURE = "SignatureWrong"
    ISSUER = "IssuerWrong"
    AUDIENCE = "AudienceWrong"
    EXPIRED = "TokenExpired"
    EARLY = "TokenNotYetValid"
    CLAIM = "ClaimWrong"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a token is not accepted; `detail` is for the caller and quotes nothing of the token."""

    reason: Reason
    detail: str


class _Faulty(Exception):
    """Carries a rejection out of the reading of a token."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason, detail)


class Tokens:
    """The tokens of one issuer; `now` in seconds since 1970."""

    def __init__(self, settings: JwtSettings, keys: SigningKeys, *, now: Callable[[], float]) -> None:
        self._settings = settings
        self._keys = keys
        self._now = now

    @property
    def issuer(self) -> str:
        """Whose tokens these are."""
        return self._settings.issuer

    async def holder(self, token: str) -> Holder | Rejected:
        """Whom `token` speaks for. Raises `DependencyError` when the issuer's keys are needed and cannot be read."""
        try:
            key_id, algorithm = _heading(token)
            keys = [key for key in await self._keys.named(key_id) if algorithm in key.algorithms]
            claims = self._verified(token, keys, algorithm)
            self._check_times(claims)
            return self._read(claims)
        except _Faulty as faulty:
            return faulty.rejected

    def _verified(self, token: str, keys: list[SigningKey], algorithm: str) -> Mapping[str, Any]:
        """The claims, once signature, issuer and audience are as they have to be."""
        if not keys:
            raise _Faulty(
                Reason.KEY, "The token is signed with a key that its issuer does not publish; get a new token."
            )
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key.public,
                    [algorithm],
                    issuer=self._settings.issuer,
                    audience=self._settings.audience,
                    options={
                        "require": ["iss", "aud", "exp", "sub"],
                        # Ours to check, by the clock that the process was given.
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            except _FAULTS as error:
                raise self._fault(error) from None
        raise _Faulty(Reason.SIGNATURE, "The token's signature is not its issuer's; get a new token.")

    def _fault(self, error: Exception) -> _Faulty:
        """What the library found, in our words: its own may quote the token."""
        match error:
            case jwt.InvalidIssuerError():
                return _Faulty(Reason.ISSUER, f"The token is not from {self.issuer}; get one there.")
            case jwt.InvalidAudienceError():
                audience = self._settings.audience
                return _Faulty(Reason.AUDIENCE, f"The token is not for the audience {audience!r}; ask for that one.")
            case jwt.MissingRequiredClaimError():
                return _Faulty(Reason.CLAIM, f"The token lacks the claim {error.claim!r}; let its issuer add it.")
            case _:
                return _Faulty(Reason.MALFORMED, "The token is no well-formed JWT; get a new one from its issuer.")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._now()
        if _moment(claims, "exp") <= now - LEEWAY_SECONDS:
            raise _Faulty(Reason.EXPIRED, "The token has expired; get a new one from its issuer.")
        for name in ("nbf", "iat"):
            if claims.get(name) is not None and _moment(claims, name) > now + LEEWAY_SECONDS:
                raise _Faulty(Reason.EARLY, f"The token is not valid yet by its claim {name!r}; compare the clocks.")

    def _read(self, claims: Mapping[str, Any]) -> Holder:
        """What the claims say. Levels that no corpus knows are harmless: a reader's scope takes the common ones."""
        named = self._settings
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_SUBJECT_CHARACTERS:
            raise _wrong("sub", f"a text of 1 to {_MOST_SUBJECT_CHARACTERS} characters")
        levels = _texts(claims, named.access_levels_claim)
        return Holder(
            id=subject,
            tenant=_tenant(claims, named.tenant_claim),
            access_levels=frozenset(levels),
            scopes=frozenset(scope for text in _texts(claims, named.scopes_claim) for scope in text.split()),
        )


def _heading(token: str) -> tuple[str, str]:
    """The key id and the algorithm that the token says it is signed with."""
    if len(token) > MOST_CHARACTERS:
        raise _Faulty(Reason.TOO_LONG, f"The token has more than {MOST_CHARACTERS} characters; get a shorter one.")
    try:
        header = jwt.get_unverified_header(token) if _TOKEN.fullmatch(token) else None
    except _FAULTS:
        header = None
    if header is None:
        raise _Faulty(Reason.MALFORMED, "The token is no well-formed JWT; get a new one from its issuer.")
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        offer = ", ".join(sorted(ALGORITHMS))
        raise _Faulty(Reason.ALGORITHM, f"The token's algorithm is not allowed; let its issuer use one of {offer}.")
    if not isinstance(key_id, str) or not key_id:
        raise _Faulty(Reason.KEY_ID, "The token does not say which key signed it; let its issuer set `kid`.")
    return key_id, algorithm


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FURTHEST_MOMENT:
        raise _wrong(name, "a number of seconds since 1970")
    return float(value)


def _tenant(claims: Mapping[str, Any], name: str) -> str:
    """The one tenant; some issuers write every claim of a user as a list."""
    found = _texts(claims, name)
    try:
        (tenant,) = found
        return _TENANT.validate_python(tenant)
    except (ValueError, ValidationError):
        raise _wrong(name, "exactly one tenant") from None


def _texts(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A claim that is a text or a list of texts; nothing where there is none."""
    value = claims.get(name)
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _wrong(name, "a text or a list of texts")
    return tuple(texts)


def _wrong(name: str, wanted: str) -> _Faulty:
    return _Faulty(Reason.CLAIM, f"The token's claim {name!r} is not {wanted}; let its issuer set it so.")
