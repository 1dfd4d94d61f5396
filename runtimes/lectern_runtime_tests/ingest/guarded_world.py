"""What tests of the guarded client share: a canary on loopback, a name server, a certificate."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lectern_contract.errors import DocumentError, LecternError
from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.web import addresses, guarded
from lectern_runtime.ingest.web.exchange import Exchange
from lectern_runtime.ingest.web.guarded import Guard, Resolve
from lectern_runtime_tests.ingest.web_server import ADDRESS

FRONT = "front.test"
FRONT_ONLY = (f"{ADDRESS}/32",)


class Anyone(frozenset[str]):
    """Every host is allowed: what protects is the judgement of addresses alone."""

    def __contains__(self, _host: object) -> bool:
        return True


@dataclass
class Canary:
    """Listens on both loopbacks and counts connections, whether or not anything is sent."""

    port: int = 0
    connections: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    found = Canary()
    first = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(found.answer, "::1", found.port)
    async with first, second:
        yield found


async def no_wait(_seconds: float = 0.0) -> None:
    """Neither throttled nor patient."""


@dataclass
class Names:
    """A name server of the test: each name gives its answers one after the other, the last again and again."""

    answers: dict[str, list[Sequence[str]]]
    asked: list[str] = field(default_factory=list)

    async def resolve(self, name: str, _port: int) -> Sequence[str]:
        self.asked.append(name)
        left = self.answers.get(name)
        if left is None:
            raise OSError("no such name")
        return left.pop(0) if len(left) > 1 else left[0]


@asynccontextmanager
async def exchange(
    *,
    private: Sequence[str] = (),
    resolve: Resolve = guarded.resolve,
    hosts: frozenset[str] | None = None,
    ca_file: str | None = None,
) -> AsyncIterator[Exchange]:
    guard = Guard(Anyone() if hosts is None else hosts, addresses.networks(private), resolve)
    async with guarded.open_client(guard, tls=guarded.tls_context(ca_file), user_agent="test") as client:
        yield Exchange(client, no_wait, lambda: 0.0, Retries(attempts=2, sleep=no_wait))


async def fault(found: Awaitable[object]) -> str:
    """The reason of the error that it ends with; for an unreachable server its class."""
    with pytest.raises(LecternError) as caught:
        await found
    return caught.value.reason if isinstance(caught.value, DocumentError) else type(caught.value).__name__


class Nothing:
    """The first run of a source."""

    cursor = ""

    async def etag(self, uri: str) -> str:
        return ""


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for `name`, which may be an address, that vouches for itself: its file, and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_named(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "ca.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return pem, context


def _named(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
