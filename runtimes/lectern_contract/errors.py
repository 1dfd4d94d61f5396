"""The one error tree of Lectern: who must act decides the class.

Adapters translate library errors into these, and only the borders (HTTP routes, the operator's
boundary, the command line) translate these into status codes, conditions and exit statuses.
"""

from __future__ import annotations


class LecternError(Exception):
    """Base of all errors that Lectern raises on purpose; the text names thing, cause and next step."""


class ConfigurationError(LecternError):
    """A resource, setting or command line cannot work as written; the person who wrote it must act."""


class ResourceInvalid(ConfigurationError):
    """A resource does not fit its schema or its rules; `field` is the dotted path of the first fault."""

    def __init__(self, message: str, *, resource: str, field: str) -> None:
        super().__init__(message)
        self.resource = resource
        self.field = field


class SettingsInvalid(ConfigurationError):
    """A settings file has unknown, missing or wrong fields, or a schema version that is not ours."""


class DocumentError(LecternError):
    """A document fails for its own sake and goes to the dead-letter topic; retrying cannot help."""

    def __init__(self, message: str, *, stage: str, reason: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.reason = reason


class DependencyError(LecternError):
    """Something outside failed for the world's sake; a later attempt may succeed.

    `retry_after_seconds` is what the other side asked for, when it did.
    """

    def __init__(self, message: str, *, dependency: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.dependency = dependency
        self.retry_after_seconds = retry_after_seconds


class DataDirectoryError(LecternError):
    """A data directory is in use, damaged, or written by a newer Lectern."""


class ScopeDenied(LecternError):
    """A principal asks for more than it may read, or for nothing that it may read."""
