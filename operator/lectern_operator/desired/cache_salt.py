"""The secret from which the query service makes a cache salt for each tenant.

A vLLM server shares the computed prefixes of its prompts among all who ask; how fast an answer comes would tell one
tenant what another has asked. Requests with different salts share nothing.
"""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.names import Role
from lectern_operator.desired.metadata import Manifest, Owner, metadata, sealed

KEY = "cache-salt"
BYTES = 32


def cache_salt(of: Owner, salt: str) -> Manifest:
    """Return the Secret with `salt`, `BYTES` random bytes in base64; made once, it is never changed."""
    return sealed(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata(of, names.child(of.name, Role.GENERATOR), Role.GENERATOR),
            "type": "Opaque",
            "immutable": True,
            "data": {KEY: salt},
        }
    )
