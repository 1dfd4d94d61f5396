"""API keys from a directory: who holds which, files that are none, and what a damaged directory does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lectern_contract.errors import DependencyError
from lectern_runtime import api_keys
from lectern_runtime.api_keys import ApiKeys, Holder, NotAccepted


def write(folder: Path, key_id: str, **changes: Any) -> str:
    key, digest = api_keys.new_key(key_id)
    content = {"sha256": digest, "tenant": "acme", "access_levels": ["public"], "scopes": ["push"], **changes}
    (folder / key_id).write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return key


async def test_a_key_says_whom_it_speaks_for(tmp_path: Path) -> None:
    key = write(tmp_path, "feeder-1", access_levels=["public", "secret"], scopes=["push", "query"])
    found = await ApiKeys(tmp_path).holder(key)
    assert found == Holder("feeder-1", "acme", frozenset({"public", "secret"}), frozenset({"push", "query"}))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "lk_",
        "lk_feeder_",
        "lk_feeder_short",
        "lk__" + "x" * 43,
        "lk_../feeder_" + "x" * 43,
        "x" * 100_000,
        "lk_é_" + "x" * 43,
    ],
)
async def test_what_is_no_key_is_unknown(tmp_path: Path, key: str) -> None:
    write(tmp_path, "feeder")
    assert await ApiKeys(tmp_path).holder(key) == NotAccepted("KeyUnknown")


async def test_the_id_of_one_key_with_the_secret_of_another_is_wrong(tmp_path: Path) -> None:
    one, other = write(tmp_path, "one"), write(tmp_path, "other")
    mixed = "lk_one_" + other.removeprefix("lk_other_")
    keys = ApiKeys(tmp_path)
    assert await keys.holder(mixed) == NotAccepted("KeyWrong", "one")
    assert isinstance(await keys.holder(one), Holder)


async def test_a_key_ends_at_its_moment(tmp_path: Path) -> None:
    now = [1_000_000_000.0]
    key = write(tmp_path, "k", expires_at="2001-09-09T03:46:41+02:00")
    keys = ApiKeys(tmp_path, now=lambda: now[0])
    assert isinstance(await keys.holder(key), Holder)
    now[0] += 1
    assert await keys.holder(key) == NotAccepted("KeyExpired", "k")


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "x"},
        {"sha256": None},
        {"tenant": ""},
        {"tenant": "x" * 64},
        {"access_levels": []},
        {"access_levels": "public"},
        {"access_levels": [str(number) for number in range(33)]},
        {"scopes": []},
        {"expires_at": "2001-09-09T03:46:41"},
        {"expires_at": "soon"},
        {"more": 1},
        {"tenant": "t", "scopes": ["x" * 63] * 16, "access_levels": ["x" * 63] * 32, "expires_at": " " * 4096},
    ],
)
async def test_a_file_that_says_something_else_lets_nobody_in(tmp_path: Path, changes: dict[str, Any]) -> None:
    told: list[frozenset[str]] = []
    key, good = write(tmp_path, "bad", **changes), write(tmp_path, "good")
    keys = ApiKeys(tmp_path, on_malformed=told.append)
    assert await keys.holder(key) == NotAccepted("KeyUnknown")
    assert isinstance(await keys.holder(good), Holder)
    assert told == [frozenset({"bad"})]


async def test_what_is_no_file_and_what_is_too_much_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MAX_KEYS", 4)
    told: list[frozenset[str]] = []
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "A file").write_text("{}")
    (tmp_path / "b-large").write_bytes(b" " * 5_000)
    (tmp_path / "..hidden").write_text("{}")
    (tmp_path / "broken-link").symlink_to("nowhere")
    key = write(tmp_path, "c-good")
    for number in range(3):
        write(tmp_path, f"z{number}")
    keys = ApiKeys(tmp_path, on_malformed=told.append)
    assert isinstance(await keys.holder(key), Holder)
    assert told == [frozenset({"a-folder", "A file", "b-large", "z0", "z1", "z2"})]


async def test_a_changed_and_a_removed_file_count_at_the_next_look(tmp_path: Path) -> None:
    now = [0.0]
    key = write(tmp_path, "k")
    keys = ApiKeys(tmp_path, clock=lambda: now[0])
    assert isinstance(await keys.holder(key), Holder)
    new = write(tmp_path, "k")
    assert isinstance(await keys.holder(key), Holder)  # within the second nobody looks
    now[0] += api_keys.LOOK_SECONDS
    assert await keys.holder(key) == NotAccepted("KeyWrong", "k")
    assert isinstance(await keys.holder(new), Holder)
    (tmp_path / "k").unlink()
    now[0] += api_keys.LOOK_SECONDS
    assert await keys.holder(new) == NotAccepted("KeyUnknown")


async def test_a_directory_that_cannot_be_read_is_a_fault_of_the_world(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="API keys"):
        await ApiKeys(tmp_path / "absent").holder("lk_k_" + "x" * 43)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer lk_a_b", "lk_a_b"),
        ("bearer   lk_a_b ", "lk_a_b"),
        ("Basic lk_a_b", None),
        ("Bearer anonymous", None),
        ("lk_a_b", None),
        ("", None),
    ],
)
def test_a_key_is_presented_as_a_bearer(header: str, key: str | None) -> None:
    assert api_keys.presented(header) == key


def test_new_keys_differ_and_only_their_digest_is_for_the_file() -> None:
    one, other = api_keys.new_key("a"), api_keys.new_key("a")
    assert one[0] != other[0]
    assert one[0].startswith("lk_a_")
    assert one[1] not in one[0]
    with pytest.raises(ValueError, match="no id"):
        api_keys.new_key("A_b")
