"""What tests of the http connector share: the connector over a web server on loopback, without waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lectern_contract.source_settings import HttpSource
from lectern_runtime.ingest.connector import Item, Listed, Means, Unlisted
from lectern_runtime.ingest.connectors.http import Http
from lectern_runtime.ingest.retries import Retries
from lectern_runtime.ingest.web.api_source import Asking
from lectern_runtime_tests.ingest.web_server import ADDRESS, Said, WebServer, html, serving
from lectern_runtime_tests.pipeline import connector_settings


@dataclass
class Remembered:
    """What an earlier run knew."""

    etags: Mapping[str, str] = field(default_factory=dict)
    cursor: str = ""

    async def etag(self, uri: str) -> str:
        return self.etags.get(uri, "")


@dataclass
class Waits:
    """Counts requests instead of waiting."""

    requests: int = 0
    slept: list[float] = field(default_factory=list)

    async def throttle(self) -> None:
        self.requests += 1

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def asking(self) -> Asking:
        """Two attempts, without waiting."""
        return Asking(retries=Retries(attempts=2, sleep=self.sleep))


@asynccontextmanager
async def connector(server: WebServer, *, waits: Waits | None = None, **changes: Any) -> AsyncIterator[Http]:
    more = {key: changes.pop(key) for key in ("include", "exclude", "max_document_bytes") if key in changes}
    source: dict[str, Any] = {
        "urls": ("/",),
        "sitemaps": (),
        "allowed_hosts": (ADDRESS,),
        "private_networks": (f"{ADDRESS}/32",),
        "max_depth": 0,
        "max_documents": 100,
        "ca_file": None,
        **changes,
    }
    for key in ("urls", "sitemaps"):
        source[key] = tuple(server.url(each) if each.startswith("/") else each for each in source[key])
    waits = waits or Waits()
    settings = connector_settings(Path("/unused"), source=HttpSource(**source), **more)
    found = Http(settings, Means(lambda: 0.0, waits.throttle), waits.asking())
    try:
        yield found
    finally:
        await found.close()


async def listing(found: Http, etags: Mapping[str, str] | None = None) -> list[Item]:
    return [item async for item in (await found.list(Remembered(etags or {}))).items]


async def told(server: WebServer, items: Sequence[Item]) -> dict[str, str]:
    """Path of each item, with the reason where it was not listed."""
    start = server.url("")
    return {item.uri.replace(start, ""): item.reason if isinstance(item, Unlisted) else "" for item in items}


async def crawl(pages: Mapping[str, Any], **changes: Any) -> dict[str, str]:
    async with serving(pages) as server, connector(server, **changes) as found:
        return await told(server, await listing(found))


def etags(items: Sequence[Item]) -> dict[str, str]:
    return {item.uri: item.etag for item in items if isinstance(item, Listed)}


def page(*links: str) -> Said:
    return html("".join(f'<a href="{link}">x</a>' for link in links))
