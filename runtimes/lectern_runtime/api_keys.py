"""API keys from a directory: a Secret mounted as a whole, with one file for each key, named by the key's id.

A key reads `lk_<id>_<secret>`; its file holds the sha256 of the whole key, what its holder may reach, and what for.
The receiver of a push source and the query runtime let callers in by it. Files are read again when they change, so
that a key is rotated or withdrawn without a restart.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from lectern_contract.errors import DependencyError
from lectern_contract.resources.common import PartitionPart

PUSH = "push"
"""Scope of a key whose holder may put, list and delete documents of a push source."""
MAX_KEYS = 1_000
MAX_FILE_BYTES = 4_096
LOOK_SECONDS = 1.0
"""How long a change of the directory may go unseen."""
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"lk_([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)_([A-Za-z0-9_-]{32,128})")
_SECRET_BYTES = 32
_NOBODY = "0" * 64
_Name = Annotated[str, StringConstraints(min_length=1, max_length=63)]
_Fingerprint = tuple[tuple[str, int, int, int], ...]

logger = logging.getLogger("lectern.api-keys")


class KeyFile(BaseModel):
    """What the file of one key says. `expires_at` is RFC 3339 with a zone; left out means never."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Hex digest of the whole key.")
    tenant: PartitionPart
    access_levels: tuple[PartitionPart, ...] = Field(min_length=1, max_length=32)
    scopes: tuple[_Name, ...] = Field(min_length=1, max_length=16)
    expires_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """The verified holder of a key: its id, whom it speaks for, and what for."""

    id: str
    tenant: str
    access_levels: frozenset[str]
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """Why nobody was let in, one word for the audit; `claimed` is the id of a key that exists, or empty."""

    reason: str
    claimed: str = ""


def presented(authorization: str) -> str | None:
    """The key in the value of an Authorization header, whether it is a good one or not; None where there is none."""
    scheme, _, value = authorization.strip().partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip().startswith("lk_") else None


def is_id(text: str) -> bool:
    """Whether `text` can be the id of a key: small letters, digits and hyphens, at most 63."""
    return _ID.fullmatch(text) is not None


def new_key(key_id: str) -> tuple[str, str]:
    """A new key with the id, and the sha256 to put into its file. The key itself must be kept nowhere here."""
    if not is_id(key_id):
        raise ValueError(f"{key_id!r} is no id of a key")
    key = f"lk_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return key, hashlib.sha256(key.encode()).hexdigest()


class ApiKeys:
    """The keys of one directory as it is now; `on_malformed` is told the names of files that say nothing usable."""

    def __init__(
        self,
        directory: Path,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        on_malformed: Callable[[frozenset[str]], None] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._now = now
        self._clock = clock
        self._on_malformed = on_malformed
        self._keys: Mapping[str, KeyFile] = {}
        self._malformed: frozenset[str] = frozenset()
        self._seen: _Fingerprint | None = None
        self._looked = float("-inf")
        self._looking = asyncio.Lock()

    async def holder(self, key: str) -> Holder | NotAccepted:
        """Who holds `key`. Raises `DependencyError` when the directory cannot be read."""
        await self._look()
        match = _KEY.fullmatch(key)
        found = self._keys.get(match.group(1)) if match else None
        digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
        same = hmac.compare_digest(digest, found.sha256 if found is not None else _NOBODY)
        if match is None or found is None:
            return NotAccepted("KeyUnknown")
        if not same:
            return NotAccepted("KeyWrong", match.group(1))
        if found.expires_at is not None and found.expires_at.timestamp() <= self._now():
            return NotAccepted("KeyExpired", match.group(1))
        return Holder(match.group(1), found.tenant, frozenset(found.access_levels), frozenset(found.scopes))

    async def _look(self) -> None:
        """Read the directory again if it changed; at most once in `LOOK_SECONDS`."""
        async with self._looking:
            if self._clock() - self._looked < LOOK_SECONDS:
                return
            try:
                seen = await asyncio.to_thread(_fingerprint, self._directory)
                if seen != self._seen:
                    keys, malformed = await asyncio.to_thread(_read, self._directory, seen)
                    self._take(keys, malformed)
                    self._seen = seen
            except OSError as error:
                raise DependencyError(
                    f"the API keys in {self._directory} cannot be read: {error.strerror}; is the Secret there?",
                    dependency="API keys",
                ) from error
            self._looked = self._clock()

    def _take(self, keys: Mapping[str, KeyFile], malformed: frozenset[str]) -> None:
        for name in sorted(malformed - self._malformed):
            logger.warning("a file of the API keys says nothing usable and lets nobody in", extra={"file": name[:80]})
        self._keys, self._malformed = keys, malformed
        self._on_malformed(malformed)


def _fingerprint(directory: Path) -> _Fingerprint:
    """Name, time, size and number of each file. A Secret is changed by turning a link, which makes other files."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                state = entry.stat()
            except FileNotFoundError:
                continue  # it went while we looked, and the next look sees so
            found.append((entry.name, state.st_mtime_ns, state.st_size, state.st_ino))
    return tuple(sorted(found))


def _read(directory: Path, seen: _Fingerprint) -> tuple[dict[str, KeyFile], frozenset[str]]:
    """The keys in the first `MAX_KEYS` files, and the names of those that are none."""
    keys: dict[str, KeyFile] = {}
    malformed = {name for name, *_ in seen[MAX_KEYS:]}
    for name, *_ in seen[:MAX_KEYS]:
        found = _key_file(directory / name) if is_id(name) else None
        if found is None:
            malformed.add(name)
        else:
            keys[name] = found
    return keys, frozenset(malformed)


def _key_file(path: Path) -> KeyFile | None:
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        return KeyFile.model_validate_json(data) if len(data) <= MAX_FILE_BYTES else None
    except (OSError, ValidationError):
        return None
