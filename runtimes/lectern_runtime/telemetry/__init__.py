"""Metrics and logs that every runtime writes in the same form."""
