"""Unpacks gzip and deflate piece by piece and stops at a limit, so that a small answer cannot fill the memory."""

from __future__ import annotations

import zlib

GZIP_MAGIC = b"\x1f\x8b"
_STEP = 65536


class TooMuch(Exception):
    """The limit was reached; what was unpacked so far does not count."""


class Damaged(Exception):
    """The data is not what it says, or ends early."""


class Inflater:
    """One packed stream of at most `limit` bytes; a gzip file may have several members."""

    def __init__(self, limit: int, *, wbits: int = zlib.MAX_WBITS | 32) -> None:
        self._limit, self._wbits = limit, wbits
        self._size = 0
        self._stream = zlib.decompressobj(wbits)

    def feed(self, data: bytes) -> bytes:
        """What `data` unpacks to. Raises `TooMuch` or `Damaged`."""
        found = bytearray()
        try:
            while True:
                if self._stream.eof:
                    if not data.startswith(GZIP_MAGIC[:1]):
                        break  # nothing more, or padding after the last member
                    self._stream = zlib.decompressobj(self._wbits)
                part = self._stream.decompress(data, _STEP)
                self._size += len(part)
                if self._size > self._limit:
                    raise TooMuch
                found += part
                data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
                if not data and len(part) < _STEP:
                    break
        except zlib.error as error:
            raise Damaged(str(error)) from error
        return bytes(found)

    def end(self) -> None:
        """Raises `Damaged` when the stream is not complete."""
        if not self._stream.eof:
            raise Damaged("it ends early")


def gunzip(data: bytes, *, limit: int) -> bytes:
    """The content of a gzip file of at most `limit` bytes. Raises `TooMuch` or `Damaged`."""
    inflater = Inflater(limit)
    found = inflater.feed(data)
    inflater.end()
    return found
