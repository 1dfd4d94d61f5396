"""Tests of lectern_contract, lectern_runtime and lectern_cli."""
