"""Tests of parsing, chunking and the worker."""
