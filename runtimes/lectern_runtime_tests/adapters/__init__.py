"""Tests of the adapters: each by itself, and against the contract suite of its port."""
