"""Every sample is accepted by the real API server, and the defaults that it fills in are the models'."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.api_tests.api import Api
from e2e.api_tests.samples import SAMPLES, documents, dumped
from lectern_contract import resources
from lectern_runtime_tests.contract.wrong_documents import BASES, document

UNSEEN = {"observedGeneration": 0}
"""What a status says before an operator has looked: kstatus reads it as in progress."""


@pytest.mark.parametrize("sample", [pytest.param(sample, id=name) for name, sample in documents(SAMPLES)])
def test_a_sample_is_accepted_and_completed_as_the_model_completes_it(sample: dict[str, Any], api: Api) -> None:
    answer = api.try_out(sample)
    assert answer.accepted, answer.message
    sent, returned = resources.parse(sample), resources.parse(answer.body)
    assert returned.spec == sent.spec
    assert answer.body["spec"] == dumped(sent)
    assert answer.body["status"] == UNSEEN


@pytest.mark.parametrize("kind", BASES)
def test_a_new_resource_says_that_nobody_has_looked_and_a_user_cannot_say_otherwise(kind: str, api: Api) -> None:
    subject = document(kind, {"status": {"observedGeneration": 7}}, name="no-status")
    created = api.create(subject)
    assert created.accepted, created.message
    assert created.body["status"] == UNSEEN
    assert api.delete(subject).accepted


def test_there_are_samples_of_every_kind_in_each_folder() -> None:
    for folder in ("minimal", "full", "quickstart"):
        assert {sample["kind"] for _, sample in documents(SAMPLES / folder)} == set(resources.KINDS), folder
