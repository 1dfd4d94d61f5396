"""Contract suites: what every adapter of a port promises, written once and run against each of them.

An adapter's test module derives a class from the suite and gives it the fixture that opens its storage.
"""

import pytest

for _suite in ("answer_cache", "blob", "log", "vector_scope", "vector_store", "vector_version"):
    pytest.register_assert_rewrite(f"{__name__}.{_suite}_contract")
