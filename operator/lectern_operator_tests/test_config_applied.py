"""What pods say at /configz, against what the spec asks for."""

from __future__ import annotations

from typing import Any

from lectern_contract import labels
from lectern_contract.resources.reasons import Reason
from lectern_operator.facts import Known, Unknown
from lectern_operator.facts.outside import Loaded
from lectern_operator.policies import config_applied
from lectern_operator.policies.config_applied import Asked

WANTED = {"worker": "a" * 64}


def pod(name: str, **status: Any) -> dict[str, Any]:
    """Return a running pod of the worker role."""
    return {
        "metadata": {"name": name, "uid": name, "labels": {labels.ROLE: "worker"}},
        "status": {"phase": "Running", **status},
    }


def test_pods_that_have_loaded_what_is_wanted_are_true() -> None:
    found = config_applied.verdict(WANTED, [Asked(pod("a"), Known(Loaded("a" * 64, 1)))], [pod("a")])
    assert (found.status, found.reason) == ("True", Reason.SETTINGS_LOADED)
    assert found.message == "every running pod has loaded worker aaaaaaaaaa"


def test_a_pod_with_other_settings_is_false_and_both_hashes_are_named() -> None:
    asked = [Asked(pod("a"), Known(Loaded("a" * 64, 1))), Asked(pod("b"), Known(Loaded("b" * 64, 1)))]
    found = config_applied.verdict(WANTED, asked, [])
    assert (found.status, found.reason) == ("False", Reason.SETTINGS_PENDING)
    assert "1 of 2 pods" in found.message
    assert "worker has bbbbbbbbbb, not aaaaaaaaaa" in found.message


def test_another_schema_version_is_named() -> None:
    found = config_applied.verdict(WANTED, [Asked(pod("a"), Known(Loaded("b" * 64, 9)))], [])
    assert "schema version 9 instead of 1" in found.message


def test_a_pod_that_does_not_answer_is_unknown() -> None:
    found = config_applied.verdict(WANTED, [Asked(pod("a"), Unknown("/configz does not answer"))], [])
    assert (found.status, found.reason) == ("Unknown", Reason.SETTINGS_PENDING)


def test_no_pod_is_no_alarm() -> None:
    assert config_applied.verdict(WANTED, [], []).status == "True"


def test_a_pod_that_refuses_its_file_is_reported_with_its_last_words() -> None:
    words = "started\nsettings.json: schema_version: wrong; this one reads schema version 1\n"
    ended = {"exitCode": 2, "message": words}
    waiting = {"reason": "CrashLoopBackOff"}
    refusing = pod(
        "a", containerStatuses=[{"name": "main", "state": {"waiting": waiting}, "lastState": {"terminated": ended}}]
    )
    found = config_applied.verdict(WANTED, [], [refusing])
    assert (found.status, found.reason) == ("False", Reason.SETTINGS_REFUSED)
    assert found.message.endswith("settings.json: schema_version: wrong; this one reads schema version 1")


def test_last_words_in_json_are_told_without_their_time() -> None:
    line = '{"time": "2026-11-21 10:00:00", "level": "ERROR", "message": "ended", "cause": "settings.json: log: wrong"}'
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"exitCode": 2, "message": line}}
    refusing = pod("a", containerStatuses=[{"name": "main", "state": waiting, "lastState": last}])
    found = config_applied.verdict(WANTED, [], [refusing])
    assert found.message == "the worker refuses its settings: settings.json: log: wrong"


def test_last_words_of_a_plain_log_are_told_without_their_time() -> None:
    words = "settings.json: schema_version: 2 was written and this image reads 1"
    head = "2026-11-21 10:00:00,123"
    lines = (f"{head} INFO lectern.worker started", f"{head} ERROR lectern.worker {words}")
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"exitCode": 2, "message": "\n".join(lines)}}
    refusing = pod("a", containerStatuses=[{"name": "main", "state": waiting, "lastState": last}])
    assert config_applied.verdict(WANTED, [], [refusing]).message == f"the worker refuses its settings: {words}"


def test_a_refusal_stands_while_the_pod_starts_again_until_it_says_what_it_loaded() -> None:
    last = {"terminated": {"exitCode": 2, "message": "settings.json: wrong"}}
    again = pod("a", containerStatuses=[{"name": "main", "state": {"running": {}}, "lastState": last}])
    silent, told = Asked(again, Unknown("/configz does not answer")), Asked(again, Known(Loaded("a" * 64, 1)))
    assert config_applied.verdict(WANTED, [silent], [again]).reason == Reason.SETTINGS_REFUSED
    assert config_applied.verdict(WANTED, [told], [again]).reason == Reason.SETTINGS_LOADED


def test_only_running_pods_of_the_roles_are_asked() -> None:
    leaving = pod("c")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    pods = [pod("b"), pod("a"), leaving, pod("d", phase="Pending")]
    assert [each["metadata"]["name"] for each in config_applied.running(pods, "worker")] == ["a", "b"]
    assert config_applied.running(pods, "query") == []
