"""How the git connector reaches a remote: credentials, certificates, ssh, and that no secret is ever seen."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lectern_contract.errors import ConfigurationError
from lectern_runtime.ingest.connector import Means, SourceUnavailable
from lectern_runtime.ingest.repository import faults
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime_tests.contracts.connector_contract import Asked, seen
from lectern_runtime_tests.ingest.git_server import PASSWORD, USERNAME, serving
from lectern_runtime_tests.ingest.git_world import GitWorld, git_world

SHIM = """#!{python}
# Stands for ssh: no network, it runs on this machine what the remote would run, and notes how it was called.
import os, sys
open({calls!r}, "a").write(repr(sys.argv[1:]) + "\\n")
os.execv("/bin/sh", ["sh", "-c", sys.argv[-1]])
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GitWorld]:
    with git_world(tmp_path, passwords=True) as made:
        made.repository.write({"a.md": b"a"})
        yield made


async def paths(world: GitWorld, **changes: object) -> list[str]:
    connector = world.open(Means(world.clock, Asked()), **changes)
    try:
        return list((await seen(connector)).listed)
    finally:
        await connector.close()


def secret(folder: Path, **files: str) -> str:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return str(folder)


async def test_a_password_is_read_anew_for_each_run(world: GitWorld, tmp_path: Path) -> None:
    held = tmp_path / "rotated"
    rotated = world.with_source(credentials_directory=secret(held, username=USERNAME, password="old"))
    connector = rotated.open(Means(world.clock, Asked()))
    try:
        with pytest.raises(SourceUnavailable, match=r"correct the Secret of spec\.git\.credentialsSecretRef"):
            await seen(connector)
        (held / "password").write_text(PASSWORD)
        assert list((await seen(connector)).listed) == ["a.md"]
    finally:
        await connector.close()


@pytest.mark.parametrize("files", [{}, {"username": USERNAME}, {"sshKey": "k", "knownHosts": "h"}])
async def test_a_secret_that_does_not_fit_https_is_told(world: GitWorld, tmp_path: Path, files: dict[str, str]) -> None:
    held = secret(tmp_path / "unfit", **files)
    with pytest.raises(ConfigurationError, match=r"lacks .*password, which a remote by https needs; add it"):
        await paths(world.with_source(credentials_directory=held))
    assert world.server.asked == []


async def test_no_secret_and_no_address_is_in_an_error_an_argument_or_a_readable_file(
    world: GitWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    world.server.hang = threading.Event()
    found: list[str] = []
    watching = threading.Thread(target=watch, args=(world, found))
    watching.start()
    world.server.failures[:] = [500] * 20
    with pytest.raises(SourceUnavailable) as caught:
        await paths(world)
    watching.join()
    assert found, "a program ran while the server was silent"
    for shown in (str(caught.value), repr(caught.value), *found):
        assert PASSWORD not in shown
    assert str(world.server.port) not in str(caught.value)


def watch(world: GitWorld, found: list[str]) -> None:
    """Note the arguments and environments of git's programs, and the modes of what they read, then let them go on."""
    world.server.hanging.wait(20)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            if b"/lectern-git-" in environment:
                found.append((environment + (process / "cmdline").read_bytes()).decode("utf-8", "replace"))
        except OSError:
            continue  # it ended, or is another user's
    assert world.server.hang is not None
    world.server.hang.set()


async def test_a_password_goes_to_the_host_of_the_source_only(world: GitWorld, tmp_path: Path) -> None:
    with serving(tmp_path / "served", tls=None) as elsewhere:
        elsewhere.passwords = True
        elsewhere.scheme = "http"
        world.server.moved = f"http://127.0.0.1:{elsewhere.port}"
        with pytest.raises(SourceUnavailable, match=r"spec\.git"):
            await paths(world)
        assert elsewhere.asked == [], "git does not leave https"
        with pytest.raises(SourceUnavailable):
            await paths(world, protocols="https:http")
        assert elsewhere.asked
        assert elsewhere.authorized == []


async def test_a_certificate_that_nobody_vouches_for_is_told(world: GitWorld) -> None:
    with pytest.raises(SourceUnavailable, match=r"not trusted; set spec\.git\.caSecretRef"):
        await paths(world.with_source(ca_file=None))


async def test_a_file_is_no_remote(world: GitWorld) -> None:
    with pytest.raises(SourceUnavailable, match="another protocol than https and ssh"):
        await paths(world.with_source(url=world.repository.root.as_uri(), credentials_directory=None))


async def test_what_the_machine_says_of_git_does_not_count(
    world: GitWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "hostile"
    hostile.write_text('[url "https://elsewhere.test/"]\n\tinsteadOf = https://localhost\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(hostile))
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert await paths(world) == ["a.md"]


# ----------------------------------------------------------------------------------------------- ssh


async def test_by_ssh_the_key_and_the_known_hosts_are_handed_to_ssh_in_private_files(
    world: GitWorld, tmp_path: Path
) -> None:
    held = secret(tmp_path / "ssh", sshKey="KEY OF A TEST", knownHosts="git.test ssh-ed25519 AAAA")
    shim, calls = tmp_path / "shim", tmp_path / "calls"
    shim.write_text(SHIM.format(python=sys.executable, calls=str(calls)))
    shim.chmod(0o700)
    remote = world.with_source(url=f"ssh://git@git.test{world.repository.root}", credentials_directory=held)
    assert await paths(remote, ssh=str(shim)) == ["a.md"]
    called = calls.read_text()
    assert "StrictHostKeyChecking=yes" in called
    assert "BatchMode=yes" in called
    assert "KEY OF A TEST" not in called


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, r"names ssh and spec\.git\.credentialsSecretRef no Secret; name one with sshKey and knownHosts"),
        ({"sshKey": "k"}, r"lacks knownHosts, which a remote by ssh needs; add it"),
        ({"sshKey": "k", "knownHosts": "\n"}, r"lacks knownHosts"),
        ({"username": "u", "password": "p"}, r"lacks sshKey and knownHosts"),
    ],
)
async def test_by_ssh_a_server_is_never_trusted_unseen(
    world: GitWorld, tmp_path: Path, files: dict[str, str] | None, message: str
) -> None:
    held = secret(tmp_path / "unfit", **files) if files is not None else None
    with pytest.raises(ConfigurationError, match=message):
        await paths(world.with_source(url="git@git.test:a/b.git", credentials_directory=held))


# --------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ("fatal: unable to access 'https://h/': The requested URL returned error: 403", "does not accept the cred"),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "credentials"),
        ("Host key verification failed.\nfatal: Could not read from remote repository.", "knownHosts"),
        ("remote: Repository not found.\nfatal: repository 'https://h/' not found", "no repository that this user"),
        ("No user exists for uid 10001\nfatal: Could not read from remote repository.", "run it as a user of"),
        ("fatal: odd thing at https://u:p@h/x and p4ss", r"git says fatal: odd thing at \(address\) and \(hidden\);"),
        ("remote: anything the server likes to say", "git says nothing of the cause;"),
    ],
)
def test_what_git_says_becomes_a_sentence_with_a_next_step(errors: str, message: str) -> None:
    error = faults.fault("the commit", errors, hidden=("p4ss", ""))
    assert not isinstance(error, TryAgain)
    with pytest.raises(SourceUnavailable, match=message):
        raise error


@pytest.mark.parametrize(
    "errors",
    [
        "fatal: unable to access '(x)': The requested URL returned error: 503",
        "fatal: unable to access '(x)': Could not resolve host: h",
        "fatal: early EOF",
        "error: RPC failed; curl 28 Operation too slow. Less than 100 bytes/sec transferred the last 30 seconds",
        "kex_exchange_identification: Connection closed by remote host\nfatal: Could not read from remote repository.",
    ],
)
def test_what_may_pass_is_asked_again(errors: str) -> None:
    assert isinstance(faults.fault("the commit", errors), TryAgain)
