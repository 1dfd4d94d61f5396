"""Tests of lectern_operator, and guards of the repository's layout."""
