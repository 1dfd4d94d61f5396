"""Tests of evaluation: from golden sets to scores."""
