"""What a model accepts the real API server accepts, and the reverse; and both fill in the same defaults.

Two ways to look for a difference, each judged by the server as a dry run: a sweep over every bound of every field
of the full samples (`bounds`), and combinations that Hypothesis draws (`specs`), right ones and slightly wrong
ones. A difference is shown with its document, the smallest that Hypothesis finds, and both verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from e2e.api_tests.api import Answer, Api
from e2e.api_tests.bounds import Variant, variants
from e2e.api_tests.samples import SAMPLES, documents, dumped
from e2e.api_tests.specs import specs
from lectern_contract import resources
from lectern_contract.errors import ResourceInvalid
from lectern_operator import crd

EXAMPLES = 250
# Each verdict is given by at least this share of the examples, or the test says little about one direction.
SHARE = 0.25


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(resources.KINDS))
def test_model_and_server_agree_on_every_bound_of_every_field(kind: str, api: Api) -> None:
    schema = crd.root_schema(resources.KINDS[kind])["properties"]["spec"]
    samples = [sample for _, sample in documents(SAMPLES / "full") if sample["kind"] == kind]
    bases, swept = [sample["spec"] for sample in samples], set[str]()
    wanted = [variant for spec in bases for variant in variants(spec, schema, swept, bases)]

    def judged(variant: Variant) -> tuple[bool, str | None]:
        document = {**samples[0], "spec": variant.spec}
        answer = api.try_out(document)
        difference = disagreement(document, answer)
        return answer.accepted, difference and f"{variant.place}\n{difference}"

    with ThreadPoolExecutor(max_workers=2) as pool:  # one asks while the other waits
        verdicts = list(pool.map(judged, wanted))
    seen = Counter(accepted for accepted, _ in verdicts)
    differences = [difference for _, difference in verdicts if difference]
    assert not differences, f"{len(differences)} of {seen.total()}, the first three:\n" + "\n\n".join(differences[:3])
    assert min(seen[True], seen[False]) > 100, seen


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(resources.KINDS))
def test_model_and_server_agree_on_every_spec(kind: str, api: Api) -> None:
    seen: Counter[bool] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(specs(kind))
    def agree(spec: dict[str, Any]) -> None:
        document = {
            "apiVersion": resources.API_VERSION,
            "kind": kind,
            "metadata": {"name": "subject"},
            "spec": spec,
        }
        answer = api.try_out(document)
        difference = disagreement(document, answer)
        assert difference is None, difference
        assert not answer.accepted or resources.parse(answer.body).spec == resources.parse(document).spec
        seen[answer.accepted] += 1

    agree()
    assert seen.total() >= 200, seen
    assert min(seen[True], seen[False]) >= SHARE * seen.total(), f"of {seen.total()} specs {seen[True]} were accepted"


def disagreement(document: Mapping[str, Any], answer: Answer) -> str | None:
    """Return what the two judges say where that differs, with the document, and None where it does not."""
    try:
        resource = resources.parse(document)
    except ResourceInvalid as refusal:
        if not answer.accepted and answer.status in (400, 422):
            return None
        return _report(document, model=f"refused: {refusal}", server=f"{answer.status} {answer.message or 'accepted'}")
    if not answer.accepted:
        return _report(document, model="accepted", server=f"{answer.status} {answer.message}")
    wanted = dumped(resource)
    if answer.body["spec"] != wanted:
        return _report(document, model=yaml.safe_dump(wanted), server=yaml.safe_dump(answer.body["spec"]))
    return None


def _report(document: Mapping[str, Any], *, model: str, server: str) -> str:
    shown = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=False)
    return f"model and server differ\n--- document\n{shown}--- model\n{model}\n--- server\n{server}"
