"""Names of tests that are the same in every process: pytest-xdist refuses to run what its workers collected apart."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes never name a test: what was compressed at import carries the second in which that was done.

    pytest numbers those that share a name. ``None`` leaves every other value to pytest.
    """
    return argname if isinstance(val, bytes | bytearray) else None
