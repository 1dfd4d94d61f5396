"""What holds for all tests: names that are the same in every process, and logging that no test leaves changed."""

import logging
from collections.abc import Iterator

import pytest


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes never name a test: what was compressed at import carries the second in which that was done.

    pytest-xdist refuses to run what its workers collected apart. pytest numbers those that share a name; ``None``
    leaves every other value to it.
    """
    return argname if isinstance(val, bytes | bytearray) else None


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Take back what a program that ran in this process did to the root logger."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for added in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(added)
