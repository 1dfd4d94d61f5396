"""Pages of a web server, which a sitemap names or a page links to, keep what every connector promises."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import HttpSource
from lectern_runtime.ingest.connector import Connector, Means, Unlisted
from lectern_runtime.ingest.connectors.http import Http
from lectern_runtime_tests.contracts.connector_contract import (
    MAX_BYTES,
    ConnectorContract,
    SourceUnderTest,
    kept_until_the_next_listing,
    seen,
)
from lectern_runtime_tests.ingest.http_world import Waits, page
from lectern_runtime_tests.ingest.shown import Shown
from lectern_runtime_tests.ingest.web_server import ADDRESS, Said, WebServer, serving
from lectern_runtime_tests.pipeline import connector_settings

SITEMAP, INDEX = "/sitemap.txt", "/index.html"
EXEMPT = {
    "test_a_document_that_is_too_large_fails_alone": (
        "pages are read while they are listed, since nothing else tells whether they have changed: one that is too "
        "large is told then, as Unlisted"
    ),
    "test_a_document_that_vanished_fails_alone": (
        "pages are read while they are listed and kept until they are asked for: what vanishes meanwhile is handed "
        "over as it was, and the next listing says that it is gone"
    ),
}


@dataclass
class Site:
    """The `SourceUnderTest` of web pages, which a sitemap names, or a page that is itself no document of the source.

    A site without any document still has that page, which was read: that nothing is linked is what it says.
    """

    server: WebServer
    linked: bool

    etags = True
    deltas = False
    odd_names = ("with space.md", "50% #1?&=+.md", "\u00e4\u00df\u20ac/\u6587\u66f8.md", "e\u0301.md", "quote'\".md")
    exempt: Mapping[str, str] = field(default_factory=lambda: EXEMPT)

    def __post_init__(self) -> None:
        self._name()

    @property
    def can_be_empty(self) -> bool:
        return not self.linked

    async def put(self, path: str, data: bytes) -> None:
        kind = "text/plain" if path.endswith(".txt") else "text/markdown"
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        self.server.pages[f"/{quote(path)}"] = Said(data, headers={"Content-Type": kind, "ETag": etag})
        self._name()

    async def remove(self, path: str) -> None:
        del self.server.pages[f"/{quote(path)}"]
        self._name()

    async def break_down(self) -> None:
        self.server.pages.clear()
        self.server.otherwise = Said(status=503)

    def requests(self) -> int:
        return len(self.server.asked)

    def settings(self) -> ConnectorSettings:
        source = HttpSource(
            urls=(self.server.url(INDEX),) if self.linked else (),
            sitemaps=() if self.linked else (self.server.url(SITEMAP),),
            allowed_hosts=(ADDRESS,),
            private_networks=(f"{ADDRESS}/32",),
            max_depth=int(self.linked),
            max_documents=100,
            ca_file=None,
        )
        settings = connector_settings(Path("/unused"), source=source, max_document_bytes=MAX_BYTES)
        return settings.model_copy(update={"exclude": (f"*{INDEX}",)})

    def open(self, means: Means) -> Connector:
        opened = Http(self.settings(), means, Waits().asking())
        return Shown(opened, prefix=f"{ADDRESS}:{self.server.port}/")

    def clock(self) -> float:
        return time.time()

    def _name(self) -> None:
        paths = [path for path in self.server.pages if path not in (SITEMAP, INDEX)]
        self.server.pages[SITEMAP] = Said("".join(f"{self.server.url(path)}\n" for path in paths))
        self.server.pages[INDEX] = page(*map(escape, paths))


class TestHttp(ConnectorContract):
    @pytest.fixture(params=[False, True], ids=["sitemap", "links"])
    async def source(self, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
        async with serving({}) as server:
            yield Site(server, linked=request.param)

    async def test_a_page_that_is_too_large_is_told_when_it_is_listed(
        self, source: SourceUnderTest, connector: Connector
    ) -> None:
        await source.put("large.md", b"x" * (MAX_BYTES + 1))
        await source.put("fits.md", b"x" * MAX_BYTES)
        found = await seen(connector)
        assert [item.reason for item in found.items if isinstance(item, Unlisted)] == ["TooLarge"]
        assert {path: (await connector.fetch(item)).data for path, item in found.listed.items()} == {
            "fits.md": b"x" * MAX_BYTES
        }

    async def test_a_page_that_vanished_is_read_as_it_was_until_the_next_listing(
        self, source: SourceUnderTest, connector: Connector
    ) -> None:
        await kept_until_the_next_listing(source, connector)
