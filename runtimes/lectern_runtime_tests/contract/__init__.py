"""Tests of lectern_contract."""
