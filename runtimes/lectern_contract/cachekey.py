"""The key of a cached answer: everything that decides what the answer may be.

Two questions share an answer only when reader, corpus, model, prompt and wording agree; forgetting
one of these parts is how one tenant is given another's answer.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerKeyParts:
    """What decides an answer apart from the question's wording."""

    endpoint_revision: str
    scope_digests: Mapping[str, str]
    collections: Mapping[str, str]
    model: str
    prompt_version: str
    top_k: int


def normalised(question: str) -> str:
    """The question without differences that no reader would notice: form, case, runs of white space."""
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())


def answer_key(parts: AnswerKeyParts, question: str) -> str:
    """Hex sha256 over all parts and the normalised question, unambiguously encoded."""
    encoded = json.dumps(
        [
            parts.endpoint_revision,
            sorted(parts.scope_digests.items()),
            sorted(parts.collections.items()),
            parts.model,
            parts.prompt_version,
            parts.top_k,
            normalised(question),
        ],
        ensure_ascii=True,
    )
    return hashlib.sha256(encoded.encode()).hexdigest()
