"""A double of an S3 server on a socket of loopback, for what a real one cannot be made to do.

It answers with what a test wrote down, one answer after the other and then the last one again, and notes what it was
asked. The shapes of its XML are those of the Amazon S3 API; it checks nothing. The contract of blob store and
connector is tested on a real server (e2e/adapter_tests/test_s3_*.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

ENDLESS = "endless"
CUT = "cut"


@dataclass(frozen=True)
class Answer:
    """What is answered; `manner` ENDLESS streams zeros for ever, CUT breaks off after the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = ""


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class S3Double:
    """The running double."""

    answers: Sequence[Answer]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request and answer it."""
        with suppress(ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
            self.asked.append(Asked(method, target, headers, body))
            await _write(answer, writer)
        writer.close()


async def _write(answer: Answer, writer: asyncio.StreamWriter) -> None:
    size = {} if answer.manner == ENDLESS else {"content-length": str(len(answer.body) + (answer.manner == CUT))}
    lines = [f"{name}: {value}" for name, value in {**size, **answer.headers, "connection": "close"}.items()]
    writer.write("\r\n".join([f"HTTP/1.1 {answer.status} said", *lines, "", ""]).encode() + answer.body)
    await writer.drain()
    while answer.manner == ENDLESS and not writer.is_closing():
        writer.write(bytes(1 << 16))
        await writer.drain()


@asynccontextmanager
async def s3_double(*answers: Answer) -> AsyncIterator[S3Double]:
    """Run a double that gives `answers`."""
    double = S3Double(answers)
    server = await asyncio.start_server(double.serve, "127.0.0.1", 0)
    async with server:
        double.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield double


def refused(status: int, code: str, *, more: str = "", **headers: str) -> Answer:
    """A refusal as S3 words it; underscores in names of headers stand for hyphens."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>why</Message>{more}</Error>'
    return Answer(status, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def listed(*keys: str, token: str = "", encoded: bool = True) -> Answer:
    """A page of a listing; keys are written as they are given, which is encoded where `encoded`."""
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-21T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;e1&quot;</ETag><Size>1</Size><Owner><ID>x</ID></Owner></Contents>"
        for key in keys
    )
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    return Answer(
        body=(
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
            f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>{kind}{following}{contents}</ListBucketResult>"
        ).encode()
    )
