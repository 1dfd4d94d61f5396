"""What is measured of an embedding server decides; what is asked for does not."""

from __future__ import annotations

import pytest

from lectern_contract.conditions import Verdict
from lectern_contract.resources.reasons import ConditionType, Reason
from lectern_operator.facts import Fact, Known, Unknown
from lectern_operator.facts.outside import EmbedderFacts, Unauthorised
from lectern_operator.policies import embedding
from lectern_operator_tests import worlds

UP = Verdict(ConditionType.EMBEDDING_READY, "True", Reason.DEPLOYMENT_AVAILABLE, "1 of 1 replicas are available")
ROLLING = Verdict(ConditionType.EMBEDDING_READY, "False", Reason.DEPLOYMENT_PROGRESSING, "0 of 1")
AS_ASKED = EmbedderFacts(384, 256, 32)


@pytest.mark.parametrize(
    ("workload", "fact", "status", "reason"),
    [
        (UP, Known(AS_ASKED), "True", Reason.EMBEDDER_VERIFIED),
        (None, Known(AS_ASKED), "True", Reason.EMBEDDER_VERIFIED),
        (None, Known(EmbedderFacts(384, None, None)), "True", Reason.EMBEDDER_VERIFIED),
        (UP, Known(EmbedderFacts(768, 256, 32)), "False", Reason.DIMENSION_MISMATCH),
        (ROLLING, Known(EmbedderFacts(768, 256, 32)), "False", Reason.DIMENSION_MISMATCH),
        (UP, Known(EmbedderFacts(384, 128, 32)), "False", Reason.EMBEDDER_MISMATCH),
        (ROLLING, Known(AS_ASKED), "False", Reason.DEPLOYMENT_PROGRESSING),
        (ROLLING, Unknown("no pod"), "False", Reason.DEPLOYMENT_PROGRESSING),
        (UP, Unknown("it does not answer"), "False", Reason.EMBEDDER_UNREACHABLE),
        (None, Unauthorised("HTTP 401"), "False", Reason.CREDENTIALS_REJECTED),
    ],
)
def test_verdict(workload: Verdict | None, fact: Fact[EmbedderFacts], status: str, reason: Reason) -> None:
    found = embedding.verdict(worlds.knowledge_base(), workload, fact)
    assert (found.type, found.status, found.reason) == (ConditionType.EMBEDDING_READY, status, reason)
    assert found.message


def test_a_length_is_known_only_when_it_is_the_one_of_the_spec() -> None:
    kb = worlds.knowledge_base()
    assert embedding.dimensions(kb, Known(AS_ASKED)) == Known(384)
    assert isinstance(embedding.dimensions(kb, Known(EmbedderFacts(768, 256, 32))), Unknown)
    assert embedding.dimensions(kb, Unknown("away")) == Unknown("away")
