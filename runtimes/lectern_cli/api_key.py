"""`lectern api-key`: makes a key and the file that lets its holder in, and keeps neither."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from lectern_contract.errors import ConfigurationError
from lectern_runtime import api_keys
from lectern_runtime.api_keys import KeyFile


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; `expires_at` is RFC 3339 with a zone, None means never."""

    id: str
    tenant: str
    access_levels: tuple[str, ...]
    scopes: tuple[str, ...]
    expires_at: str | None


@dataclass(frozen=True)
class Made:
    """The key, which is told once, and the content of its file."""

    key: str
    file: str


def make(wanted: Wanted) -> Made:
    """A new key. Raises `ConfigurationError` for an id, a moment or a name that cannot be."""
    if not api_keys.is_id(wanted.id):
        raise ConfigurationError(
            f"--id {wanted.id}: use small letters, digits and hyphens, at most 63; it names the file in the Secret"
        )
    key, digest = api_keys.new_key(wanted.id)
    content: dict[str, object] = {
        "sha256": digest,
        "tenant": wanted.tenant,
        "access_levels": list(wanted.access_levels),
        "scopes": list(wanted.scopes),
    }
    if wanted.expires_at is not None:
        content["expires_at"] = _moment(wanted.expires_at).isoformat()
    text = json.dumps(content)
    try:
        KeyFile.model_validate_json(text)
    except ValueError as error:
        raise ConfigurationError(
            "--tenant, --access-level and --scope: give at least one of each, of 1 to 63 characters; a tenant and a "
            "level are letters, digits, '.', '_' and '-', as in spec.partition"
        ) from error
    return Made(key, text)


def explained(wanted: Wanted) -> str:
    """What a person has to do with it, for standard error."""
    return (
        f"The key is shown once and kept nowhere. Put the line below it into the Secret, or the directory, of API keys "
        f"as the file {wanted.id}: kubectl create secret generic NAME --from-literal={wanted.id}='...'"
    )


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--expires-at {text}: write it as in 2027-01-31T00:00:00Z") from error
    if found.tzinfo is None:
        raise ConfigurationError(f"--expires-at {text}: say the zone, as in {text}Z")
    return found
