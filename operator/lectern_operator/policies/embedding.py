"""Whether the embedding server of a KnowledgeBase runs and really computes what the spec says.

The server's word decides: a collection is made for the vector length that was measured, never for one that was only
asked for.
"""

from __future__ import annotations

from lectern_contract.conditions import Verdict
from lectern_contract.resources import KnowledgeBase
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import EmbedderFacts, Unauthorised

ASPECT = ConditionType.EMBEDDING_READY


def verdict(kb: KnowledgeBase, workload: Verdict | None, embedder: Fact[EmbedderFacts]) -> Verdict:
    """Judge the server; `workload` is about the Deployment of a server that we run, None for one elsewhere."""
    if workload is not None and workload.status != "True" and not isinstance(embedder, Known):
        return workload
    match embedder:
        case Unauthorised(reason):
            return Verdict(ASPECT, "False", Reason.CREDENTIALS_REJECTED, f"{reason}; check the Secret that is named")
        case Unknown(reason):
            message = f"{reason}: no collection is made before its vectors have been measured; it is asked again"
            return Verdict(ASPECT, "False", Reason.EMBEDDER_UNREACHABLE, message)
        case Known(value=facts):
            if (fault := _fault(kb, facts)) is not None:
                return fault
            if workload is not None and workload.status != "True":
                return workload
            return Verdict(ASPECT, "True", Reason.EMBEDDER_VERIFIED, _told(kb, facts))


def dimensions(kb: KnowledgeBase, embedder: Fact[EmbedderFacts]) -> Fact[int]:
    """Return the vector length that a collection may be made for, or why there is none."""
    match embedder:
        case Unknown():
            return embedder
        case Known(value=facts):
            fault = _fault(kb, facts)
            return Known(facts.dimensions) if fault is None else Unknown(fault.message)


def _fault(kb: KnowledgeBase, facts: EmbedderFacts) -> Verdict | None:
    spec = kb.spec.embedding
    if facts.dimensions != spec.dimensions:
        message = (
            f"the server returns vectors of length {facts.dimensions}, spec.embedding.dimensions says "
            f"{spec.dimensions}: correct the field, or name the model that was meant; nothing is written meanwhile"
        )
        return Verdict(ASPECT, "False", Reason.DIMENSION_MISMATCH, message)
    if facts.max_input_tokens is not None and facts.max_input_tokens < spec.max_input_tokens:
        message = (
            f"the server takes {facts.max_input_tokens} tokens, spec.embedding.maxInputTokens says "
            f"{spec.max_input_tokens}: longer chunks would be refused; lower the field (and chunking.size below it)"
        )
        return Verdict(ASPECT, "False", Reason.EMBEDDER_MISMATCH, message)
    return None


def _told(kb: KnowledgeBase, facts: EmbedderFacts) -> str:
    longest = facts.max_input_tokens
    tokens = f", inputs of up to {longest} tokens" if longest is not None else ""
    batch = f", {facts.max_batch} of them a request" if facts.max_batch is not None else ""
    return f"{kb.spec.embedding.model}: vectors of length {facts.dimensions}{tokens}{batch}"
