"""Tests of the embedding server, with a model of their own."""
