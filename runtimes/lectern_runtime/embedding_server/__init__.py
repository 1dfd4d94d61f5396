"""An embedding model behind the HTTP API of Text Embeddings Inference (TEI), for trials and tests.

`lectern serve-embeddings` composes it with the MiniLM of the embedded mode. What that model cannot do is refused with
TEI's own errors.
"""
