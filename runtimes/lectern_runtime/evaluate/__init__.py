"""Evaluation: turns golden sets into scores."""
