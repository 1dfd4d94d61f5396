"""Query: turns an HTTP question into an answer with citations."""
