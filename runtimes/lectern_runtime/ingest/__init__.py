"""Ingestion: turns a source's listing into document messages, one for each change."""
