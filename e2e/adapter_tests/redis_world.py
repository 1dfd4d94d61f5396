"""What the tests of the Redis adapters share: settings for a server of the testbed, and waiting for its moods."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.testbed.redis import Redis
from lectern_contract.errors import DependencyError
from lectern_contract.settings_parts import RedisSettings

BOUND = 30.0
"""Seconds for an adapter to notice what became of its server."""


@dataclass
class Clock:
    """The clock of an adapter's pauses, so that no test waits for one."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def settings(
    server: Redis,
    directory: Path,
    *,
    login: tuple[str | None, str] | None = None,
    trusted: bool = True,
    url: str | None = None,
) -> RedisSettings:
    """Settings that let the owner in, or who `login` (user, password) names; `trusted` hands the authority on."""
    username, password = login or (server.username, server.password)
    return RedisSettings(
        url=url or server.url,
        username_file=_file(directory, username),
        password_file=_file(directory, password),
        ca_file=str(server.ca) if server.ca and trusted else None,
    )


async def refused(call: Callable[[], Awaitable[object]]) -> str:
    """Return the words with which a call says that the server is not to be used."""
    with pytest.raises(DependencyError) as refusal:
        await call()
    assert refusal.value.dependency == "redis"
    return str(refusal.value)


def rewrite(asked: RedisSettings, password: str | None) -> None:
    """Put another password into the file that the settings name, or take the file away."""
    assert asked.password_file is not None
    Path(asked.password_file).unlink()
    if password is not None:
        Path(asked.password_file).write_text(password)


async def until_works(call: Callable[[], Awaitable[object]]) -> None:
    """Repeat a call while it says that the server is not to be used."""
    async with asyncio.timeout(BOUND):
        while True:
            try:
                await call()
                return
            except DependencyError:
                await asyncio.sleep(0.05)


def _file(directory: Path, content: str | None) -> str | None:
    if content is None:
        return None
    path = directory / uuid.uuid4().hex
    path.write_text(content + "\n")
    return str(path)
