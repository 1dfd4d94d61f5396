"""The index identity: a digest over all that changes vectors or chunks.

When a KnowledgeBase's identity differs from the active generation's, a new generation is built beside
it and the alias moves when that one is complete. Fields that are not in here can change in place.
"""

from __future__ import annotations

import hashlib
import json

from lectern_contract.resources.knowledge_base import KnowledgeBaseSpec

PARSER_VERSION = 2
"""Raised whenever the same bytes would give other text or other chunks than before."""


def index_identity(spec: KnowledgeBaseSpec) -> str:
    """Hex sha256 (16 digits) of model, prefixes, chunking, terms, sharding, parser version, OCR and masking.

    What is off is left out, so that a field that a release adds changes no identity.
    """
    parts: dict[str, object] = {
        "embedding": spec.embedding.model_dump(
            include={
                "model",
                "revision",
                "dimensions",
                "document_prefix",
                "query_prefix",
                "max_input_tokens",
            }
        ),
        "sparse": spec.sparse.model_dump(),
        "chunking": spec.chunking.model_dump(),
        "shard_by": spec.partitioning.shard_by,
        "parser": PARSER_VERSION,
    }
    if spec.parsing.ocr is not None:
        parts["ocr"] = spec.parsing.ocr.model_dump()
    if spec.data_policy.masking:
        parts["masking"] = [rule.model_dump() for rule in spec.data_policy.masking]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
