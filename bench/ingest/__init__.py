"""The benchmarks of ingestion: `make bench-ingest`, see docs/reference/benchmarks.md."""
