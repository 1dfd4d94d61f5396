"""Speaks version 3 of Google Drive's API: files of a folder, changes since a token, bytes and exports.

Used by the googleDrive connector. Shared drives are read like others. Lists come page by page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field

from lectern_contract.source_settings import GoogleDriveSource
from lectern_runtime.ingest.cloud import drive_key
from lectern_runtime.ingest.cloud.rest import Refusal, Rest
from lectern_runtime.ingest.cloud.session import Session, Token
from lectern_runtime.ingest.connector import Means, SourceUnavailable
from lectern_runtime.ingest.retries import Retries

FOLDER = "application/vnd.google-apps.folder"
MAX_PAGES = 100_000
_PAGE_SIZE = "1000"
_FILE = "id,name,mimeType,parents,trashed,size,md5Checksum,version,driveId,inheritedPermissionsDisabled,permissionIds"
_BOTH = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}
_PASSING = frozenset({"rateLimitExceeded", "sharingRateLimitExceeded", "userRateLimitExceeded"})


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class File(_Model):
    """A file, a folder or a shortcut, as far as the connector reads it."""

    id: str = Field(min_length=1)
    name: str = ""
    media_type: str = Field(default="", alias="mimeType")
    parents: tuple[str, ...] = ()
    trashed: bool = False
    size: int | None = None
    md5: str = Field(default="", alias="md5Checksum")
    version: str = ""
    drive_id: str = Field(default="", alias="driveId")
    closed: bool = Field(default=False, alias="inheritedPermissionsDisabled")
    readers: frozenset[str] = Field(default=frozenset(), alias="permissionIds")


class Change(_Model):
    """What happened to a file; without `file` it is gone, or this account may no longer see it."""

    kind: str = Field(default="file", alias="changeType")
    removed: bool = False
    file_id: str = Field(default="", alias="fileId")
    file: File | None = None


class _Files(_Model):
    files: tuple[File, ...]
    following: str = Field(default="", alias="nextPageToken")
    incomplete: bool = Field(default=False, alias="incompleteSearch")


class Changes(_Model):
    """One page of changes; the last one has `start`, with which the next run begins."""

    changes: tuple[Change, ...]
    following: str = Field(default="", alias="nextPageToken")
    start: str = Field(default="", alias="newStartPageToken")


class _Start(_Model):
    token: str = Field(alias="startPageToken", min_length=1)


class Drive:
    """The API as the service account of `source` sees it; `client` is its owner's to close."""

    def __init__(self, source: GoogleDriveSource, means: Means, client: httpx.AsyncClient, retries: Retries) -> None:
        self._source, self._means, self._client, self._retries = source, means, client, retries
        self._root = source.api_url.rstrip("/")
        self._session = Session(self._rest("Google Drive", self._root), self._token, means.clock)

    async def file(self, file_id: str) -> File:
        """Facts of a file. Raises `Refusal`, for instance with status 404."""
        return await self._session.json(File, self._url(file_id), {"fields": _FILE, "supportsAllDrives": "true"})

    async def children(self, folder: File) -> AsyncIterator[File]:
        """What lies in a folder, without what is in the trash. Raises `SourceUnavailable` where it cannot be told."""
        quoted = folder.id.replace("\\", "\\\\").replace("'", "\\'")
        query = {
            **_BOTH,
            "q": f"'{quoted}' in parents and trashed = false",
            "fields": f"nextPageToken,incompleteSearch,files({_FILE})",
            "pageSize": _PAGE_SIZE,
        }
        if folder.drive_id:
            query |= {"corpora": "drive", "driveId": folder.drive_id}
        for _ in range(MAX_PAGES):
            page = await self._session.json(_Files, f"{self._root}/files", query)
            if page.incomplete:
                raise SourceUnavailable("Google Drive gives no complete list of a folder; the next run asks again")
            for file in page.files:
                yield file
            if not page.following:
                return
            if page.following == query.get("pageToken"):
                break
            query["pageToken"] = page.following
        raise SourceUnavailable("Google Drive's list of a folder does not end; the next run asks again")

    async def start(self, drive_id: str) -> str:
        """The token from which on changes can be asked for."""
        query = {"supportsAllDrives": "true"} | ({"driveId": drive_id} if drive_id else {})
        return (await self._session.json(_Start, f"{self._root}/changes/startPageToken", query)).token

    async def changes(self, token: str, drive_id: str) -> Changes:
        """The page of changes at `token`. Raises `Refusal` where the token is none any more."""
        query = {
            **_BOTH,
            "pageToken": token,
            "fields": f"nextPageToken,newStartPageToken,changes(changeType,removed,fileId,file({_FILE}))",
            "pageSize": _PAGE_SIZE,
            "includeRemoved": "true",
        }
        if drive_id:
            query["driveId"] = drive_id
        return await self._session.json(Changes, f"{self._root}/changes", query)

    async def data(self, file_id: str, *, limit: int) -> bytes:
        """A file's bytes, at most one more than `limit`. Raises `Refusal`."""
        query = {"alt": "media", "supportsAllDrives": "true"}
        return await self._session.data(self._url(file_id), query=query, limit=limit)

    async def export(self, file_id: str, media_type: str, *, limit: int) -> bytes:
        """A document of Google's own in another format. Raises `Refusal`."""
        return await self._session.data(f"{self._url(file_id)}/export", query={"mimeType": media_type}, limit=limit)

    def _url(self, file_id: str) -> str:
        return f"{self._root}/files/{quote(file_id, safe='')}"

    async def _token(self) -> Token:
        key = await drive_key.read(self._source.credentials_file)
        issuer = urlsplit(key.token_uri)
        if issuer.scheme != urlsplit(self._root).scheme or not issuer.hostname:
            raise SourceUnavailable(
                "token_uri in the Secret of spec.googleDrive.credentialsSecretRef is no https address; correct it"
            )
        return await drive_key.token(key, self._rest("Google's token endpoint", key.token_uri), self._means.clock)

    def _rest(self, name: str, root: str) -> Rest:
        return Rest(
            name,
            root,
            self._client,
            self._means.throttle,
            self._means.clock,
            self._retries,
            code=_code,
            passes=lambda refusal: refusal.status == 403 and refusal.code in _PASSING,
        )


def _code(answer: object) -> str:
    """The first reason of an answer in Google's shape, or the error of a token endpoint."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, str):
        return error
    errors = error.get("errors") if isinstance(error, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    reason = first.get("reason") if isinstance(first, dict) else None
    return reason if isinstance(reason, str) else ""


__all__ = ["FOLDER", "Change", "Changes", "Drive", "File", "Refusal"]
