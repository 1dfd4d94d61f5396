from __future__ import annotations

from pathlib import Path

import pytest

from lectern_runtime.adapters.edge import EdgeStore
from lectern_runtime_tests.contracts.vector_scope_contract import VectorScopeContract
from lectern_runtime_tests.contracts.vector_store_contract import MakeStore, VectorStoreContract


class TestEdgeStore(VectorStoreContract, VectorScopeContract):
    @pytest.fixture
    def make_store(self, quick_path: Path) -> MakeStore:
        return lambda: EdgeStore.open(quick_path / "store")
