"""All that was seen of one KnowledgeBase outside the cluster, as one value for the policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lectern_contract.references import Reference
from lectern_contract.resources.status import DocumentCounts, SourceDocuments
from lectern_operator.facts import Fact, Unknown
from lectern_operator.facts.broker import BrokerState
from lectern_operator.facts.outside import Content, EmbedderFacts
from lectern_operator.facts.vector_store import StoreState

NOT_ASKED = Unknown("it was not asked")


@dataclass(frozen=True, slots=True)
class External:
    """What was seen; `broker_failures` and `store_failures` are what came of steps that were not done."""

    references: tuple[Reference, ...] = ()
    contents: Mapping[tuple[str, str], Fact[Content | None]] = field(default_factory=dict)
    embedder: Fact[EmbedderFacts] = NOT_ASKED
    broker: Fact[BrokerState] = NOT_ASKED
    store: Fact[StoreState] = NOT_ASKED
    documents: Fact[DocumentCounts] = NOT_ASKED
    by_source: Fact[tuple[SourceDocuments, ...]] = NOT_ASKED
    broker_failures: tuple[Unknown, ...] = ()
    store_failures: tuple[Unknown, ...] = ()
