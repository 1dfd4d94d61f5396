"""The public keys that an issuer signs its tokens with: what a JSON Web Key Set (RFC 7517) says, as values.

`read` turns the bytes of a key set into keys that may verify; everything else in it is passed over. The adapter that
fetches key sets calls it, the query runtime verifies with what it gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
from jwt.algorithms import AllowedPublicKeys

from lectern_contract.errors import DependencyError

DEPENDENCY = "identity provider"
MOST_KEYS = 100
RSA_BITS = range(2048, 8193)
_MOST_ID_CHARACTERS = 512
_RSA: tuple[str, ...] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
ALGORITHMS = frozenset({*_RSA, *(name for names in _CURVES.values() for name in names)})
"""What a token may be signed with: asymmetric algorithms only, for a public key is no secret."""
_SECRET_PARTS = ("d", "k", "p", "q", "dp", "dq", "qi", "oth")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key: its id at the issuer, the algorithms that it may verify, and the key itself."""

    id: str
    algorithms: tuple[str, ...]
    public: AllowedPublicKeys = field(compare=False)


class SigningKeys(Protocol):
    """The keys of one issuer as they are now."""

    async def named(self, key_id: str) -> Sequence[SigningKey]:
        """The keys with this id; none when the issuer has none. Raises `DependencyError` when nobody can say."""

    async def close(self) -> None:
        """Release what it holds."""


def read(data: bytes) -> tuple[SigningKey, ...]:
    """The usable keys of a key set, perhaps none. Raises `DependencyError` for what is no key set, or is too long."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise malformed("it is not JSON") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise malformed("it has no list `keys`")
    if len(entries) > MOST_KEYS:
        raise malformed(f"it has more than {MOST_KEYS} keys")
    return tuple(key for entry in entries if isinstance(entry, dict) and (key := _key(entry)) is not None)


def malformed(cause: str) -> DependencyError:
    """The error for an answer that is no key set, with the cause."""
    return DependencyError(
        f"the issuer's key set cannot be used: {cause}; does spec.auth.jwt.jwksUrl name a JSON Web Key Set?",
        dependency=DEPENDENCY,
    )


def _key(entry: Mapping[str, Any]) -> SigningKey | None:
    """The key of one entry; None for one that is not for verifying, is not public, or is weak or malformed."""
    key_id, operations = entry.get("kid"), entry.get("key_ops")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= _MOST_ID_CHARACTERS:
        return None
    if entry.get("use", "sig") != "sig" or any(part in entry for part in _SECRET_PARTS):
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    algorithms = _algorithms(entry)
    if not algorithms:
        return None
    try:
        public = jwt.PyJWK(dict(entry), algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    if entry["kty"] == "RSA" and getattr(public, "key_size", 0) not in RSA_BITS:
        return None
    return SigningKey(key_id, algorithms, public)


def _algorithms(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What the key may verify: the algorithm that it is for where it says one, else all of its kind."""
    kind, curve, said = entry.get("kty"), entry.get("crv"), entry.get("alg")
    if kind == "RSA":
        possible = _RSA
    elif isinstance(kind, str) and isinstance(curve, str):
        possible = _CURVES.get((kind, curve), ())
    else:
        possible = ()
    return possible if said is None else tuple(name for name in possible if name == said)
