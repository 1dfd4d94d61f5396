"""The table of rights is complete and modest, and what is made from it says the same."""

from __future__ import annotations

from collections import Counter

import pytest
import yaml

from lectern_contract import resources
from lectern_operator import crd, delivery, rights
from lectern_operator.clients import kinds
from lectern_operator.rights import Reach, Right

FORBIDDEN = {"*", "escalate", "bind", "impersonate", "deletecollection"}


def test_every_kind_that_the_operator_knows_has_a_row() -> None:
    known = {(kind.group, kind.plural) for kind in kinds.ALL.values()}
    granted = {(right.group, right.resource) for right in rights.RIGHTS if "/" not in right.resource}
    assert granted == known


def test_no_right_is_there_twice_or_without_a_reason() -> None:
    each = Counter((r.group, r.resource, verb, r.reach) for r in rights.RIGHTS for verb in r.verbs)
    assert [right for right, count in each.items() if count > 1] == []
    assert all(right.why and "|" not in right.why for right in rights.RIGHTS)


def test_no_right_is_a_wildcard_or_a_way_to_more() -> None:
    for right in rights.RIGHTS:
        assert not FORBIDDEN & {right.group, right.resource, *right.verbs}, right
        assert right.group != "rbac.authorization.k8s.io", right


def test_secrets_are_read_by_name_only_and_never_changed() -> None:
    secret = {right.reach: set(right.verbs) for right in rights.RIGHTS if right.resource == "secrets"}
    assert set(secret) == {Reach.SECRETS}
    verbs = {verb for right in rights.RIGHTS if right.resource == "secrets" for verb in right.verbs}
    assert verbs == {"get", "create"}


def test_rules_merge_the_rows_of_one_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (Right("", "pods", ("get", "list"), "a"), Right("", "pods", ("list", "watch"), "b"))
    monkeypatch.setattr(rights, "RIGHTS", rows)
    assert rights.rules(Reach.WATCHED) == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    assert rights.rules(Reach.OWN) == []


def test_the_page_names_every_right() -> None:
    page = rights.page()
    for right in rights.RIGHTS:
        assert f"| {right.group or 'core'} | `{right.resource}` | {', '.join(right.verbs)} | {right.why} |" in page


def test_the_rules_of_the_chart_are_those_of_the_table() -> None:
    files = delivery.chart_files()
    for reach in Reach:
        assert yaml.safe_load(files[f"charts/lectern/rights/{reach.value}.yaml"]) == rights.rules(reach)


def test_braces_of_a_description_are_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{crd.HEADER}kind: X\nmetadata:\n  name: x\nspec:\n  description: say {{{{ .x }}}}\n"
    monkeypatch.setattr(crd, "text", lambda _: text)
    (guarded, *_) = delivery.chart_files().values()
    assert 'description: say {{ "{{" }} .x }}' in guarded


def test_the_settings_of_argo_cd_hold_the_check_for_each_kind() -> None:
    (text,) = delivery.gitops_files().values()
    data = yaml.safe_load(text)["data"]
    assert sorted(data) == [f"resource.customizations.health.lectern.dev_{kind}" for kind in sorted(resources.KINDS)]
    assert set(data.values()) == {delivery.HEALTH.read_text()}
