"""Runs connector and worker once in a process that dies, without any clean-up, at the failpoint it is told.

Started by `test_killed.py`: `python -m lectern_runtime_tests.embed.victim DATA SOURCE POINT NTH`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lectern_runtime_tests.pipeline import connector_settings, pipeline

KILLED = 9


def killer(point: str, nth: int) -> Callable[[str], None]:
    left = nth

    def failpoint(name: str) -> None:
        nonlocal left
        left -= name == point
        if left == 0:
            os._exit(KILLED)

    return failpoint


async def main(root: Path, source: Path, point: str, nth: int) -> None:
    failpoint = killer(point, nth)
    async with pipeline(root, source, failpoint=failpoint) as pipe:
        settings = connector_settings(source, max_document_bytes=4096)
        await pipe.run(settings, failpoint=failpoint)
        await pipe.index(failpoint=failpoint)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
