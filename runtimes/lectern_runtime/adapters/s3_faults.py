"""Says in plain sentences why an S3 server did not do what it was asked, and which faults pass by themselves.

Called by `s3_client`. No sentence holds a key of a user, a signature, or a word of the server beside its code.
"""

from __future__ import annotations

import email.utils
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol

import httpx

from lectern_contract.errors import DependencyError
from lectern_runtime.adapters.renewed import shown
from lectern_runtime.adapters.s3_answers import Refusal

TRANSIENT = (httpx.HTTPError, TimeoutError)
KEYS_REFUSED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "InvalidToken", "ExpiredToken", "NotSignedUp"}
)
_OTHER_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"}
)
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull"})
OF_THE_BUCKET = frozenset(
    {"NoSuchBucket", "InvalidBucketName", "RequestTimeTooSkewed", *KEYS_REFUSED, *_OTHER_REGION, *_FULL}
)
"""Refusals that have nothing to do with one object."""
_PASSING = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_ALLOW = {"read": "s3:GetObject", "write": "s3:PutObject", "delete": "s3:DeleteObject", "list": "s3:ListBucket"}


class Place(Protocol):
    """What is told of a bucket."""

    @property
    def endpoint(self) -> str:
        """URL of the server."""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""

    @property
    def region(self) -> str:
        """Region that requests are signed for."""

    @property
    def access_key_id_file(self) -> str | None:
        """None where requests are not signed."""


class Faults:
    """The errors of one bucket; `field` is where a person corrects it, `failed` makes the error of a sentence."""

    def __init__(
        self, place: Place, *, field: str, failed: Callable[[str], DependencyError], now: Callable[[], datetime]
    ) -> None:
        self._place, self._field, self._failed, self._now = place, field, failed, now
        self._server = f"the object store {shown(place.endpoint)}"

    def said(self, what: str, next_step: str = "check {field}.endpoint") -> DependencyError:
        """Return the error of a server that answers with what is no answer."""
        return self._failed(f"{self._server} {what}; {next_step.format(field=self._field)}")

    def file(self, path: str, cause: str) -> DependencyError:
        """Return the error of a file of keys that cannot be used."""
        return self._failed(f"{path}: {cause}; correct the Secret of {self._field}.credentialsSecretRef")

    def refused(self, refusal: Refusal, verb: str) -> DependencyError:
        """Return the error of a refusal to `verb`."""
        code, bucket = refusal.code, self._place.bucket
        answer = f"HTTP {refusal.status}{f', {code}' if code else ''}"
        if code == "RequestTimeTooSkewed":
            here = self._now()
            return self.said(
                f"has a clock that differs from ours, {here:%Y-%m-%dT%H:%M:%SZ}{_by(refusal.date, here)}",
                "synchronise the clocks of the nodes",
            )
        if code in ("NoSuchBucket", "InvalidBucketName"):
            return self.said(f"has no bucket {bucket} ({code})", "make it, or correct {field}.bucket")
        if code in _OTHER_REGION or 300 <= refusal.status < 400:
            other = f" {refusal.region}" if refusal.region else ""
            return self.said(
                f"has the bucket {bucket} in another region{other}, not in {self._place.region} ({answer})",
                "correct {field}.region, or {field}.endpoint",
            )
        if code in KEYS_REFUSED:
            return self.said(f"does not accept the keys ({code})", "correct the Secret of {field}.credentialsSecretRef")
        if code == "AccessDenied" or (refusal.status in (401, 403) and code):
            return self._denied(verb, answer)
        if code in _FULL or refusal.status == 507:
            return self.said(f"is full ({answer})", "make room, or raise the quota of the bucket")
        if refusal.status == 501 or code == "NotImplemented":
            return self.said(f"cannot {verb} objects in this way ({answer})", "see that it speaks the S3 API")
        if is_passing(refusal):
            return self.said(f"cannot answer now ({answer})", "see its load and log")
        if not code:
            return self.said(f"answers as no S3 server does ({answer})")
        return self.said(f"refuses to {verb} ({answer})", "check {field} and the server's log")

    def unanswered(self, error: Exception) -> DependencyError:
        """Return the error of a request without an answer."""
        causes = tuple(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self.said(
                    f"shows a certificate that is not trusted ({cause.verify_message})", "check {field}.caSecretRef"
                )
            if isinstance(cause, socket.gaierror):
                return self.said("has a name that is not resolved", "correct {field}.endpoint, or the cluster's DNS")
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return self.said("speaks no TLS that we know", "see that {field}.endpoint begins with the right scheme")
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            return self.said("keeps silent", "see its load, and that a NetworkPolicy lets us in")
        return self.said(
            f"cannot be reached ({type(error).__name__})", "see that it runs and that a NetworkPolicy lets us in"
        )

    def _denied(self, verb: str, answer: str) -> DependencyError:
        allow, bucket = _ALLOW[verb], self._place.bucket
        if self._place.access_key_id_file is None:
            return self.said(
                f"lets nobody without keys {verb} in the bucket {bucket} ({answer})", "set {field}.credentialsSecretRef"
            )
        # A server that may not list says that an absent object is forbidden.
        besides = "" if verb == "list" else " and s3:ListBucket"
        return self.said(
            f"does not allow its user to {verb} in the bucket {bucket} ({answer})",
            f"allow the user of {{field}}.credentialsSecretRef {allow}{besides}",
        )


def passes(error: Exception) -> bool:
    """Say whether a request without an answer may have one the next time."""
    return not any(isinstance(cause, ssl.SSLError) for cause in _causes(error)) and not isinstance(
        error, httpx.UnsupportedProtocol | httpx.LocalProtocolError
    )


def is_passing(refusal: Refusal) -> bool:
    """Say whether a refusal may be none the next time."""
    return refusal.code in _PASSING or (refusal.status in _PASSING_STATUSES and refusal.code not in _FULL)


def _by(date: str, now: datetime) -> str:
    try:
        told = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return ""
    told = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    return f" by {abs((told - now).total_seconds()):.0f} s"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error with what led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
