"""`lectern api-key` and the push source of a plan: what is printed, and what is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lectern_cli import plan
from lectern_cli_tests.test_main import refused, run
from lectern_cli_tests.test_manifests import ENDPOINT, KB, SOURCE
from lectern_cli_tests.test_plan import read
from lectern_contract.errors import ConfigurationError
from lectern_runtime.api_keys import ApiKeys, Holder

PUSH = """
apiVersion: lectern.dev/v1alpha1
kind: IngestionSource
metadata: {name: inbox}
spec:
  knowledgeBaseRef: guides
  push: {apiKeysSecretRef: {name: keys}}
  partition: {tenant: acme}
"""
USUAL = ["api-key", "--id", "feeder", "--tenant", "acme", "--access-level", "public"]


async def test_the_key_that_is_printed_is_let_in_by_the_file_that_is_printed(tmp_path: Path) -> None:
    more = ["--access-level", "secret", "--scope", "push", "--scope", "query", "--expires-at", "2999-01-31T00:00:00Z"]
    status, out, err = run(*USUAL, *more)
    key, content = out.splitlines()
    (tmp_path / "feeder").write_text(content)
    assert (status, key in err, key in content) == (0, False, False)
    assert await ApiKeys(tmp_path).holder(key) == Holder(
        "feeder", "acme", frozenset({"public", "secret"}), frozenset({"push", "query"})
    )


def test_a_key_is_for_pushing_and_without_an_end_unless_it_is_said() -> None:
    content = json.loads(run(*USUAL)[1].splitlines()[1])
    assert {name: value for name, value in content.items() if name != "sha256"} == {
        "tenant": "acme",
        "access_levels": ["public"],
        "scopes": ["push"],
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*USUAL, "--id", "A_b"], ("--id A_b", "small letters")),
        ([*USUAL, "--tenant", ""], ("--tenant", "at least one")),
        ([*USUAL, "--tenant", "a b"], ("--tenant", "as in spec.partition")),
        ([*USUAL, "--access-level", "a/b"], ("--access-level", "as in spec.partition")),
        ([*USUAL, "--expires-at", "soon"], ("--expires-at soon", "2027")),
        ([*USUAL, "--expires-at", "2027-01-01T00:00:00"], ("say the zone",)),
    ],
)
def test_what_no_key_can_be_is_refused(arguments: list[str], words: tuple[str, ...]) -> None:
    refused(arguments, words)


def test_a_push_source_is_received_for_with_the_keys_of_the_command_line(tmp_path: Path) -> None:
    found = read(tmp_path, kb=KB, push=PUSH, rag=ENDPOINT)
    keys = tmp_path / "keys"
    keys.mkdir()

    made = plan.make(found, mounts={}, endpoint=None, api_keys=keys)
    without = plan.make(found, mounts={}, endpoint=None)

    assert (made.connectors, made.receiver and made.receiver.name) == ({}, "inbox")
    assert made.receiver is not None
    assert made.receiver.api_keys_directory == str(keys)
    assert without.receiver is not None
    assert without.receiver.api_keys_directory is None
    assert made.query.auth.api_keys_directory is None


def test_an_endpoint_that_takes_api_keys_takes_those_of_the_command_line(tmp_path: Path) -> None:
    rag = ENDPOINT.replace("[guides]}", "[guides], auth: {apiKeysSecretRef: {name: keys}}}")
    found = read(tmp_path, kb=KB, source=SOURCE, rag=rag)
    keys = tmp_path / "keys"
    keys.mkdir()

    made = plan.make(found, mounts={"files": tmp_path}, endpoint=None, api_keys=keys)
    without = plan.make(found, mounts={"files": tmp_path}, endpoint=None)

    assert (made.query.auth.api_keys_directory, without.query.auth.api_keys_directory) == (str(keys), None)


@pytest.mark.parametrize(
    ("files", "keys", "words"),
    [
        ({"push": PUSH, "other": PUSH.replace("inbox", "outbox")}, ".", "found inbox, outbox"),
        ({"push": PUSH}, "absent", "not a directory"),
        ({"source": SOURCE}, ".", "no source is of the kind push"),
    ],
)
def test_a_push_source_that_cannot_be_planned_is_said(
    tmp_path: Path, files: dict[str, str], keys: str, words: str
) -> None:
    found = read(tmp_path, kb=KB, rag=ENDPOINT, **files)
    mounts = {"files": tmp_path} if "source" in files else {}

    with pytest.raises(ConfigurationError, match=words):
        plan.make(found, mounts=mounts, endpoint=None, api_keys=tmp_path / keys)
