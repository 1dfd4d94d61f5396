"""A Redis server as a resource names it, for the answer cache and for the cache of embeddings."""

from __future__ import annotations

from pydantic import Field

from lectern_contract.resources.common import CredentialsRef, RedisUrl, SecretKeyRef, SpecModel


class Redis(SpecModel):
    """A Redis server."""

    url: RedisUrl = Field(description="URL of the server, without credentials.")
    credentials_secret_ref: CredentialsRef | None = Field(
        default=None, description="Secret with the keys `username` and `password`."
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate authority of the server; left out means the system's."
    )
