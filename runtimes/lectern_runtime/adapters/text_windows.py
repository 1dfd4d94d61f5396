"""Cuts long texts where no token is cut, so that a tokenizer never sees a whole document at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lectern_runtime.errors import TextNotUnicode

BREAKS = " \t\n\r"  # a few of the characters that no token crosses are enough


def windows(text: str, characters: int) -> Iterator[tuple[int, int]]:
    """Cut a text into ranges [start, end) of at most `characters`, before white space wherever there is any.

    Only a stretch without any, longer than a window, comes apart into more tokens.
    """
    start = 0
    while len(text) - start > characters:
        end = start + characters
        while end > start + 1 and text[end] not in BREAKS:
            end -= 1
        end = end if end > start + 1 else start + characters
        yield start, end
        start = end
    yield start, len(text)


def unicode(texts: Sequence[str]) -> list[str]:
    """Return the texts; raises TextNotUnicode for one that no encoder and no wire format can carry."""
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextNotUnicode(index=index, position=error.start) from error
    return list(texts)
