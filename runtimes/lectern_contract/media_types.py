"""The media types that this release reads: the default of `spec.parsing.mediaTypes`."""

from __future__ import annotations

PARSED_MEDIA_TYPES = ("text/markdown", "text/html", "text/plain")
"""A test holds these equal to the registry of `lectern_runtime.embed`."""
