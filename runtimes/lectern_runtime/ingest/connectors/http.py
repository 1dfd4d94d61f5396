"""Lists and reads pages of web servers: named ones, those of sitemaps, and those that they link to.

Used by `run.py` through the registry. A document's uri is its URL in one form (`web/urls.py`), its path is
`host[:port]/folders/page`. Listing asks for the pages themselves, by condition where they are known, so that a change
is seen without a second request; what was read is kept on disk until it is fetched.
"""

from __future__ import annotations

from importlib.metadata import version

from lectern_contract.errors import ConfigurationError
from lectern_contract.settings import ConnectorSettings
from lectern_contract.source_settings import HttpSource
from lectern_runtime.ingest.connector import Fetched, Known, Listed, Listing, Means
from lectern_runtime.ingest.globs import Selection
from lectern_runtime.ingest.retries import TryAgain
from lectern_runtime.ingest.unread import unread
from lectern_runtime.ingest.web import addresses, guarded, robots, urls
from lectern_runtime.ingest.web.api_source import ApiSource, Asking
from lectern_runtime.ingest.web.crawl import Bounds, Crawl
from lectern_runtime.ingest.web.exchange import Exchange, Headers
from lectern_runtime.ingest.web.guarded import Guard
from lectern_runtime.ingest.web.origins import FAILING, Origins
from lectern_runtime.ingest.web.seeds import Seeds
from lectern_runtime.ingest.web.spool import Spool
from lectern_runtime.ingest.web.urls import UrlRefused
from lectern_runtime.ingest.web.validators import of


def open_connector(settings: ConnectorSettings, means: Means) -> Http:
    """The connector for the web pages that `settings.source` names. Raises `ConfigurationError`."""
    return Http(settings, means)


class Http(ApiSource[Exchange]):
    """The pages of one source."""

    def __init__(self, settings: ConnectorSettings, means: Means, asking: Asking | None = None) -> None:
        super().__init__(settings, means, asking)
        assert isinstance(settings.source, HttpSource)
        source = self._source = settings.source
        hosts = frozenset(_host(settings.name, each) for each in source.allowed_hosts)
        self._guard = Guard(hosts, addresses.networks(source.private_networks), self._asking.resolve)
        self._bounds = Bounds(
            max_depth=source.max_depth,
            max_documents=source.max_documents,
            max_document_bytes=settings.max_document_bytes,
            selection=Selection(settings.include, settings.exclude),
            media_types=settings.media_types,
        )
        self._spool = Spool()
        self._servers: Origins | None = None

    async def list(self, known: Known) -> Listing:
        """Every page. Iterating raises `SourceUnavailable` when none can be read, `SourceEmpty` when none is there."""
        exchange = self._opened()
        self._servers = Origins(exchange)
        crawl = Crawl(
            exchange=exchange,
            guard=self._guard,
            seeds=Seeds(self._source.urls, self._source.sitemaps, exchange, self._guard),
            bounds=self._bounds,
            known=known,
            spool=self._spool,
            servers=self._servers,
        )
        return Listing(crawl.items())

    async def fetch(self, listed: Listed) -> Fetched:
        """The bytes of a page. Raises `DocumentError`, for instance Vanished, Moved or ServerFailing."""
        kept = self._spool.take(listed.uri)
        if kept is not None:
            return kept
        exchange = self._opened()
        servers = self._servers = self._servers or Origins(exchange)

        async def before(url: str) -> Headers:
            await servers.enter(url)
            return {}

        try:
            answer = await exchange.get(listed.uri, limit=self._max_bytes, before=before)
        except TryAgain as error:
            raise unread(FAILING, str(error)) from error
        if answer.status in (404, 410):
            raise unread("Vanished", "it was removed after it was listed")
        if answer.status != 200:
            raise unread("Refused", f"the server answers HTTP {answer.status}; the next run tries again")
        if answer.url != listed.uri:
            raise unread("Moved", "it was moved after it was listed; the next run finds it")
        etag = of(answer.body, answer.headers, answer.media_type).text()
        return Fetched(answer.body, media_type=answer.media_type, etag=etag)

    async def close(self) -> None:
        """Close all connections and remove what was kept on disk."""
        self._spool.close()
        await super().close()

    def _open(self) -> Exchange:
        tls = guarded.tls_context(self._source.ca_file)
        client = self._keep(guarded.open_client(self._guard, tls=tls, user_agent=user_agent()))
        return Exchange(client, self._means.throttle, self._means.clock, self._asking.retries)


def user_agent() -> str:
    """How Lectern names itself to servers; the first word is what robots.txt files name."""
    return f"{robots.PRODUCT}/{version('lectern')} (reads documents for a search index; obeys robots.txt)"


def _host(name: str, written: str) -> str:
    """The host in its one form, as `urls` has it. Raises `ConfigurationError`."""
    bare = written.strip("[]")
    try:
        return urls.host(urls.canonical(f"http://[{bare}]/" if ":" in bare else f"http://{bare}/"))
    except UrlRefused as error:
        raise ConfigurationError(
            f"IngestionSource/{name}: spec.http: {written!r} is no host that is asked: {error}; write a name, or an "
            "address in its usual form"
        ) from error
