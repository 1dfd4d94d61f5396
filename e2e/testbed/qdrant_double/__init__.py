"""A DOUBLE of a Qdrant server 1.19 in cluster mode with one node: its REST interface over Qdrant's engine in process.

`with qdrant_double(directory) as qdrant:` starts it as a process of its own; tests point `qdrant_client` to
`qdrant.url`. `e2e/qdrant_contract` is what it promises, written to run against a real server as well.

What it shows: collections, their settings and metadata, aliases, payload indexes, strict mode (limits of requests and
filters on unindexed fields), shard keys, routing with a fallback key, promotion of a tenant by `replicate_points`,
conditional upserts, filters, payload operations, scroll, count, facets, dense and sparse search, fusion, IDF corpora,
API keys, restarts (kill -9 loses no acknowledged write) and Qdrant's error statuses.

What it does not show: raft and several nodes, replicas and their states but Active and Partial, gRPC, JWT, TLS, rate
limits and limits of a collection's size, snapshots, optimisations (search is always exact; HNSW, quantisation and
memory settings are stored and returned only), `wait=false` that really defers a write, IDF over several shards (each
counts its own), fusion other than RRF over several shards, booleans in `match`, recommendations, discovery, groups,
formulas, MMR and inference other than `qdrant/bm25`. What it does not speak it refuses with status 501 and says so;
it is stricter than the server in one respect: a field that the request's schema does not know is refused.
"""

from e2e.testbed.qdrant_double.double import QdrantDouble, qdrant_double

__all__ = ["QdrantDouble", "qdrant_double"]
