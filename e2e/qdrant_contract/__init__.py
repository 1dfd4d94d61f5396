"""What Lectern relies on of a Qdrant server, as tests over `qdrant_client` and nothing else.

They run against the server that QDRANT_URL (and QDRANT_API_KEY) names, in cluster mode, with one node or more; without
them against the double `e2e.testbed.qdrant_double`. The behaviours and figures were seen on a real server 1.19.0 (one
node, cluster mode, November 2026), the error statuses are those of its source; what a test run proves, it proves of
the server that it ran against. Every collection has a name of its own and is removed after its test.
"""
