"""The source of an IngestionSource as its connector's settings name it; called by `wiring`."""

from __future__ import annotations

from urllib.parse import urlsplit

from lectern_contract import names
from lectern_contract.errors import ConfigurationError
from lectern_contract.names import Role
from lectern_contract.resources import IngestionSource
from lectern_contract.resources import ingestion_source as spec
from lectern_contract.resources.common import S3Location
from lectern_contract.source_settings import (
    DirectorySource,
    GitSource,
    GoogleDriveSource,
    HttpSource,
    S3Source,
    SharePointSource,
    SourceSettings,
    WikipediaSource,
)

GOOGLE_DRIVE_API = "https://www.googleapis.com/drive/v3"
MICROSOFT_GRAPH = "https://graph.microsoft.com/v1.0"
MICROSOFT_LOGIN = "https://login.microsoftonline.com"


def source_settings(source: IngestionSource, *, root: str) -> SourceSettings:
    """Return what the connector of `source` reads; a volume is mounted at `root`.

    Raises `ConfigurationError` for a push source, which has a receiver and no connector.
    """
    of = source.spec
    if of.persistent_volume is not None:
        return DirectorySource(root=root, path=of.persistent_volume.path)
    if of.git is not None:
        return _git(of.git)
    if of.google_drive is not None:
        return GoogleDriveSource(
            api_url=GOOGLE_DRIVE_API, folder_id=of.google_drive.folder_id, credentials_file=_file("source-credentials")
        )
    if of.http is not None:
        return _http(of.http)
    if of.s3 is not None:
        return _s3(of.s3)
    if of.share_point is not None:
        return _share_point(of.share_point)
    if of.wikipedia is not None:
        return _wikipedia(of.wikipedia)
    raise ConfigurationError(
        f"IngestionSource/{source.name}: spec.push has a receiver, to which callers send documents, and no runs"
    )


def _git(git: spec.GitSource) -> GitSource:
    return GitSource(
        url=git.url,
        ref=git.ref,
        path=git.path,
        credentials_directory=names.SOURCE_CREDENTIALS_DIRECTORY if git.credentials_secret_ref else None,
        ca_file=_file("source-ca") if git.ca_secret_ref else None,
    )


def _host(url: str) -> str:
    """Return the host of `url`; empty for one that has none: its pages cannot be fetched, as the connector says."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a bracket without its other half
        return ""


def _http(http: spec.HttpSource) -> HttpSource:
    named = {_host(url) for url in (*http.urls, *http.sitemaps)}
    return HttpSource(
        urls=http.urls,
        sitemaps=http.sitemaps,
        allowed_hosts=tuple(sorted(named | set(http.allowed_hosts))),
        private_networks=http.private_networks,
        max_depth=http.max_depth,
        max_documents=http.max_documents,
        ca_file=_file("source-ca") if http.ca_secret_ref else None,
    )


def _s3(bucket: S3Location) -> S3Source:
    keys = bucket.credentials_secret_ref is not None
    return S3Source(
        endpoint=bucket.endpoint,
        bucket=bucket.bucket,
        prefix=bucket.prefix,
        region=bucket.region,
        access_key_id_file=_file("source-access-key-id") if keys else None,
        secret_access_key_file=_file("source-secret-access-key") if keys else None,
        ca_file=_file("source-ca") if bucket.ca_secret_ref else None,
    )


def _share_point(library: spec.SharePointSource) -> SharePointSource:
    return SharePointSource(
        graph_url=MICROSOFT_GRAPH,
        login_url=MICROSOFT_LOGIN,
        site_url=library.site_url,
        library=library.library,
        tenant_id_file=_file("source-tenant-id"),
        client_id_file=_file("source-client-id"),
        client_secret_file=_file("source-client-secret"),
    )


def _wikipedia(wiki: spec.WikipediaSource) -> WikipediaSource:
    return WikipediaSource(
        api_url=wiki.api_url or f"https://{wiki.language}.wikipedia.org/w/api.php",
        titles=wiki.titles,
        categories=wiki.categories,
        max_documents=wiki.max_documents,
    )


def _file(purpose: str) -> str:
    return names.secret_file(Role.CONNECTOR, purpose)
