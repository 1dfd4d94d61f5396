"""Tests of the query runtime."""
