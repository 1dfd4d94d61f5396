"""Sockets of an aiohttp session that are certainly closed when it ends.

aiohttp leaves cancelled connections to a TLS farewell that outlives the loop; Python then complains of a socket that
nobody closed, in some test that has nothing to do with it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import aiohttp

CLOSE_SECONDS = 2.0


class Sockets:
    """Every socket that a session opened; hand `open` to its connector and await `closed` after it."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []

    def open(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Open a socket for a connection to `address`."""
        self._open = [each for each in self._open if each.fileno() != -1]
        self._open.append(socket.socket(family=address[0], type=address[1], proto=address[2]))
        return self._open[-1]

    async def closed(self) -> None:
        """Wait until all are closed, cutting those that are not."""
        deadline = time.monotonic() + CLOSE_SECONDS
        while (left := [each for each in self._open if each.fileno() != -1]) and time.monotonic() < deadline:
            for each in left:
                with suppress(OSError):  # no longer connected
                    each.shutdown(socket.SHUT_RDWR)
            await asyncio.sleep(0.005)
