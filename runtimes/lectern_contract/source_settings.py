"""Where one connector finds its source: a part of its settings file, one model for each kind of source.

`source_wiring` writes these, `lectern_runtime.ingest.connectors` reads them. Credentials are paths of files.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lectern_contract.settings_parts import SettingsModel


class DirectorySource(SettingsModel):
    """A directory to read: `root` is where the volume is mounted, `path` the part below it."""

    kind: Literal["persistentVolume"] = "persistentVolume"
    root: str
    path: str


class GitSource(SettingsModel):
    """A repository; `credentials_directory` holds `username` and `password`, or `sshKey` and `knownHosts`."""

    kind: Literal["git"] = "git"
    url: str
    ref: str
    path: str
    credentials_directory: str | None
    ca_file: str | None


class GoogleDriveSource(SettingsModel):
    """A folder with everything below it; `credentials_file` is a service account's key, `api_url` the API's root."""

    kind: Literal["googleDrive"] = "googleDrive"
    api_url: str
    folder_id: str
    credentials_file: str


class HttpSource(SettingsModel):
    """Pages of web servers, found from `urls` and `sitemaps` by at most `max_depth` links.

    Only `allowed_hosts` are asked, and no address outside the public internet but those of `private_networks` (CIDR).
    """

    kind: Literal["http"] = "http"
    urls: tuple[str, ...]
    sitemaps: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    private_networks: tuple[str, ...]
    max_depth: int
    max_documents: int
    ca_file: str | None


class S3Source(SettingsModel):
    """A bucket, or the part of it below `prefix`; without key files it is read anonymously."""

    kind: Literal["s3"] = "s3"
    endpoint: str
    bucket: str
    prefix: str
    region: str
    access_key_id_file: str | None
    secret_access_key_file: str | None
    ca_file: str | None


class SharePointSource(SettingsModel):
    """A document library; `graph_url` and `login_url` are the roots of Microsoft Graph and of its token endpoint."""

    kind: Literal["sharePoint"] = "sharePoint"
    graph_url: str
    login_url: str
    site_url: str
    library: str
    tenant_id_file: str
    client_id_file: str
    client_secret_file: str


class WikipediaSource(SettingsModel):
    """Articles of one MediaWiki by its `api_url`."""

    kind: Literal["wikipedia"] = "wikipedia"
    api_url: str
    titles: tuple[str, ...]
    categories: tuple[str, ...]
    max_documents: int


SourceSettings = Annotated[
    DirectorySource | GitSource | GoogleDriveSource | HttpSource | S3Source | SharePointSource | WikipediaSource,
    Field(discriminator="kind"),
]
