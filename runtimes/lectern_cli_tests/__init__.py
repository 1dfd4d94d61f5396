"""Tests of the `lectern` command."""
