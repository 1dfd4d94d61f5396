"""The media types that this release reads: the default of `spec.parsing.mediaTypes`."""

from __future__ import annotations

PARSED_MEDIA_TYPES = (
    "text/markdown",
    "text/html",
    "text/plain",
    "text/asciidoc",
    "text/csv",
    "text/tab-separated-values",
    "application/xhtml+xml",
    "application/json",
    "application/x-ndjson",
    "application/pdf",
    "application/epub+zip",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    "application/vnd.ms-word.document.macroenabled.12",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
    "application/vnd.ms-excel.sheet.macroenabled.12",
    "application/vnd.ms-excel",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.presentation",
    "message/rfc822",
    "application/mbox",
    "application/vnd.ms-outlook",
)
"""A test holds these equal to the registry of `lectern_runtime.embed`."""
