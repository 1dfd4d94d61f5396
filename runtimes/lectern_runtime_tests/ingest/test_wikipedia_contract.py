"""Articles of one category of a wiki keep what every connector promises."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import WikipediaSource
from lectern_runtime.ingest.connector import Connector, Listed, Means
from lectern_runtime.ingest.connectors.wikipedia import Wikipedia
from lectern_runtime.ingest.web import article
from lectern_runtime_tests.contracts.connector_contract import MAX_BYTES, NO_EXEMPTION, ConnectorContract
from lectern_runtime_tests.ingest.http_world import Waits
from lectern_runtime_tests.ingest.shown import Shown
from lectern_runtime_tests.ingest.wiki_server import Wiki, serving
from lectern_runtime_tests.pipeline import connector_settings

CATEGORY = "Everything"


@dataclass
class Category:
    """The `SourceUnderTest` of a wiki whose titles may begin in lower case, as those of Wiktionary do.

    No title can have one of the characters #<>[]{|}, nor be written other than in NFC.
    """

    wiki: Wiki

    etags = True
    deltas = False
    can_be_empty = True
    odd_names = ("with space.md", "50% 1?&=+.md", "\u00e4\u00df\u20ac/\u6587\u66f8.md", "quote'\".md")
    exempt = NO_EXEMPTION

    async def put(self, path: str, data: bytes) -> None:
        self.wiki.write(path, data.decode(), CATEGORY)

    async def remove(self, path: str) -> None:
        del self.wiki.articles[path]

    async def break_down(self) -> None:
        self.wiki.faults[:] = [("503", {})] * 100

    def requests(self) -> int:
        return len(self.wiki.requests)

    def settings(self) -> ConnectorSettings:
        source = WikipediaSource(api_url=self.wiki.api_url, titles=(), categories=(CATEGORY,), max_documents=100)
        # An article is a page with its title around it, which counts.
        limit = MAX_BYTES + len(article.document("fits.md", ""))
        return connector_settings(Path("/unused"), source=source, max_document_bytes=limit)

    def open(self, means: Means) -> Connector:
        return Shown(Wikipedia(self.settings(), means, Waits().asking()), bare=_text)

    def clock(self) -> float:
        return time.time()


def _text(listed: Listed, data: bytes) -> bytes:
    """The article as it was written, without the page around it."""
    before, after = article.document(listed.path, "\0").encode().split(b"\0")
    assert data.startswith(before)
    assert data.endswith(after)
    return data.removeprefix(before).removesuffix(after)


class TestWikipedia(ConnectorContract):
    @pytest.fixture
    async def source(self) -> AsyncIterator[Category]:
        async with serving(Wiki(capital=False)) as wiki:
            yield Category(wiki)
