"""Reads a service account's key and exchanges it for a token of Google Drive, by the JWT bearer flow (RFC 7523).

Used by `drive_api.py`. The key file is read for each token, so that a key that was replaced is used at once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lectern_runtime.ingest.cloud.rest import Refusal, Rest
from lectern_runtime.ingest.cloud.session import Token
from lectern_runtime.ingest.connector import Clock, SourceUnavailable

SCOPE = "https://www.googleapis.com/auth/drive.readonly"
MAX_KEY_BYTES = 1 << 16
_LIFE_SECONDS = 3600
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SECRET = "spec.googleDrive.credentialsSecretRef"  # noqa: S105 -- the field that names it


class ServiceAccountKey(BaseModel):
    """The parts of a key file that are used."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    client_email: str = Field(min_length=1)
    private_key: str = Field(min_length=1, repr=False)
    private_key_id: str = ""
    token_uri: str = Field(min_length=1)


async def read(path: str) -> ServiceAccountKey:
    """The key as the file has it now. Raises `SourceUnavailable`."""
    try:
        data = await asyncio.to_thread(_beginning, Path(path))
        return ServiceAccountKey.model_validate_json(data)
    except OSError as error:
        cause = error.strerror or "unreadable"
        raise SourceUnavailable(f"the key file {path} cannot be read: {cause}; correct {_SECRET}") from error
    except ValidationError as error:
        missing = ".".join(str(part) for part in error.errors()[0]["loc"]) or "JSON"
        raise SourceUnavailable(
            f"the key file {path} is no service account's key (no usable {missing}); correct the Secret of {_SECRET}"
        ) from None


async def token(key: ServiceAccountKey, rest: Rest, clock: Clock) -> Token:
    """A token for the key's account. Raises `SourceUnavailable` where Google does not take the key."""
    try:
        assertion = jwt.encode(_claims(key, clock), key.private_key, "RS256", headers={"kid": key.private_key_id})
    except (jwt.PyJWTError, ValueError, TypeError):
        raise SourceUnavailable(f"private_key in the Secret of {_SECRET} is no RSA key in PEM; correct it") from None
    form = {"grant_type": _GRANT, "assertion": assertion}
    try:
        return await rest.json(Token, key.token_uri, headers={}, form=form)
    except Refusal as refusal:
        raise SourceUnavailable(
            f"Google gives {key.client_email} no token ({refusal}); see that its key was not removed and that this "
            f"cluster's clock is right, or correct the Secret of {_SECRET}"
        ) from refusal


def _claims(key: ServiceAccountKey, clock: Clock) -> dict[str, str | int]:
    now = int(clock())
    return {
        "iss": key.client_email,
        "scope": SCOPE,
        "aud": key.token_uri,
        "iat": now,
        "exp": now + _LIFE_SECONDS,
    }


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_KEY_BYTES)
