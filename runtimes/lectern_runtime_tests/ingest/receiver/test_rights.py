"""Nobody pushes, sees or deletes more than their API key says, and every decision is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lectern_contract.messages import AccessDecision
from lectern_contract.names import Topic
from lectern_runtime import api_keys
from lectern_runtime_tests.ingest.receiver.world import NAMESPACE, World, bearer, document

SECRET = {"tenant": "acme", "access_level": "secret"}


def decision(action: str, reason: str = "", principal: str = "", **changes: Any) -> AccessDecision:
    return AccessDecision(
        namespace=NAMESPACE,
        knowledge_base="guides",
        principal=principal,
        action=action,
        allowed=not reason,
        reason=reason,
        **changes,
    )


async def test_without_a_directory_of_keys_nobody_pushes_and_the_answer_says_how(world: World) -> None:
    async with world.serving(api_keys_directory=None) as serving:
        answer = await serving.put(document(), key=world.key())
    assert (answer.status_code, answer.json()["code"]) == (403, "push_not_allowed")
    assert "spec.push.apiKeysSecretRef" in answer.json()["detail"]
    assert "--api-keys" in answer.json()["detail"]
    assert world.said() == []


async def test_who_shows_no_good_key_is_not_let_in(world: World) -> None:
    good, (unknown, _) = world.key(), api_keys.new_key("nobody")
    wrong, _ = api_keys.new_key("feeder")
    expired = world.key("old", expires_at="2020-01-01T00:00:00Z")
    for_reading = world.key("reader", scopes=["query"])
    async with world.serving() as serving:
        codes = [
            (answer := await serving.put(document(), key=key)).status_code and answer.json()["code"]
            for key in ("", unknown, wrong, expired, for_reading, good + "x", "no-key-of-ours")
        ]
        twice = [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {wrong}")]
        codes.append((await serving.http.post("/v1/documents", json=document(), headers=twice)).json()["code"])
        assert (await serving.put(document(), key=good)).status_code == 202
    not_accepted = "credentials_not_accepted"
    assert codes == [
        *("unauthenticated", not_accepted, not_accepted, not_accepted, "scope_denied", not_accepted),
        *("unauthenticated", "unauthenticated"),
    ]


async def test_a_key_for_some_levels_reaches_no_others(world: World) -> None:
    everything, public = world.key(), world.key("public-only", access_levels=["public", "unheard-of"])
    async with world.serving() as serving:
        put = await serving.put(document("hr/pay.md"), document("open.md"), key=everything)
        answers = [
            await serving.put(document("x.md", partition=SECRET), key=public),
            await serving.put(document("hr/x.md"), key=public),
            await serving.put(document("hr/pay.md", partition={**SECRET, "access_level": "public"}), key=public),
            await serving.put(document("x.md", partition={**SECRET, "access_level": "unheard-of"}), key=public),
            await serving.put(document("x.md", partition={"tenant": "rival", "access_level": "public"}), key=public),
        ]
        assert [(each.status_code, each.json()["code"]) for each in answers] == [(403, "scope_denied")] * 5
        assert await serving.uris(public) == ["open.md"]
        assert (await serving.listed(public, uri="hr/pay.md")).status_code == 404
        assert (await serving.delete("hr/pay.md", key=public)).status_code == 404
        assert (await serving.run(put.json()["run_id"], public))["code"] == "run_unknown"
    assert len(world.said()) == 2


async def test_tenants_do_not_meet_even_under_one_uri(world: World) -> None:
    acme, rival = world.key(), world.key("rival", tenant="rival")
    where = {"tenant": "rival", "access_level": "public"}
    async with world.serving() as serving:
        await serving.put(document("a.md", "ours"), key=acme)
        assert (await serving.put(document("a.md", "theirs", partition=where), key=rival)).status_code == 202
        assert (await serving.put(document("b.md"), key=rival)).status_code == 403  # the default is acme's
        await serving.delete("a.md", key=rival)
        assert (await serving.uris(acme), await serving.uris(rival)) == (["a.md"], [])


async def test_keys_change_without_a_restart_as_kubernetes_changes_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "LOOK_SECONDS", 0.0)
    old, new = world.key("old"), world.key("new")
    folder = world.folder / "mounted"

    def turned(name: str, *files: str) -> None:
        inner = folder / name
        inner.mkdir(parents=True)
        for file in files:
            (inner / file).write_bytes((world.key_folder / file).read_bytes())
            if not (folder / file).is_symlink():
                (folder / file).symlink_to(Path("..data") / file)
        (folder / "..new").symlink_to(name)
        (folder / "..new").rename(folder / "..data")

    turned("..1", "old")
    async with world.serving(api_keys_directory=str(folder)) as serving:
        codes = [(await serving.listed(key)).status_code for key in (old, new)]
        (folder / "old").unlink()
        turned("..2", "new")
        codes += [(await serving.listed(key)).status_code for key in (old, new)]
    assert codes == [200, 401, 401, 200]


async def test_a_malformed_file_lets_nobody_in_and_is_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    good = world.key()
    (world.key_folder / "broken").write_text('{"sha256": "top-secret-content"}')
    async with world.serving() as serving:
        assert (await serving.listed(good)).status_code == 200
        shown = (await serving.http.get("/metrics")).text
    assert 'lectern_api_keys_malformed{file="broken"} 1.0' in shown
    assert [getattr(record, "file", None) for record in caplog.records if record.name == "lectern.api-keys"] == [
        "broken"
    ]
    assert "top-secret-content" not in caplog.text


async def test_every_decision_is_told_and_equal_ones_together(world: World) -> None:
    key = world.key()
    async with world.serving() as serving:
        await asyncio.gather(*(serving.put(document(f"{number}.md"), key=key) for number in range(3)))
        await serving.delete("0.md", key=key)
        await serving.put(document(), key="")
        await serving.put(document("x", partition={"tenant": "rival", "access_level": "public"}), key=key)
        await serving.listed(api_keys.new_key("feeder")[0])
    theirs: dict[str, Any] = {"principal": "feeder", "tenant": "acme", "access_levels": ("public", "secret")}
    assert sorted(world.said(Topic.AUDIT), key=str) == sorted(
        [
            decision("documents.put", count=4, **theirs),
            decision("documents.delete", **theirs),
            decision("documents.put", "NoKey"),
            decision("documents.put", "PartitionNotAllowed", principal="feeder", tenant="acme"),
            decision("documents.list", "KeyWrong", principal="feeder"),
        ],
        key=str,
    )


async def test_a_log_that_takes_no_decisions_holds_up_no_answer(world: World) -> None:
    key = world.key()
    world.log.before = ".audit"
    async with world.serving() as serving:
        assert (await serving.put(document(), key=key)).status_code == 202
        world.log.before = None
    assert world.said(Topic.AUDIT) == [
        decision("documents.put", principal="feeder", tenant="acme", access_levels=("public", "secret"))
    ]


async def test_probes_need_no_key(world: World) -> None:
    async with world.serving() as serving:
        codes = [(await serving.http.get(path)).status_code for path in ("/livez", "/readyz", "/metrics", "/configz")]
        told = (await serving.http.get("/configz")).json()
        assert codes == [200, 200, 200, 200]
        assert told["config_hash"] == serving.reception.config_hash
        assert (await serving.http.get("/v1/runs/x", headers=bearer(""))).status_code == 401
