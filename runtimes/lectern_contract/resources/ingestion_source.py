"""The spec of an IngestionSource: where documents come from, who may read them, and how often.

Exactly one member of the union names the source; each member has one connector in
`lectern_runtime.ingest.connectors` with the same name.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from lectern_contract.resources.common import (
    CredentialsRef,
    Cron,
    FieldName,
    Glob,
    HttpUrl,
    ObjectName,
    PageUrl,
    PartitionPart,
    ResourceName,
    Resources,
    Rule,
    S3Location,
    SecretKeyRef,
    ShortText,
    SpecModel,
    exactly_one,
    immutable,
    unique,
)

RelativePath = Annotated[str, StringConstraints(pattern=r"^([^/\\]+(/[^/\\]+)*)?$", max_length=1024)]


def _stays_below(field: str) -> Rule:
    """A rule that the relative path `field` has no `..` segment."""
    return Rule(
        cel=f"!self.{field}.split('/').exists(part, part == '..')",
        message=f"{field} must not leave its root: remove the '..' segment",
        field=field,
        holds=lambda value: ".." not in getattr(value, field).split("/"),
    )


class PersistentVolumeSource(SpecModel):
    """A directory on a PersistentVolumeClaim."""

    claim_name: ObjectName = Field(description="Name of the PersistentVolumeClaim.")
    path: RelativePath = Field(default="", description="Directory below the claim's root; empty means the root.")

    rules: ClassVar[tuple[Rule, ...]] = (_stays_below("path"),)


HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
Network = Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:]+/[0-9]{1,3}$", max_length=43)]


class HttpSource(SpecModel):
    """Pages of web servers. What a server's robots.txt denies is not fetched."""

    urls: tuple[PageUrl, ...] = Field(default=(), max_length=1000, description="Pages to fetch.")
    sitemaps: tuple[PageUrl, ...] = Field(default=(), max_length=100, description="Sitemaps whose pages are fetched.")
    max_depth: int = Field(
        default=0, ge=0, le=16, description="How many links away from these pages others are fetched; 0 means none."
    )
    allowed_hosts: tuple[HostName, ...] = Field(
        default=(), max_length=64, description="Further hosts that links and redirects may lead to."
    )
    private_networks: tuple[Network, ...] = Field(
        default=(),
        max_length=16,
        description="Networks, as CIDR, that may be asked although they are not part of the public internet.",
    )
    max_documents: int = Field(default=10_000, ge=1, le=1_000_000, description="Most pages of one run.")
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate authority of the servers; left out means the system's."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="size(self.urls) + size(self.sitemaps) > 0",
            message="name at least one of urls and sitemaps",
            field="urls",
            holds=lambda value: bool(value.urls or value.sitemaps),
        ),
    )


class GitSource(SpecModel):
    """Files of a git repository."""

    url: Annotated[
        str, StringConstraints(pattern=r"^(https://[!-.0->A-~]+(/[!-~]*)?|(ssh://|git@)[!-~]+)$", max_length=2048)
    ] = Field(description="Remote, by https or ssh.")
    ref: ShortText = Field(default="HEAD", description="Branch, tag or commit.")
    path: RelativePath = Field(default="", description="Directory inside the repository; empty means the root.")
    credentials_secret_ref: CredentialsRef | None = Field(
        default=None, description="Secret with `username` and `password`, or `sshKey` and `knownHosts`."
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate authority of an https remote; left out means the system's."
    )

    rules: ClassVar[tuple[Rule, ...]] = (_stays_below("path"),)


class WikipediaSource(SpecModel):
    """Articles of one Wikipedia, or of another MediaWiki."""

    api_url: HttpUrl | None = Field(
        default=None, description="The api.php of a MediaWiki; left out means Wikipedia's, in `language`."
    )
    language: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{1,11}$", max_length=12)] = Field(
        default="en", description="Language edition."
    )
    titles: tuple[ShortText, ...] = Field(default=(), max_length=1000, description="Articles by title.")
    categories: tuple[ShortText, ...] = Field(default=(), max_length=100, description="Categories by name.")
    max_documents: int = Field(default=1000, ge=1, le=1_000_000, description="Most articles of one run.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="size(self.titles) + size(self.categories) > 0",
            message="name at least one of titles and categories",
            field="titles",
            holds=lambda value: bool(value.titles or value.categories),
        ),
    )


class PushSource(SpecModel):
    """Documents that callers send to an HTTP API."""

    api_keys_secret_ref: CredentialsRef | None = Field(
        default=None, description="Secret with hashed API keys; left out means that nobody may push."
    )


class GoogleDriveSource(SpecModel):
    """Files of a Google Drive folder."""

    folder_id: ShortText = Field(description="Folder to read, with everything below it.")
    credentials_secret_ref: SecretKeyRef = Field(description="Service account key, as JSON.")


class SharePointSource(SpecModel):
    """Files of a SharePoint document library."""

    site_url: HttpUrl = Field(description="Site that holds the library.")
    library: ShortText = Field(default="Documents", description="Name of the library.")
    credentials_secret_ref: CredentialsRef = Field(
        description="Secret with the keys `tenantId`, `clientId` and `clientSecret`."
    )


class PartitionRef(SpecModel):
    """Which readers documents are for."""

    tenant: PartitionPart = Field(description="Tenant that owns the documents.")
    access_level: PartitionPart = Field(default="public", description="Access level that a reader needs.")
    restricted_access_level: PartitionPart | None = Field(
        default=None,
        description="Access level of documents that the source itself lets fewer people read than the rest; left out "
        "means that they are not read.",
    )


class PartitionRule(SpecModel):
    """A partition for all documents below one path."""

    path_prefix: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="Leading folders of a path below the source's root (`hr` covers `hr/a`, not `hr-public/a`); "
        "the longest match wins."
    )
    tenant: PartitionPart = Field(description="Tenant that owns these documents.")
    access_level: PartitionPart = Field(description="Access level that a reader needs.")


class SourceRateLimit(SpecModel):
    """How hard the source may be pulled."""

    requests_per_second: Annotated[
        str, StringConstraints(pattern=r"^([1-9][0-9]{0,4}(\.[0-9]{1,3})?|0\.[0-9]{0,2}[1-9])$", max_length=9)
    ] = Field(default="10", description="Most requests a second, as a decimal string.")


class IngestionSourceSpec(SpecModel):
    """One source of documents for one knowledge base."""

    knowledge_base_ref: ResourceName = Field(description="KnowledgeBase in the same namespace.")
    persistent_volume: PersistentVolumeSource | None = Field(default=None, description="A directory on a volume.")
    s3: S3Location | None = Field(default=None, description="A bucket of an S3-compatible object store.")
    http: HttpSource | None = Field(default=None, description="Pages of web servers.")
    git: GitSource | None = Field(default=None, description="Files of a git repository.")
    wikipedia: WikipediaSource | None = Field(default=None, description="Articles of one Wikipedia.")
    push: PushSource | None = Field(default=None, description="Documents that callers send.")
    google_drive: GoogleDriveSource | None = Field(default=None, description="Files of a Google Drive folder.")
    share_point: SharePointSource | None = Field(default=None, description="Files of a SharePoint library.")
    include: tuple[Glob, ...] = Field(
        default=("**",), min_length=1, max_length=100, description="Globs of paths that are read; ** crosses folders."
    )
    exclude: tuple[Glob, ...] = Field(default=(), max_length=100, description="Globs of paths that are left out.")
    partition: PartitionRef = Field(description="Which readers the documents are for.")
    partition_rules: tuple[PartitionRule, ...] = Field(
        default=(), max_length=256, description="Other partitions for some paths; the longest prefix wins."
    )
    metadata: dict[FieldName, Annotated[str, StringConstraints(max_length=1024)]] = Field(
        default_factory=dict, max_length=32, description="Fields that every document of the source carries."
    )
    schedule: Cron | None = Field(
        default=None, description="When to run, in cron's five fields; left out means when asked by annotation."
    )
    time_zone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]+$", max_length=64)] = Field(
        default="Etc/UTC", description="Time zone of the schedule, from the tz database."
    )
    suspend: bool = Field(default=False, description="Whether runs stand still.")
    rate_limit: SourceRateLimit = Field(
        default_factory=SourceRateLimit, description="How hard the source may be pulled."
    )
    prune_policy: Literal["Prune", "Keep"] = Field(
        default="Prune", description="Whether a document that is gone from the source is deleted from the index."
    )
    resources: Resources = Field(
        default_factory=lambda: Resources(
            requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "1", "memory": "1Gi"}
        ),
        description="Compute resources of the connector.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "persistent_volume",
            "s3",
            "http",
            "git",
            "wikipedia",
            "push",
            "google_drive",
            "share_point",
            message="set exactly one source: persistentVolume, s3, http, git, wikipedia, push, googleDrive, sharePoint",
        ),
        immutable("knowledge_base_ref"),
        unique("partition_rules", "path_prefix"),
    )
