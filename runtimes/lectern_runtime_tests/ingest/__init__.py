"""Tests of the connectors and of a run."""
