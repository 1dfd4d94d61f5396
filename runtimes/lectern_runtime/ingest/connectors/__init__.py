"""One connector per kind of source: each lists documents and fetches their bytes."""
