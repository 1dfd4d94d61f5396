"""One module per family of HTTP routes of the query service."""
