"""An issuer of tokens for the tests: keys of every kind, tokens as wanted or forged, and its key set over real HTTP.

`KeySetServer` serves the set on the loopback interface and can fail in the ways in which a server fails.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from lectern_contract.query_settings import JwtSettings

ISSUER = "https://login.example.com/realms/acme"
AUDIENCE = "lectern"
NOW = 2_000_000_000.0
Mode = Literal["well", "refuses", "fails", "hangs", "dawdles", "large", "packed", "cut", "elsewhere", "empty"]
ALGORITHM_OF = {"rsa": "RS256", "other-rsa": "RS256", "short-rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}


@cache
def private_key(name: str) -> Any:
    """The private key of this name; the beginning of the name says which kind it is."""
    match name.rpartition("-")[2]:
        case "rsa":
            return rsa.generate_private_key(public_exponent=65537, key_size=1024 if name.startswith("short") else 2048)
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def jwk(name: str, **changes: Any) -> dict[str, Any]:
    """The public half as an entry of a key set, with the name as its id; a change to None leaves a field out."""
    return _entry(name, private_key(name).public_key(), changes)


def private_jwk(name: str) -> dict[str, Any]:
    """What an issuer must never publish: the key that signs."""
    return _entry(name, private_key(name), {})


def _entry(name: str, key: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    kind: Any = {"rsa": RSAAlgorithm, "ec": ECAlgorithm, "ed": OKPAlgorithm}[name.rpartition("-")[2]]
    entry = {**json.loads(kind.to_jwk(key)), "kid": name, "use": "sig", **changes}
    return {key: value for key, value in entry.items() if value is not None and (key != "key_ops" or key in changes)}


def key_set(*entries: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims; a change to None leaves a claim out."""
    given: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "exp": int(NOW) + 300,
        "tenant": "acme",
        "access_levels": ["public"],
        "scope": "query retrieve",
    }
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


def token(key: str = "rsa", *, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """A token with these claims, signed with the key of this name."""
    heading = {"kid": key, **(header or {})}
    algorithm = heading.pop("alg", ALGORITHM_OF[key])
    return jwt.encode(claims(**changes), private_key(key), algorithm, headers=heading)


def signed(payload: bytes, *, key: str = "rsa", header: bytes | None = None) -> str:
    """A token of any bytes, with a good signature."""
    heading = header if header is not None else json.dumps({"alg": ALGORITHM_OF[key], "kid": key}).encode()
    body = f"{part(heading)}.{part(payload)}"
    algorithm = jwt.get_algorithm_by_name(ALGORITHM_OF[key])
    return f"{body}.{part(algorithm.sign(body.encode(), private_key(key)))}"


def part(data: bytes) -> str:
    """One part of a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt_settings(url: str = "http://127.0.0.1:9/keys", **changes: Any) -> JwtSettings:
    given: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_url": url,
        "tenant_claim": "tenant",
        "access_levels_claim": "access_levels",
        "scopes_claim": "scope",
    }
    return JwtSettings(**{**given, **changes})


@dataclass
class KeySetServer:
    """A key set at a URL, how its server behaves, and how often it was asked."""

    body: bytes
    mode: Mode = "well"
    asked: int = 0
    url: str = ""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            self.heard.set()
            await self._behave(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client went away, as it may
        finally:
            writer.close()

    async def _behave(self, writer: asyncio.StreamWriter) -> None:
        answers: Mapping[Mode, Callable[[], bytes]] = {
            "well": lambda: http(self.body),
            "dawdles": lambda: http(self.body),
            "fails": lambda: http(b"oops", status="500 Internal Server Error"),
            "large": lambda: http(b'{"keys": [' + b" " * 400_000 + b"]}"),
            "packed": lambda: http(self.body, more="Content-Encoding: gzip\r\n"),
            "cut": lambda: http(self.body)[:-20],
            "elsewhere": lambda: http(b"", status="302 Found", more=f"Location: {self.url}\r\n"),
            "empty": lambda: http(key_set()),
        }
        if self.mode in ("hangs", "dawdles"):
            await self.release.wait()
        if self.mode in answers:
            writer.write(answers[self.mode]())
            await writer.drain()


def http(body: bytes, *, status: str = "200 OK", more: str = "") -> bytes:
    """One response, after which the connection ends."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def serving(*entries: Mapping[str, Any]) -> AsyncIterator[KeySetServer]:
    """A server of a key set with these entries on a free port of the loopback interface."""
    server = KeySetServer(key_set(*entries))
    listening = await asyncio.start_server(server._answer, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/keys"
    try:
        yield server
    finally:
        server.release.set()
        listening.close()
        await listening.wait_closed()
