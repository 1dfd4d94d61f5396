"""The guarded client reaches what is meant: private networks that are named, under the name, with TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from lectern_contract.errors import LecternError
from lectern_runtime.ingest.connector import SourceUnavailable
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime.ingest.web import addresses, guarded
from lectern_runtime_tests.ingest.guarded_world import (
    FRONT,
    FRONT_ONLY,
    Names,
    canary,
    certificate,
    exchange,
    fault,
)
from lectern_runtime_tests.ingest.web_server import ADDRESS, Said, serving

# ---------------------------------------------------------------------------- what is meant is reached


@pytest.mark.parametrize(
    ("private", "host", "reached"),
    [
        (("127.0.0.0/8",), "127.0.0.1", True),
        (("127.0.0.0/8",), "loopback.test", True),
        (("127.0.0.1/32",), "127.0.0.1", True),
        (("::1/128",), "[::1]", True),
        (("127.0.0.2/32",), "127.0.0.1", False),
        (("127.0.0.0/8",), "[::1]", False),
        (("127.0.0.0/8",), "[::ffff:127.0.0.1]", False),
        (("127.0.0.0/8", "::ffff:0:0/96"), "[::ffff:127.0.0.1]", True),
    ],
)
async def test_private_networks_open_exactly_themselves(private: Sequence[str], host: str, reached: bool) -> None:
    names = Names({"loopback.test": [["127.0.0.1"]]})
    async with canary() as bird, exchange(private=private, resolve=names.resolve) as web:
        asked = web.get(f"http://{host}:{bird.port}/", limit=100)
        if reached:
            assert (await asked).body == b"secret"
        else:
            assert await fault(asked) == "AddressRefused"
        assert bird.connections == reached


@pytest.mark.parametrize(
    ("address", "private", "refused"),
    [
        ("93.184.216.34", (), False),
        ("2606:2800:220:1:248:1893:25c8:1946", (), False),
        ("10.0.0.1", ("10.0.0.0/8",), False),
        ("fd00::1", ("fd00::/8",), False),
        ("64:ff9b::5db8:d822", (), True),
        ("64:ff9b::5db8:d822", ("64:ff9b::/96",), False),
        ("64:ff9b::a9fe:a9fe", ("64:ff9b::/96",), True),
        ("64:ff9b::a00:1", ("64:ff9b::/96",), True),
        ("64:ff9b::a00:1", ("64:ff9b::/96", "10.0.0.0/8"), False),
        ("169.254.169.254", ("169.254.0.0/16",), True),
        ("169.254.169.254", ("0.0.0.0/0",), True),
        ("169.254.169.254", ("169.254.169.254/32",), False),
        ("fd00:ec2::254", ("fd00::/8",), True),
        ("168.63.129.16", (), True),
        ("1.2.3.4%lo", (), True),
        ("", (), True),
    ],
)
def test_addresses(address: str, private: Sequence[str], refused: bool) -> None:
    assert (addresses.refusal(address, addresses.networks(private)) is not None) is refused


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0/8", "example.com", ""])
def test_what_is_no_network_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(LecternError, match=r"spec\.http\.privateNetworks"):
        addresses.networks([text])


async def test_host_header_and_tls_name_stay_the_name_though_an_address_is_connected_to(tmp_path: Path) -> None:
    ca_file, tls = certificate(tmp_path, FRONT)
    names = Names({FRONT: [[ADDRESS]], "other.test": [[ADDRESS]]})
    heard: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: heard.append(name)
    async with serving({"/": Said("front")}, tls=tls) as front:
        async with exchange(private=FRONT_ONLY, resolve=names.resolve, ca_file=str(ca_file)) as web:
            assert (await web.get(front.url("/", FRONT), limit=100)).body == b"front"
            assert front.asked[0].headers["Host"] == f"{FRONT}:{front.port}"
            assert heard == [FRONT]
            assert await fault(web.get(front.url("/", "other.test"), limit=100)) == "CertificateNotTrusted"
        async with exchange(private=FRONT_ONLY, resolve=names.resolve) as web:
            assert await fault(web.get(front.url("/", FRONT), limit=100)) == "CertificateNotTrusted"
        assert len(front.asked) == 1


@pytest.mark.parametrize("content", [None, b"", b"text", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_certificate_authority_that_cannot_be_used_is_told_with_its_file(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceUnavailable, match=r"ca\.pem: .*spec\.http\.caSecretRef"):
        guarded.tls_context(str(path))


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    async with serving({"/": Said("front")}) as front:
        names = Names({FRONT: [["127.0.0.3", ADDRESS]]})
        async with exchange(private=("127.0.0.0/8",), resolve=names.resolve) as web:
            assert (await web.get(front.url("/", FRONT), limit=100)).body == b"front"


async def test_a_name_server_that_keeps_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "RESOLVE_SECONDS", 0.01)

    async def silent(_name: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with exchange(resolve=silent) as web:
        with pytest.raises(TryAgain, match="keeps silent"):
            await web.get("http://front.test/", limit=100)
