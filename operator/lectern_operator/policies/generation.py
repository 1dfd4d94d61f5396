"""Which index generation of a KnowledgeBase answers, and whether it still fits the spec."""

from __future__ import annotations

from lectern_contract import names
from lectern_contract.generation import index_identity
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import Reason
from lectern_operator.facts import Fact, Known
from lectern_operator.facts.vector_store import ObservedCollection, StoreState
from lectern_operator.policies import summary

FIRST = 1


def answering(kb: KnowledgeBase, store: Fact[StoreState]) -> int:
    """Return the generation behind the alias, else what the status remembers, else the first."""
    if isinstance(store, Known):
        behind = store.value.aliases.get(names.alias(kb.namespace, kb.name), "")
        found = store.value.collections.get(behind)
        if found is not None and found.owner is not None and _is_ours(kb, found):
            return found.owner.generation
    return kb.status.active_generation or FIRST


def identity(kb: KnowledgeBase, store: Fact[StoreState]) -> str | None:
    """Return what the answering index was built for, as its collection says; None where there is none, or no answer."""
    if not isinstance(store, Known):
        return None
    found = store.value.collections.get(names.collection(kb.namespace, kb.name, answering(kb, store)))
    return found.owner.index_identity if found is not None and found.owner is not None and _is_ours(kb, found) else None


def rebuilt(kb: KnowledgeBase, store: Fact[StoreState]) -> summary.Blocked | None:
    """Say why the index that answers cannot be kept with the spec as it is now; None when it can.

    The note on the collection decides; while the store cannot be read, the status remembers it. Servers and workers
    are left as they are: with another model they would write vectors that nobody can compare.
    """
    built = identity(kb, store) if isinstance(store, Known) else kb.status.index_identity
    if built is None or built == index_identity(kb.spec):
        return None
    message = (
        f"the index was built for other settings (identity {built}, now {index_identity(kb.spec)}): model, revision, "
        "prefixes, dimensions, chunking, terms and shardBy of a filled knowledge base cannot change in this release; "
        "what runs is left as it is. Take the change back, or make another KnowledgeBase and let the endpoint name it"
    )
    return summary.Blocked(Reason.COLLECTION_CHANGED, message, stalled=True)


def _is_ours(kb: KnowledgeBase, found: ObservedCollection) -> bool:
    owner = found.owner
    return owner is not None and (owner.namespace, owner.knowledge_base) == (kb.namespace, kb.name)
