"""Embedding: turns document messages into chunks with vectors in the store."""
