"""Signs requests to an S3 server with AWS Signature Version 4, in the form with headers.

`s3_client` sends what is signed here. The reference is AWS's "Authenticating Requests (AWS Signature Version 4)" for
Amazon S3; the tests hold its published examples.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
TIME_FORM = "%Y%m%dT%H%M%SZ"
_SERVICE = "s3"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a user of the server signs with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


def encoded_path(text: str) -> str:
    """Return `text` as the path of a URL: every byte but letters, digits, `-._~` and `/` as `%XX`."""
    return quote(text, safe="/")


def encoded_query(query: Mapping[str, str]) -> str:
    """Return the query of a URL in the order that is signed."""
    return "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()))


def authorization(
    method: str, path: str, query: str, headers: Mapping[str, str], *, keys: Keys, region: str, now: datetime
) -> str:
    """Return the header Authorization for a request with encoded `path` and `query`.

    `headers` have names in lower case, all are signed, and among them are host, x-amz-content-sha256 and x-amz-date,
    which says `now` (UTC).
    """
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    request = "\n".join((method, path, query, lines, names, headers["x-amz-content-sha256"]))
    scope = f"{now:%Y%m%d}/{region}/{_SERVICE}/aws4_request"
    to_sign = "\n".join((ALGORITHM, now.strftime(TIME_FORM), scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = hmac.new(_signing_key(keys, scope), to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Credential={keys.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"


def _signing_key(keys: Keys, scope: str) -> bytes:
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
